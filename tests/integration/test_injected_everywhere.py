"""Collections, generic providers, further types and decorators, whichever way a plugin comes in and goes."""

import sys
import textwrap
from typing import Generic, TypeVar

import pytest

from jackfield import Host, MissingDependency, PluginConfig, PluginError, Unavailable, decorates, inject, provides

T = TypeVar("T")

API = """
    from typing import Generic, Protocol, TypeVar
    T = TypeVar("T")
    class Exporter(Protocol):
        def export(self) -> str: ...
    class Repo(Generic[T]): ...
    class Text:
        def __init__(self, text): self.text = text
        def export(self): return self.text
"""

PLUGIN = """
    from typing import Annotated
    import jf_exporters as api
    from jf_exporters import Exporter, Repo, T, Text
    from jackfield import decorates, function, inject, provides

    @provides
    def exporter() -> Exporter:
        return Text("{name}")

    @provides(as_=Exporter, name="{name}.json")
    class Json(Text):
        def __init__(self) -> None: super().__init__("{name}.json")

    @provides
    def repo(kind: type[T]) -> "Box[T]":
        return Box(kind)

    class Box(Repo[T]):
        def __init__(self, kind): self.kind = kind

    @decorates
    def loud(box: Box[T]) -> Box[T]:
        box.loud = True
        return box

    class Plugin:
        def __init__(self, exporters: Annotated[list[Exporter], inject()], box: Box[str] = inject()) -> None:
            self.exporters, self.box = exporters, box

        @function
        def seen(self) -> list:
            return [len(self.exporters), self.box.kind.__name__, self.box.loud]

    @function
    def export(box: Annotated[Box[int], inject()], *, them: dict[str, Exporter] = inject()) -> list:
        return [*them, box.kind.__name__]
"""

ENTRIES = """
    [jackfield.functions]
    {name}.export = jf_{name}:export
    [jackfield.plugins]
    {name} = jf_{name}:Plugin
    [jackfield.providers]
    {name}.exporter = jf_{name}:exporter
    {name}.json = jf_{name}:Json
    {name}.repo = jf_{name}:repo
    {name}.loud = jf_{name}:loud
"""


