"""One life for every plugin, however it came: installed, declared, a module, a file, a folder, loaded late."""

import sys
import textwrap
import weakref

import pytest
from tests.support.collected import alive

from jackfield import Host, PluginConfig, Unavailable

CODE = """
    import attrs
    from jackfield import Background, EventBus, function, hookimpl, inject, provides

    CLOSED, SEEN = [], []

    class Engine:
        pass

    @provides
    def engine() -> "Iterator[Engine]":
        yield Engine()
        CLOSED.append("engine")

    from collections.abc import Iterator

    @attrs.frozen
    class Order:
        number: int

    class Shop:
        starts = 0
        def __init__(self, bus: EventBus = inject(), background: Background = inject(), size: int = 3) -> None:
            self.bus, self.background, self.size, self.count = bus, background, size, 0
        def start(self) -> None:
            Shop.starts += 1
            self.bus.subscribe(Order, SEEN.append)
            self.background.every(3600.0, list)
        def snapshot(self):
            return {"count": self.count}
        def restore(self, state: dict) -> None:
            self.count = state["count"]

    SHOP = Shop

    @function
    def sell(number: int, *, engine: Engine = inject()) -> int:
        return number * 2

    class Hooks:
        @hookimpl
        def jackfield_plugin_started(self, plugin): ...
"""

ENTRIES = """
    [jackfield.functions]
    shop.sell = {module}:sell
    [jackfield.plugins]
    shop = {module}:Shop
    [jackfield.providers]
    engine = {module}:engine
    [jackfield.hooks]
    hooks = {module}:Hooks
"""

WAYS = ["installed", "distribution", "module", "file", "folder", "loaded"]


class Way:
    """A host that has the plugin by one way in, and what the test needs to know of it."""

    def __init__(self, host, name, code):
        self.host, self.name, self._code = host, name, code

    @property
    def code(self):
        """The plugin's own module."""
        return self._code()


@pytest.fixture
def way(request, tmp_path, monkeypatch):
    """Make a host whose plugin came by the way that the test is parametrised with; it runs."""
    kind, name, module = request.param, "shop", f"jf_way_{request.param}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = textwrap.dedent(CODE)
    before = set(sys.modules)
    if kind in ("installed", "distribution", "module"):
        site = tmp_path / "site"
        site.mkdir()
        (site / f"{module}.py").write_text(text)
        info = site / "shop-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
        if kind != "module":
            (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES).format(module=module))
        monkeypatch.syspath_prepend(str(site))
    elif kind == "folder":
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "__init__.py").write_text(text)
    else:
        (tmp_path / "shop.py").write_text(text)
    path = {"distribution": "shop", "module": f"{module}:Shop", "file": "./shop.py:Shop", "folder": "./shop:Shop"}
    if kind == "installed":
        host = Host.discover(path=[str(tmp_path / "site")], observers=())
    elif kind == "loaded":
        host = Host(observers=())
    else:
        config = tmp_path / "jackfield.toml"
        config.write_text(f'[[plugin]]\nname = "shop"\npath = "{path[kind]}"\n')
        host = Host.from_config(config, observers=())
    with host:
        if kind == "loaded":
            host.load(PluginConfig(name, f"{tmp_path / 'shop.py'}:Shop"))
        yield Way(host, name, lambda: sys.modules[host.snapshot.functions["shop.sell"].spec.target.__module__])
    for each in set(sys.modules) - before:
        del sys.modules[each]


every_way = pytest.mark.parametrize("way", WAYS, indirect=True)


@every_way
def test_it_has_a_record_a_ledger_and_functions_while_it_runs(way):
    """`host.plugins` knows every distribution that advertises anything; its ledger says what it holds."""
    record = way.host.plugins["shop"]
    assert record.state.value == "running"
    assert record.functions == record.advertised == ("shop.sell",)
    assert way.host.call("shop.sell", 2) == 4
    assert {"code", "hooks", "history", "subscriptions", "timer"} <= set(way.host.ledgers["shop"])
    assert way.host.snapshot.plugins["shop"] == record


@every_way
def test_its_functions_answer_only_while_it_runs(way):
    """Stopped is unavailable, not unknown; a start and a restart bring them back."""
    way.host.stop_plugin("shop")
    with pytest.raises(Unavailable, match="its plugin 'shop' is stopped"):
        way.host.call("shop.sell", 2)
    assert "shop.sell" not in way.host.snapshot.functions
    way.host.start_plugin("shop")
    assert way.host.call("shop.sell", 2) == 4
    way.host.restart_plugin("shop")
    assert way.host.call("shop.sell", 2) == 4
    assert way.code.Shop.starts == 3


@every_way
def test_its_state_comes_back_when_it_starts_again(way):
    """What `snapshot` gave at the stop is what `restore` gets at the next start, in the same host."""
    way.host._lifecycle.instance("shop").count = 7
    way.host.restart_plugin("shop")
    assert way.host._lifecycle.instance("shop").count == 7
    way.host.unload("shop")
    keys = way.host._control.run(way.host._kept.store.range("hosts/"))
    assert not [key for key in keys.entries if "/state/" in key], "an unload forgets it"


@every_way
def test_unloading_gives_everything_back(way):
    """Functions, providers, open singletons, hooks, subscriptions, background work, history: nothing is left."""
    way.host.call("shop.sell", 2)
    code, spec = way.code, way.host.snapshot.functions["shop.sell"].spec
    reference = weakref.ref(spec)
    closed = code.CLOSED
    del spec, code
    report = way.host.unload("shop")
    assert report.clean, str(report)
    assert closed == ["engine"], "its singleton is closed"
    assert not [one for one in way.host._injector.providers if one.plugin == "shop"]
    assert way.host.ledgers["shop"] == {}
    assert not way.host.events.stats()
    assert way.host.plugins["shop"].state.value == "unloaded"
    assert alive(reference) == [], "nothing in the history refers to it"
    assert way.host.start_plugin("shop").state == "running", "and it can come back"
    assert way.host.call("shop.sell", 2)


@every_way
def test_ordinary_defaults_of_its_constructor_apply(way):
    """`size: int = 3` is nobody's dependency when nothing provides an int."""
    assert way.host._lifecycle.instance("shop").size == 3
