"""The table of verbs: name → a callable of plain arguments, checked as the payload of a function is."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import attrs

from jackfield.contract import specify
from jackfield.contract.payload import compile_payload
from jackfield.host import Host
from jackfield.operations import desired, flows, plugins, portable, routes, schedules, state, submissions, traces
from jackfield.operations.recent import RecentEvents

Verb: TypeAlias = Callable[[Mapping[str, Any]], Any]
About: TypeAlias = Callable[[], Mapping[str, Any]]


def verbs(host: Host, about: About = dict) -> Mapping[str, Verb]:
    """Give everything that a host can be asked to do.

    Every verb may be called from any thread but the host's home loop. All answer with plain data; `events` with an
    iterator, which has no end when it follows.

    Args:
        host: the host; started or not. From now on its latest events are kept for `events`.
        about: gives what `status` and `dump_state` say of the process beside what the host knows.

    Returns:
        Name → verb: it takes its arguments as one mapping, and raises what the host raises; `PayloadError` for
        arguments that do not fit.

    Examples:
        >>> with Host(observers=()) as host:
        ...     _ = host.register("text.shout", str.upper)
        ...     table = verbs(host)
        ...     table["call"]({"name": "text.shout", "payload": "hello"}), table["status"]({})["functions"]
        ('HELLO', 1)
    """
    events = RecentEvents(host.events)
    functions: dict[str, Callable[..., Any]] = {
        "status": partial(state.status, host, about),
        "dump_state": partial(state.dump, host, about),
        "call": partial(call, host),
        "events": events.read,
        **{name: partial(function, host) for name, function in plugins.VERBS.items()},
        **{name: partial(function, host) for name, function in routes.VERBS.items()},
        **{name: partial(function, host) for name, function in desired.VERBS.items()},
        **{name: partial(function, host) for name, function in flows.VERBS.items()},
        **{name: partial(function, host) for name, function in schedules.VERBS.items()},
        **{name: partial(function, host) for name, function in portable.VERBS.items()},
        **{name: partial(function, host) for name, function in submissions.VERBS.items()},
        **{name: partial(function, host) for name, function in traces.VERBS.items()},
    }
    return {name: checked(name, function) for name, function in functions.items()}


def checked(name: str, function: Callable[..., Any]) -> Verb:
    """Make a verb of a function: its arguments come as one mapping, and are checked against its annotations.

    Args:
        name: the verb, for errors.
        function: takes them by name.

    Examples:
        >>> def double(number: int) -> int:
        ...     return 2 * number
        >>> verb = checked("double", double)
        >>> verb({"number": 21})
        42
        >>> verb({"number": "x"})
        Traceback (most recent call last):
        ...
        jackfield.errors.PayloadError: control.double: payload at $.number: expected int, got str
    """
    spec = specify(f"control.{name}", function)
    # A mapping of the names, also where there is only one parameter, or none.
    convert = compile_payload(attrs.evolve(spec, shape="many")).convert

    def verb(arguments: Mapping[str, Any]) -> Any:
        _, given = convert(dict(arguments))
        return function(**given)

    return verb


def call(
    host: Host,
    name: str,
    payload: Any = None,
    timeout: float | None = None,
    tenant: str | None = None,
    version: str | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """Call a function; a sync one runs in a thread, so that it is left at its deadline.

    Args:
        host: the host.
        name: the function.
        payload: as for `host.call`, and so are the others.
        timeout: seconds.
        tenant: whom the call is for.
        version: which version.
        headers: of the call.
    """
    return asyncio.run(host.acall(name, payload, timeout=timeout, tenant=tenant, version=version, headers=headers))