@pytest.fixture
def api(tmp_path, monkeypatch):
    """Install the package whose protocol the plugins share."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "jf_exporters.py").write_text(textwrap.dedent(API))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    import jf_exporters  # noqa: PLC0415

    yield jf_exporters
    for each in set(sys.modules) - before:
        del sys.modules[each]


def write(folder, name, code=PLUGIN):
    (folder / f"{name}.py").write_text(textwrap.dedent(code).format(name=name))
    return folder / f"{name}.py"


def install(site, name):
    write(site, f"jf_{name}", PLUGIN.replace("{name}", name))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES).format(name=name))


def host_of(kind, tmp_path):
    if kind == "installed":
        for name in ("alpha", "beta"):
            install(tmp_path / "site", name)
        return Host.discover(path=[str(tmp_path / "site")], observers=())
    if kind == "loaded":
        host = Host(observers=())
        host.start()
        for name in ("alpha", "beta"):
            host.load(PluginConfig(name, f"{write(tmp_path, name)}:Plugin"))
        return host
    lines = []
    for name in ("alpha", "beta"):
        write(tmp_path, name)
        lines.append(f'[[plugin]]\nname = "{name}"\npath = "./{name}.py:Plugin"\n')
    (tmp_path / "jackfield.toml").write_text("\n".join(lines))
    return Host.from_config(tmp_path / "jackfield.toml", observers=())


@pytest.mark.parametrize("kind", ["installed", "configured", "loaded"])
def test_every_way_in(kind, tmp_path, api):
    """Functions, plugin objects and providers of plugins get the same, as does a function of the host; unloading a
    plugin takes its members out."""

    def exporters(*, them: list[api.Exporter] = inject(), keyed: dict[str, api.Exporter] = inject()):
        return [one.export() for one in them], list(keyed)

    with host_of(kind, tmp_path) as host:
        assert host.faults == ()
        host.register("host.exporters", exporters)
        them = ["alpha", "alpha.json", "beta", "beta.json"]
        assert host.call("host.exporters") == (them, them)
        assert host.call("alpha.export") == [*them, "int"]
        if kind != "installed":
            assert host.call("beta.seen") == [4, "str", True]

        host.unload("alpha")
        assert host.call("host.exporters") == (["beta", "beta.json"], ["beta", "beta.json"])
        assert host.call("beta.export") == ["beta", "beta.json", "int"]
        with host.override({api.Exporter: api.Text("fake")}):
            assert host.call("host.exporters") == (["fake", "beta.json"], ["beta", "beta.json"])
        host.unload("beta")
        with pytest.raises(Unavailable, match="what it needs is gone"):
            host.call("host.exporters")
        host.provide(provides(name="own")(own(api)))
        assert host.call("host.exporters") == (["own"], ["own"])


def own(api):
    def factory() -> api.Exporter:
        return api.Text("own")

    return factory


def test_a_reload_keeps_the_order_and_what_a_singleton_collects(tmp_path, api):
    """The new members stand where the old ones were; a singleton that has them is made anew."""

    class Router:
        def __init__(self, them: tuple[api.Exporter, ...]):
            self.them = [one.export() for one in them]

    def routed(*, router: Router = inject()):
        return router.them

    with host_of("configured", tmp_path) as host:
        host.provide(Router)
        host.register("routed", routed)
        assert host.call("routed") == ["alpha", "alpha.json", "beta", "beta.json"]
        write(tmp_path, "alpha", PLUGIN.replace('Text("{name}")', 'Text("new {name}")'))
        host.reload("alpha")
        assert host.call("routed") == ["new alpha", "alpha.json", "beta", "beta.json"]


SHARED = """
    from collections.abc import Iterator
    import jf_exporters as api
    from jackfield import inject, function, provides

    CLOSED = []

    @provides
    def exporter() -> Iterator[api.Exporter]:
        yield api.Text("{text}")
        CLOSED.append("{text}")

    class Plugin:
        def start(self):
            {start}

    @function
    def own(*, it: api.Exporter = inject()) -> str:
        return it.export()
"""


def test_a_type_that_others_ask_for_is_replaced_by_a_reload(tmp_path, api):
    """Others get the new object once the new version serves, and keep the old one when it does not come to that."""

    class Keeper:
        def __init__(self, it: api.Exporter):
            self.it = it

    def kept(*, it: api.Exporter = inject(), keeper: Keeper = inject()):
        assert keeper.it is it
        return it.export()

    def write_shared(text, start="pass"):
        (tmp_path / "shared.py").write_text(textwrap.dedent(SHARED).format(text=text, start=start))

    write_shared("one")
    (tmp_path / "jackfield.toml").write_text('[[plugin]]\nname = "shared"\npath = "./shared.py:Plugin"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        host.provide(Keeper)
        host.register("kept", kept)
        assert (host.call("kept"), host.call("shared.own")) == ("one", "one")
        write_shared("broken", start="raise RuntimeError")
        with pytest.raises(PluginError):
            host.reload("shared")
        assert (host.call("kept"), host.call("shared.own")) == ("one", "one")
        before = host.snapshot.revision
        write_shared("two")
        host.reload("shared", keep_warm=60)
        assert (host.call("kept"), host.call("shared.own")) == ("two", "two")
        host.rollback(before)
        assert host.call("shared.own") == "two", "what others share is that of the version that came last"
        (tmp_path / "shared.py").write_text("from jackfield import function\nclass Plugin: ...\n")
        with pytest.raises(PluginError, match="nothing provides Exporter"):
            host.reload("shared")
        write_shared("three")
        host.reload("shared")
        assert (host.call("kept"), host.call("shared.own")) == ("three", "three")
        for text in ("four", "three", "four"):  # what was there before comes again
            write_shared(text)
            host.reload("shared")
            assert (host.call("kept"), host.call("shared.own")) == (text, text)
        host.unload("shared")
        with pytest.raises(Unavailable):
            host.call("kept")


def test_a_newcomer_takes_nothing_from_what_serves(tmp_path, api):
    """A second provider of what a function asks for as the one is left out; the rest of its plugin serves."""

    def single(*, it: api.Exporter = inject()):
        return it.export()

    host = Host(observers=())
    host.provide(own(api))
    host.register("single", single)
    with host:
        host.load(PluginConfig("alpha", f"{write(tmp_path, 'alpha')}:Plugin"))
        assert host.call("single") == "own"
        (fault,) = host.faults
        assert "with it single@0 could not be served any more: Exporter has 2 providers" in fault.reason
        assert host.call("alpha.export") == ["", "alpha.json", "int"]


def test_a_decorator_of_another_plugin_comes_and_goes(tmp_path, api):
    """What is decorated is decorated as long as the decorator's plugin is there."""
    code = """
        from jf_exporters import Exporter, Text
        from jackfield import decorates, function
        @decorates
        def loud(it: Exporter) -> Exporter:
            return Text(it.export().upper())
        @function
        def nothing() -> None: ...
    """

    def single(*, it: api.Exporter = inject()):
        return it.export()

    host = Host(observers=())
    host.provide(own(api))
    host.register("single", single)
    with host:
        host.load(PluginConfig("loud", str(write(tmp_path, "loud", code))))
        assert host.call("single") == "OWN"
        host.unload("loud")
        assert host.call("single") == "own"


