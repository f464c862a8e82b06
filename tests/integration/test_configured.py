"""Hosts from a configuration: declared plugins, their order, their functions, and unloading them."""

import asyncio
import json
import textwrap
import threading
import weakref

import attrs
import pytest
from tests.support.collected import alive

from jackfield import ConfigError, Host, PermissionDenied, PluginConfig, PluginError, Unavailable
from jackfield.runtime.pool import Pool
from jackfield.testing import Recorder


@pytest.fixture
def folder(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


STORE = """
    import json
    from jackfield import function

    class Store:
        log = []
        def start(self):
            self.log.append("store starts")
        def stop(self):
            self.log.append("store stops")

    @function
    def get(key: str) -> str:
        return key.upper()
"""

BILLING = """
    import attrs
    from jackfield import Caller, Config, Background, function, inject, provides

    LOG = []

    @provides
    def currency(config: Config) -> "Currency":
        return Currency(config["currency"])

    @attrs.frozen
    class Currency:
        code: str

    @attrs.define(slots=False)
    class Billing:
        currency: Currency = inject()
        background: Background = inject()
        async def start(self):
            self.background.every(3600, LOG.append, 1)
            LOG.append("start")
        async def stop(self):
            LOG.append("stop")
        def health(self):
            return True
        @function
        def charge(self, amount: int) -> str:
            return f"{amount} {self.currency.code}"

    @function
    def log() -> list:
        return LOG
"""


@pytest.fixture
def config(folder):
    folder("store.py", STORE)
    folder("billing.py", BILLING)
    return folder(
        "jackfield.toml",
        """
        [[plugin]]
        name = "billing"
        path = "./billing.py:Billing"
        depends_on = ["store"]
        version = "2.1"
        [plugin.options]
        currency = "EUR"

        [[plugin]]
        name = "store"
        path = "./store.py:Store"

        [tenants.vip]
        versions = true
        [tenants.plain]
        [tenants.guest]
        permissions = ["store.*"]

        [routes]
        "later.f" = "2"
        [routes."later.g"]
        default = "1"
        shares = { "2" = 1.0 }
        """,
    )


def test_declared_plugins_start_in_order_and_their_functions_are_there(config):
    """The object is injected, its methods are functions, its options are its own."""
    with Host.from_config(config, observers=()) as host:
        assert {name: record.state.value for name, record in host.plugins.items()} == {
            "billing": "running",
            "store": "running",
        }
        assert host.call("billing.charge", 5) == "5 EUR"
        assert host.call("store.get", "a") == "A"
        assert host.snapshot.functions["billing.charge"].spec.version == "2.1"
        assert host.plugins["billing"].functions == ("billing.log", "billing.charge") or set(
            host.plugins["billing"].functions
        ) == {"billing.log", "billing.charge"}
        assert host.health()["billing"].healthy
        assert host.call("billing.log") == ["start"]
    assert host.plugins["billing"].state.value == "stopped"


def test_stopping_a_plugin_takes_its_functions_and_its_dependents_along(config):
    """They are unavailable, with the state of their plugin and why; starting it brings both back."""
    with Host.from_config(config, observers=()) as host:
        host.stop_plugin("store")
        assert host.plugins["billing"].state.value == "blocked"
        for name, state in (("store.get", "'store' is stopped"), ("billing.charge", "'billing' is blocked")):
            with pytest.raises(Unavailable, match=state) as caught:
                host.call(name, "x")
            assert caught.value.ran is False
        host.start_plugin("billing")
        assert host.call("billing.charge", 5) == "5 EUR"
        host.restart_plugin("store")
        assert host.call("billing.charge", 5) == "5 EUR"


def test_only_tenants_that_may_pick_a_version_by_header(config):
    """Once tenants are configured."""
    with Host.from_config(config, observers=()) as host:
        headers = {"x-version": "2.1"}
        assert host.call("billing.charge", 5, tenant="vip", headers=headers) == "5 EUR"
        for tenant in ("plain", None):
            with pytest.raises(PermissionDenied, match="versions = true"):
                host.call("billing.charge", 5, tenant=tenant, headers=headers)


def answering(value):
    def function():
        return value

    return function


def test_a_tenant_that_is_not_configured_is_refused(config):
    """Once there are any: with or without anything else, sync and async; whoever names none is the process itself."""
    with Host.from_config(config, observers=()) as host:
        for options in ({}, {"timeout": 5}, {"headers": {"a": "b"}}, {"version": "2.1"}):
            with pytest.raises(PermissionDenied, match=r"there is no tenant 'stranger'; .*\[tenants\]"):
                host.call("billing.charge", 5, tenant="stranger", **options)
            with pytest.raises(PermissionDenied, match="there is no tenant 'stranger'"):
                asyncio.run(host.acall("billing.charge", 5, tenant="stranger", **options))
        assert host.call("billing.charge", 5) == "5 EUR"


def test_a_tenant_may_call_what_its_permissions_name(config):
    """And nothing else; refusals are observed as such."""
    recorder = Recorder()
    with Host.from_config(config, observers=[recorder]) as host:
        assert host.call("store.get", "a", tenant="guest") == "A"
        for keywords in ({}, {"timeout": 5}, {"headers": {"x-version": "0"}}, {"version": "2.1"}):
            with pytest.raises(PermissionDenied, match="guest"):
                host.call("billing.charge", 5, tenant="guest", **keywords)
    assert [seen.outcome.value for seen in recorder.calls] == ["ok", *["permission_denied"] * 4]


def test_configured_routes_hold_for_whatever_is_registered_later(config):
    """The default takes over when it comes; shares apply as soon as their version is there."""
    with Host.from_config(config, observers=()) as host:
        for version in ("1", "2"):
            host.register("later.f", answering(version), version=version)
            assert host.call("later.f") == version
            host.register("later.g", answering(version), version=version)
            assert host.call("later.g") == version
        with pytest.raises(PluginError, match="split by the configuration"):
            host.canary("later.g", version="2", share=0.1)


def test_a_plugin_that_cannot_be_loaded_fails_alone_and_blocks_its_dependents(config, folder):
    """The rest serves; the reason is in `plugins` and `faults`."""
    folder("store.py", "import nothing_of_that_name")
    with Host.from_config(config, observers=()) as host:
        assert host.plugins["store"].state.value == "failed"
        assert host.plugins["billing"].state.value == "blocked"
        assert any("nothing_of_that_name" in fault.reason for fault in host.faults)
        with pytest.raises(PluginError, match="nothing_of_that_name"):
            host.start_plugin("store")


def test_a_bad_configuration_shows_every_fault(folder):
    """All at once, with their lines."""
    path = folder("jackfield.toml", '[[plugin]]\nname = "a b"\npath = 5\n\n[[plugin]]\npath = "x"\n')
    with pytest.raises(ConfigError) as caught:
        Host.from_config(path)
    assert len(caught.value.faults) >= 3


def test_unloading_leaves_nothing_behind(config):
    """Functions, providers, subscriptions, background work, history and modules are released and collected."""
    with Host.from_config(config, observers=()) as host:
        host.call("billing.charge", 5)
        spec = host.snapshot.functions["billing.log"].spec
        references = [weakref.ref(spec), weakref.ref(spec.target)]
        del spec
        report = host.unload("billing")
        assert report.clean, str(report)
        assert host.plugins["billing"].state.value == "unloaded"
        assert alive(*references) == []
        assert host.call("store.get", "a") == "A"


def test_threads_that_are_slow_to_return_hold_nothing_of_what_was_unloaded(config, monkeypatch):
    """Whoever is told that something has ended may count on it that the thread which did it has let go of it."""
    start, returning = Pool.start, threading.Event()

    def slow(pool, name, body):
        def then_wait():
            body()
            if not name.endswith(":import"):
                returning.wait(30.0)

        start(pool, name, then_wait)

    monkeypatch.setattr(Pool, "start", slow)
    try:
        test_unloading_leaves_nothing_behind(config)
    finally:
        returning.set()


def test_the_report_and_the_records_can_be_shown_as_json(config):
    """They are plain values."""
    with Host.from_config(config, observers=()) as host:
        assert json.dumps({name: attrs.asdict(record) for name, record in host.plugins.items()}, default=str)


def test_a_plugin_can_be_loaded_into_a_running_host_again_and_again(folder):
    """Unloaded, changed and loaded anew; a taken name and a broken file are refused with the reason."""
    path = folder("text.py", "from jackfield import function\n@function\ndef f():\n    return 1\n")
    with Host(observers=()) as host:
        for answer in (1, 2, 3):
            path.write_text(f"from jackfield import function\n@function\ndef f():\n    return {answer}\n")
            assert host.load(PluginConfig("text", str(path))).state.value == "running"
            assert host.call("text.f") == answer
            with pytest.raises(PluginError, match="already"):
                host.load(PluginConfig("text", str(path)))
            assert host.unload("text").clean
        path.write_text("def f(:")
        with pytest.raises(PluginError, match="SyntaxError"):
            host.load(PluginConfig("text", str(path)))


def test_the_first_in_the_file_is_the_default_whichever_starts_first(folder):
    """Starts, restarts and operators' decisions: a rule is about the version, a rank about the order in the file."""
    for name in ("one", "two"):
        folder(f"{name}.py", f"def f():\n    return {name!r}\n")
    path = folder(
        "jackfield.toml",
        """
        [[plugin]]
        name = "one"
        path = "./one.py"
        version = "1.0"
        auto_start = false
        [plugin.functions]
        "both.f" = "f"

        [[plugin]]
        name = "two"
        path = "./two.py"
        version = "2.0"
        [plugin.functions]
        "both.f" = "f"
        """,
    )
    with Host.from_config(path, observers=()) as host:
        assert host.call("both.f") == "two"
        host.start_plugin("one")
        assert host.call("both.f") == "one"
        host.restart_plugin("one")
        assert host.call("both.f") == "one"
        host.reroute("both.f", default="2.0")
        host.restart_plugin("two")
        assert host.call("both.f") == "two"
        host.stop_plugin("two")
        assert host.call("both.f") == "one"
        host.start_plugin("two")
        assert host.call("both.f") == "two"
        assert list(host.snapshot.plugins) == ["one", "two"]
        assert host.snapshot.plugins["two"].advertised == ("both.f",)


def test_a_rule_follows_the_label_of_a_reload(folder):
    """`default = "2.0"` means the code that was reloaded under that number, too, and so after a restart."""
    folder("one.py", "def f():\n    return 'one'\n")
    two = folder("two.py", "def f():\n    return 'two'\n")
    path = folder(
        "jackfield.toml",
        """
        [[plugin]]
        name = "one"
        path = "./one.py"
        version = "1.0"
        [plugin.functions]
        "both.f" = "f"

        [[plugin]]
        name = "two"
        path = "./two.py"
        version = "2.0"
        [plugin.functions]
        "both.f" = "f"

        [routes]
        "both.f" = "2.0"
        """,
    )
    with Host.from_config(path, observers=()) as host:
        assert host.call("both.f") == "two"
        two.write_text("def f():\n    return 'three'\n", encoding="utf-8")
        host.reload("two")
        assert host.call("both.f") == "three"
        host.restart_plugin("two")
        assert host.call("both.f") == "three"
        host.reroute("both.f", default=host.snapshot.functions["both.f"].default)
        two.write_text("def f():\n    return 'four'\n", encoding="utf-8")
        host.reload("two")
        assert host.call("both.f") == "four"


def test_a_plugin_that_is_refused_when_it_is_loaded_leaves_nothing_behind(folder):
    """An unknown dependency is seen before anything of it comes in; corrected, it comes in once and goes as a whole."""
    path = folder(
        "rates.py",
        """
        from jackfield import function, inject, provides
        class Rates: ...
        @provides
        def rates() -> Rates:
            return Rates()
        @function
        def rate(*, rates: Rates = inject()) -> int:
            return 3
        """,
    )
    with Host(observers=()) as host:
        with pytest.raises(PluginError, match="nobody"):
            host.load(PluginConfig("rates", str(path), depends_on=("nobody",)))
        assert dict(host.plugins) == {}
        assert host.declared() == ((), ())
        host.load(PluginConfig("rates", str(path)))
        assert host.call("rates.rate") == 3
        assert host.ledgers["rates"]["code"] == 1
        assert host.unload("rates").failed == ()
        assert host.ledgers["rates"] == {}
