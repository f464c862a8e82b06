"""One call of a plain function with observers off, against the plugin systems' own ways to call one."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy
from harness import Effort, measure, statement
from results import Row, Section
from stevedore.driver import DriverManager
from stevedore.extension import Extension
from subjects import ITEM, Item, echo

from jackfield import Host
from jackfield.config import parse_config

_AGAIN = b"""
[[plugin]]
name = "bench"
path = "subjects"
functions = { "bench.again" = "echo" }
[plugin.retry]
"""
_spec = pluggy.HookspecMarker("bench")
_implementation = pluggy.HookimplMarker("bench")


class _Specification:
    @_spec
    def echo(self, item: Item) -> int:  # type: ignore[empty-body]  # a hook's specification
        """Give the count back."""


class _FirstResultSpecification:
    @_spec(firstresult=True)
    def echo(self, item: Item) -> int:  # type: ignore[empty-body]  # a hook's specification
        """Give the count back."""


class _Plugin:
    @_implementation
    def echo(self, item: Item) -> int:
        return item.count


def _hook(specification: type) -> Any:
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(specification)
    manager.register(_Plugin())
    return manager.hook


def _driver() -> DriverManager[Any]:
    entry = EntryPoint("echo", "subjects:echo", "bench")
    plugin: Any = echo  # stevedore types plugins as classes
    return DriverManager.make_test_instance(Extension("echo", entry, plugin, None))


def _through_extension(extension: Any, item: Item) -> int:
    return extension.plugin(item)  # type: ignore[no-any-return]  # stevedore's plugins are untyped


def run(effort: Effort) -> Section:
    """Compare ``host.call`` with one pluggy hook call and with stevedore."""
    again = Host.from_config(parse_config(_AGAIN, Path("bench.toml")), observers=())
    with Host(observers=()) as host, again:
        host.register("bench.echo", echo)
        handle = host.function("bench.echo", Item, int)
        taken = measure(
            effort,
            {
                "host": statement("host.call('bench.echo', item)", host=host, item=ITEM),
                "deadline": statement("host.call('bench.echo', item, timeout=5.0)", host=host, item=ITEM),
                "handle": statement("handle(item)", handle=handle, item=ITEM),
                "again": statement("again.call('bench.again', item)", again=again, item=ITEM),
                "pluggy": statement("hook.echo(item=item)", hook=_hook(_Specification), item=ITEM),
                "pluggy first": statement("hook.echo(item=item)", hook=_hook(_FirstResultSpecification), item=ITEM),
                "driver": statement("manager.driver(item)", manager=_driver(), item=ITEM),
                "manager": statement("manager(call, item)", manager=_driver(), call=_through_extension, item=ITEM),
                "dict": statement(
                    "functions[name](item)", functions={"bench.echo": echo}, name="bench.echo", item=ITEM
                ),
            },
        )
    call, limited = "`host.call(name, item)`", "`host.call(name, item, timeout=5.0)`"
    hook = "a pluggy hook call, one implementation"
    return Section(
        "A call, observers off",
        "A typed payload that is an instance of its type, no injection.",
        [
            Row(call, hook, taken["host"], taken["pluggy"], bar=0.4),
            Row("the same of a plugin with `[plugin.retry]`", call, taken["again"], taken["host"]),
            Row(limited, hook, taken["deadline"], taken["pluggy"], bar=0.6),
            Row(call, "the same with `firstresult`", taken["host"], taken["pluggy first"]),
            Row("a typed handle: `echo(item)`", hook, taken["handle"], taken["pluggy"]),
            Row(call, "stevedore: `manager(call, item)`", taken["host"], taken["manager"]),
            Row(call, "stevedore: `manager.driver(item)`, a property and a plain call", taken["host"], taken["driver"]),
            Row(call, "`functions[name](item)`, a bare dict", taken["host"], taken["dict"]),
        ],
    )