class Repo(Generic[T]):
    def __init__(self, kind: type[T]):
        self.kind = kind


class Engine: ...


def test_what_nobody_can_have_undecorated_goes_with_its_decorator(tmp_path, monkeypatch):
    """A decorator that cannot be used is left out with what it decorates: that must not be had without it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "jf_guarded.py").write_text(
        textwrap.dedent("""
        from jackfield import decorates, inject, provides
        class Vault: ...
        class Missing: ...
        @provides
        def vault() -> Vault: return Vault()
        @decorates
        def guarded(vault: Vault, missing: Missing) -> Vault: ...
        def unlock(*, vault: Vault = inject()): return "open"
        def harmless(): return "fine"
        """)
    )
    info = site / "guarded-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guarded\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[jackfield.functions]\nguarded.unlock = jf_guarded:unlock\nguarded.harmless = jf_guarded:harmless\n"
        "[jackfield.providers]\nvault = jf_guarded:vault\nguarded = jf_guarded:guarded\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Host.discover(path=[str(site)], observers=()) as host:
        assert host.call("guarded.harmless") == "fine"
        reasons = [fault.reason for fault in host.faults]
        assert any("nothing provides Missing" in reason for reason in reasons)
        assert "guarded.unlock" not in host.snapshot.functions
        vault = sys.modules["jf_guarded"].Vault

        def mine(*, vault: vault = inject()): ...

        with pytest.raises(MissingDependency):
            host.register("mine", mine)
    del sys.modules["jf_guarded"]


def test_only_the_singletons_of_what_is_unloaded_are_closed():
    """Generic and decorated ones included; those of other types stay."""
    closed = []

    @provides
    def engine() -> Engine:
        return Engine()

    def repo(kind: type[T], engine: Engine):
        yield Repo(kind)
        closed.append(kind)

    repo.__annotations__["return"] = __import__("collections.abc", fromlist=["Iterator"]).Iterator[Repo[T]]

    @decorates
    def noted(repo: Repo[int]) -> Repo[int]:
        return repo

    def use(*, ints: Repo[int] = inject(), strings: Repo[str] = inject()):
        return ints, strings

    host = Host(observers=())
    for provider in (engine, repo, noted):
        host.provide(provider)
    host.register("use", use)
    with host:
        ints, strings = host.call("use")
        with host.override({Engine: Engine()}):
            assert host.call("use")[0] is not ints
        assert closed == [str, int]
        assert host.call("use") == (ints, strings)
        host.provide(Repo[bytes])
        assert host.call("use") == (ints, strings)
    assert closed == [str, int, str, int]
