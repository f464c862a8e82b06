"""Hosts of what is installed: real distributions on disk, sick ones among them; the rest serves."""

import asyncio
import sys
import threading

import pytest

from jackfield import FunctionNotFound, Host, PluginError, Unavailable
from support import installed

SICK = {
    "raises": "raise ValueError('at import')",
    "exits": "import sys; sys.exit(3)",
    "lacks": "other = 1",
    "notcallable": "f = 5",
    "needs": "from jackfield import inject\ndef f(*, x=inject(name='nobody-provides-this')): ...",
    "generator": "def f():\n    yield 1",
    "syntax": "def f(:",
    "missing": "import a_module_that_nobody_has",
}


@pytest.fixture
def site(tmp_path):
    """Installs distributions; what they import is forgotten afterwards."""
    with installed.site(tmp_path) as there:
        yield there


WELL = [("jackfield.functions", "well.f", "f")]


def test_each_sick_plugin_is_left_out_with_its_reason_and_the_rest_serves(site):
    """Import errors, exits, missing attributes, non-callables, bad contracts, missing dependencies."""
    site("well", "def f(text: str) -> str:\n    return text.upper()", WELL)
    for name, code in SICK.items():
        site(name, code, [("jackfield.functions", f"{name}.f", "f")])
    with Host.discover(path=site.path, observers=()) as host:
        assert set(host.snapshot.functions) == {"well.f"}
        assert host.call("well.f", "x") == "X"
        assert host.snapshot.functions["well.f"].spec.version == "1.2"
        assert {fault.entry.partition("@")[0] for fault in host.faults} == {f"{name}.f" for name in SICK}
        assert all(fault.reason and fault.plugin.startswith("jf-") for fault in host.faults)
        with pytest.raises(FunctionNotFound, match="at import"):
            host.call("raises.f")


def test_strict_refuses_any_fault(site, monkeypatch):
    """By argument or by the environment; and a plugin that is switched off has no faults."""
    site("well", "def f():\n    return 1", WELL)
    site("raises", SICK["raises"], [("jackfield.functions", "raises.f", "f")])
    with pytest.raises(PluginError, match="at import"):
        Host.discover(path=site.path, observers=(), strict=True)
    monkeypatch.setenv("JACKFIELD_STRICT", "1")
    with pytest.raises(PluginError, match="at import"):
        Host.discover(path=site.path, observers=())
    monkeypatch.setenv("JACKFIELD_DISABLE_PLUGINS", "jf-raises")
    with Host.discover(path=site.path, observers=()) as host:
        assert host.call("well.f") == 1


def test_a_lazy_host_imports_a_module_at_its_first_call_and_once(site):
    """Eight threads and a loop ask together; providers are loaded when a function needs them."""
    site(
        "well",
        """
        import threading
        LOADED = []
        LOADED.append(threading.get_ident())
        from jackfield import inject, provides
        class Thing: ...
        @provides
        def thing() -> Thing:
            return Thing()
        def f(*, thing: Thing = inject()):
            return len(LOADED)
        """,
        [*WELL, ("jackfield.providers", "thing", "thing")],
    )
    with Host.discover(path=site.path, observers=(), lazy=True) as host:
        assert "jf_well" not in sys.modules
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(host.call("well.f"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert asyncio.run(host.acall("well.f")) == 1
        assert answers == [1] * 8
        with pytest.raises(FunctionNotFound, match=r"well\.f"):
            host.call("well.g")


def test_a_start_that_calls_another_function_at_its_first_use_is_served(site):
    """Nothing is locked while a plugin starts: not even another thread's first use of something else waits for it."""
    site(
        "caller",
        """
        import attrs
        from jackfield import Caller, inject
        SAID = []
        @attrs.define
        class Plugin:
            caller: Caller = inject()
            def start(self):
                SAID.append(self.caller.call("well.f"))
        def said():
            return SAID
        """,
        [("jackfield.functions", "caller.said", "said"), ("jackfield.plugins", "caller", "Plugin")],
    )
    site("well", "def f():\n    return 'well'\n", WELL)
    with Host.discover(path=site.path, observers=(), lazy=True) as host:
        assert host.call("caller.said") == ["well"]


def test_an_extension_point_leaves_out_what_does_not_fit(site):
    """At discovery it is a fault like any other."""
    site("well", "def f(text: str) -> str:\n    return text", WELL)
    with Host.discover(path=site.path, observers=(), expect=[("well.*", str, bytes)]) as host:
        assert dict(host.snapshot.functions) == {}
        assert "bytes" in host.faults[0].reason


def test_hooks_and_plugin_objects_that_are_advertised_take_part(site):
    """An object starts with the host and stops with it; hooks of another package see both."""
    site(
        "trail",
        """
        from jackfield import hookimpl
        SEEN = []
        class Trail:
            @hookimpl
            def jackfield_registered(self, function):
                SEEN.append(f"+{function.name}")
            @hookimpl
            def jackfield_plugin_started(self, plugin):
                SEEN.append(f"started {plugin}")
            @hookimpl
            def jackfield_plugin_stopped(self, plugin):
                SEEN.append(f"stopped {plugin}")
        """,
        [("jackfield.hooks", "trail", "Trail")],
    )
    site(
        "well",
        """
        from jackfield import Logger, inject
        class Plugin:
            def __init__(self, log: Logger = inject()):
                self.log = log
            async def start(self):
                self.log.info("hello")
        def f():
            return 1
        """,
        [*WELL, ("jackfield.plugins", "well", "Plugin")],
    )
    with Host.discover(path=site.path, observers=()) as host:
        assert host.plugins["jf-well"].state.value == "running"
        seen = sys.modules["jf_trail"].SEEN
        assert sorted(seen) == ["+well.f", "started jf-trail", "started jf-well"]
        assert seen.index("+well.f") < seen.index("started jf-well")
    assert {"stopped jf-well", "stopped jf-trail"} == set(seen[3:])


def test_a_plugin_object_that_does_not_start_takes_its_functions_along(site):
    """And starting it later brings them back; other plugins serve meanwhile."""
    site("well", "def f():\n    return 1", WELL)
    site(
        "sick",
        """
        class Plugin:
            broken = True
            def start(self):
                if self.broken:
                    raise ValueError("not today")
        def f():
            return 2
        """,
        [("jackfield.functions", "sick.f", "f"), ("jackfield.plugins", "sick", "Plugin")],
    )
    with Host.discover(path=site.path, observers=()) as host:
        assert host.plugins["jf-sick"].state.value == "failed"
        assert "not today" in host.plugins["jf-sick"].fault.reason
        assert host.call("well.f") == 1
        with pytest.raises(Unavailable, match="not today"):
            host.call("sick.f")
        sys.modules["jf_sick"].Plugin.broken = False
        host.start_plugin("jf-sick")
        assert host.call("sick.f") == 2
        host.stop_plugin("jf-sick")
        with pytest.raises(Unavailable, match="is stopped"):
            host.call("sick.f")
