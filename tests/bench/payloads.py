"""What converting plain data to the payload's type costs on a call."""

from collections.abc import Callable

import attrs
import msgspec
from harness import Effort, measure, statement
from results import Row, Section
from subjects import Item, echo

from jackfield import Host

_PLAIN = {"name": "bench", "count": 42}


@attrs.frozen
class AttrsItem:
    """The same payload as an attrs class."""

    name: str
    count: int


def echo_attrs(item: AttrsItem) -> int:
    """Give the count back."""
    return item.count


def echo_parameters(name: str, count: int) -> int:
    """Give the count back, of a record of two parameters."""
    return count


def run(effort: Effort) -> Section:
    """Compare calls with plain data with the conversion written by hand."""
    kinds: dict[str, tuple[type, Callable[..., int]]] = {"struct": (Item, echo), "attrs": (AttrsItem, echo_attrs)}
    samplers = {}
    with Host(observers=()) as host:
        for kind, (cls, function) in kinds.items():
            host.register(f"bench.{kind}", function)
            call = f"host.call('bench.{kind}', plain)"
            samplers[kind] = statement(call, host=host, plain=_PLAIN)
            hand = "function(convert(plain, cls))"
            samplers[f"{kind} by hand"] = statement(
                hand, convert=msgspec.convert, cls=cls, function=function, plain=_PLAIN
            )
        host.register("bench.parameters", echo_parameters)
        samplers["parameters"] = statement("host.call('bench.parameters', plain)", host=host, plain=_PLAIN)
        samplers["parameters by hand"] = statement("function(**plain)", function=echo_parameters, plain=_PLAIN)
        taken = measure(effort, samplers)
    return Section(
        "Payload conversion",
        "A dict of two fields, observers off.",
        [
            Row(
                "`host.call`, dict to `msgspec.Struct`",
                "`f(msgspec.convert(data, Item))`",
                taken["struct"],
                taken["struct by hand"],
            ),
            Row(
                "`host.call`, dict to attrs", "`f(msgspec.convert(data, Item))`", taken["attrs"], taken["attrs by hand"]
            ),
            Row(
                "`host.call` of two checked parameters",
                "`f(**data)`, unchecked",
                taken["parameters"],
                taken["parameters by hand"],
            ),
        ],
    )
