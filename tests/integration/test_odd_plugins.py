"""Objects that lie, raise or go round in a circle: none ends or hangs loading, each is told of, and the rest serves."""

import importlib
import json
import os
import subprocess
import sys
import textwrap

import pytest

from jackfield import ContractError, Host, InjectionError, JackfieldError
from jackfield.cli import files

WELL = "def f(x: int = 1) -> int: return x"

# What stands in for the odd: `f` is the function that the plugin advertises. The verdict: "left out" with a fault,
# "noted" (served, with a note for the parameter that is not checked), or "served".
RAISING = """
class Raising:
    def __getattribute__(self, name): raise {error}
    def __call__(self): ...
f = Raising()
"""
FUNCTIONS = {
    "metaclass that equals and cannot be hashed": (
        """
        class M(type):
            def __eq__(c, o): return c is o
        class K(metaclass=M): ...
        def f(x: K = None) -> int: return 1
        """,
        "noted",
    ),
    "metaclass whose comparison raises": (
        """
        class M(type):
            def __eq__(c, o): raise ValueError('eq')
            def __hash__(c): raise SystemExit('hash')
        class K(metaclass=M): ...
        def f(x: K = None, y: int = 1) -> K: return y
        """,
        "noted",
    ),
    "metaclass whose instance check raises": (
        """
        class M(type):
            def __instancecheck__(c, o): raise KeyboardInterrupt
        class K(metaclass=M): ...
        def f(x: K = None) -> int: return 1
        """,
        "noted",
    ),
    "metaclass whose names raise": (
        """
        class M(type):
            def __getattribute__(c, n): raise SystemExit(n)
            def __repr__(c): raise SystemExit
        class K(metaclass=M): ...
        def f(x: K = None) -> int: return 1
        """,
        "either",
    ),
    "proxy that is bound to nothing": (
        """
        class Raising:
            def __getattribute__(self, name): raise RuntimeError('working outside of context')
            def __call__(self): ...
        f = Raising()
        """,
        "left out",
    ),
    "object that exits when it is looked at": (
        """
        class Raising:
            def __getattribute__(self, name): raise SystemExit(3)
            def __call__(self): ...
        f = Raising()
        """,
        "left out",
    ),
    "object that interrupts when it is looked at": (
        """
        class Raising:
            def __getattribute__(self, name): raise KeyboardInterrupt
            def __call__(self): ...
        f = Raising()
        """,
        "left out",
    ),
    "object that cancels when it is looked at": (
        """
        import asyncio

        class Raising:
            def __getattribute__(self, name): raise asyncio.CancelledError
            def __call__(self): ...
        f = Raising()
        """,
        "left out",
    ),
    "class that is a lie": (
        """
        class Liar:
            __class__ = property(lambda s: type)
            def __call__(self, x: int = 1): return x
        f = Liar()
        """,
        "either",
    ),
    "class that is a lie about partials": (
        """
        import functools
        class Liar:
            __class__ = property(lambda s: functools.partial)
            func = property(lambda s: s)
            keywords = {}
            args = ()
            def __call__(self): return 1
        f = Liar()
        """,
        "left out",
    ),
    "ever another partial": (
        """
        import functools
        class Liar:
            __class__ = property(lambda s: functools.partial)
            func = property(lambda s: Liar())
            keywords = {}
            args = ()
            def __call__(self): return 1
        f = Liar()
        """,
        "left out",
    ),
    "partial of itself": (
        """
        import functools
        f = functools.partial(print)
        f.__setstate__((f, (), {}, {}))
        """,
        "left out",
    ),
    "wrapped by itself": (
        """
        def f(x: int = 1): return x
        f.__wrapped__ = f
        """,
        "served",
    ),
    "two that wrap each other": (
        """
        def f(x: int = 1): return x
        def g(): ...
        f.__wrapped__ = g
        g.__wrapped__ = f
        """,
        "served",
    ),
    "ever another wrapped": (
        """
        class W:
            @property
            def __wrapped__(self): return W()
            def __call__(self, x: int = 1): return x
        f = W()
        """,
        "left out",
    ),
    "wrapped that raises": (
        """
        class W:
            @property
            def __wrapped__(self): raise OSError
            def __call__(self, x: int = 1): return x
        f = W()
        """,
        "left out",
    ),
    "mock": (
        """
        from unittest.mock import MagicMock
        f = MagicMock()
        """,
        "served",
    ),
    "mock of a class": (
        """
        from unittest.mock import MagicMock
        f = MagicMock(spec=type)
        """,
        "either",
    ),
    "mock with a signature": (
        """
        from unittest.mock import create_autospec
        def g(x: int = 1): ...
        f = create_autospec(g, return_value=1)
        """,
        "served",
    ),
    "the call object of mock": (
        """
        from unittest.mock import call as f
        """,
        "either",
    ),
    "any attribute": (
        """
        class Any_:
            def __getattr__(self, name): return Any_()
            def __call__(self, *a, **k): return Any_()
        f = Any_()
        """,
        "either",
    ),
    "signature that raises": (
        """
        class S:
            @property
            def __signature__(self): raise SystemExit
            def __call__(self): ...
        f = S()
        """,
        "left out",
    ),
    "signature that is none": (
        """
        def f(): return 1
        f.__signature__ = 5
        """,
        "either",
    ),
    "docstring that raises": (
        """
        class D:
            @property
            def __doc__(self): raise SystemExit
            def __call__(self, x: int = 1): return x
        f = D()
        """,
        "served",
    ),
    "mark that raises": (
        """
        class D:
            @property
            def __jackfield_policy__(self): raise OSError
            def __call__(self, x: int = 1): ...
        f = D()
        """,
        "left out",
    ),
    "default that is a proxy": (
        """
        class P:
            def __getattribute__(self, n): raise RuntimeError
            def __eq__(self, o): raise OSError
            __hash__ = None
            def __repr__(self): raise SystemExit
        def f(x: int = P()): return 1
        """,
        "served",
    ),
    "broken attrs fields": (
        """
        import attrs
        @attrs.define
        class K:
            a: int
        K.__attrs_attrs__ = (1, 2)
        def f(x: K = None): return 1
        """,
        "noted",
    ),
    "broken dataclass fields": (
        """
        import dataclasses
        @dataclasses.dataclass
        class K:
            a: int
        K.__dataclass_fields__ = 3
        def f(x: K = None): return 1
        """,
        "noted",
    ),
    "broken typed dict": (
        """
        from typing import TypedDict
        class K(TypedDict):
            a: int
        K.__annotations__ = 5
        K.__required_keys__ = None
        def f(x: K = None): return 1
        """,
        "either",
    ),
    "broken named tuple": (
        """
        from typing import NamedTuple
        class K(NamedTuple):
            a: int
        K._fields = None
        def f(x: K = None): return 1
        """,
        "either",
    ),
    "annotation that is a list": (
        """
        def f(x: [int] = ()): return 1
        """,
        "either",
    ),
    "annotation that is a dict": (
        """
        def f(x: {'a': int} = ()): return 1
        """,
        "either",
    ),
    "annotation that is an instance": (
        """
        class I: ...
        def f(x: I() = None): return 1
        """,
        "either",
    ),
    "annotation that raises at everything": (
        """
        class I:
            def __getattribute__(self, n): raise SystemExit(n)
            def __call__(self): ...
        def f(x: I() = None): return 1
        """,
        "noted",
    ),
    "annotation that exits when it is evaluated": (
        """
        from __future__ import annotations
        import sys
        def f(x: sys.exit(4) = 1): return 1
        """,
        "noted",
    ),
    "annotations that are no mapping": (
        """
        def f(x=1): return 1
        f.__annotations__ = {}
        f.__kwdefaults__ = None
        """,
        "served",
    ),
    "call that is a property that raises": (
        """
        class C:
            @property
            def __call__(self): raise OSError
        f = C()
        """,
        "either",
    ),
    "class whose constructor has no end": (
        """
        class C:
            def __init__(self, x=1): ...
            def __call__(self, y: int = 1): return y
        C.__init__.__wrapped__ = C.__init__
        f = C
        """,
        "served",
    ),
    "class with attributes that raise": (
        """
        class P:
            def __get__(self, o, t): raise OSError
            __class__ = property(lambda s: 1 / 0)
        class C:
            odd = P()
            def __call__(self, y: int = 1): return y
        f = C
        """,
        "served",
    ),
    "class with a method that binds to nothing": (
        """
        class P:
            def __get__(self, o, t=None): raise OSError
            def __call__(self): ...
        class C:
            __call__ = P()
        f = C
        """,
        "left out",
    ),
    "dependency that cannot be looked up": (
        """
        from jackfield import inject
        class M(type):
            def __hash__(c): raise OSError
        class K(metaclass=M): ...
        def f(x: int = 1, *, k: K = inject()): return x
        """,
        "left out",
    ),
    "async in name only": (
        """
        class P:
            _is_coroutine_mark = property(lambda s: 1 / 0)
            _is_coroutine_marker = property(lambda s: 1 / 0)
            def __call__(self, x: int = 1): return x
        f = P()
        """,
        "either",
    ),
}
if sys.version_info >= (3, 12):
    FUNCTIONS["alias of itself"] = ("type A = A\ndef f(x: A = None): return 1", "either")
    FUNCTIONS["aliases of each other"] = ("type A = B\ntype B = A\ndef f(x: A = None): return 1", "either")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Puts distributions on `sys.path`, each with one module; what they import is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JACKFIELD_NO_CACHE", "1")
    before = set(sys.modules)

    def install(name, code, entries):
        (tmp_path / f"jfodd_{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = tmp_path / f"jfodd_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: jfodd-{name}\nVersion: 1\n")
        text = "".join(f"[jackfield.{group}]\n{key} = jfodd_{name}{value}\n" for group, key, value in entries)
        (info / "entry_points.txt").write_text(text)

    install.path = [str(tmp_path)]
    install("well", WELL, [("functions", "well.f", ":f")])
    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_odd_function_is_left_out_or_served_and_the_rest_serves(site, kind):
    """With a fault, or with a note for what is not checked; never without a word."""
    code, verdict = FUNCTIONS[kind]
    site("odd", code, [("functions", "odd.f", ":f")])
    with Host.discover(path=site.path, observers=()) as host:
        assert host.call("well.f", 3) == 3
        faults = [fault for fault in host.faults if fault.plugin == "jfodd-odd"]
        served = "odd.f" in host.snapshot.functions
        assert served != bool(faults)
        if verdict != "either":
            assert served == (verdict != "left out")
        assert all(fault.reason and fault.fix and fault.entry.startswith("odd.f") for fault in faults)
        if served:
            assert bool(host.describe("odd.f").notes) or verdict != "noted"
            with suppressed():
                host.call("odd.f")


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_is_registered_by_hand_is_taken_or_refused_by_an_error_of_ours(site, kind, tmp_path):
    """And a refusal changes nothing, in a host that runs and in one that does not."""
    site("byhand", FUNCTIONS[kind][0], [])
    importlib.invalidate_caches()
    target = importlib.import_module("jfodd_byhand").f
    for running in (False, True):
        host = Host(observers=())
        host.register("well.f", abs)
        if running:
            host.start()
        before = host.snapshot
        try:
            host.register("odd.f", target)
        except (ContractError, InjectionError, KeyboardInterrupt):  # in the main thread that may be the user's
            assert host.snapshot is before
        else:
            host.unregister("odd.f")
        with host:
            assert host.call("well.f", -3) == 3


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_odd_provider_is_left_out_or_used_and_the_rest_serves(site, kind):
    """`f` is advertised as a provider."""
    site("odd", FUNCTIONS[kind][0], [("providers", "odd.f", ":f")])
    with Host.discover(path=site.path, observers=()) as host:
        assert host.call("well.f", 3) == 3
        assert all(fault.reason and fault.fix for fault in host.faults)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_is_provided_by_hand_is_taken_or_refused_by_an_error_of_ours(site, kind):
    """As a factory, as a value by its class, as a value by name, and for itself as the type."""
    site("byhand", FUNCTIONS[kind][0], [])
    importlib.invalidate_caches()
    target = importlib.import_module("jfodd_byhand").f
    with Host(observers=()) as host:
        for arguments in ({}, {"name": "n"}, {"type": str}, {"type": target}):
            with suppressed():
                host.provide(target, **arguments)
        host.register("f", abs)
        assert host.call("f", -1) == 1


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_odd_hooks_and_plugin_objects_cost_their_plugin_alone(site, kind):
    """`f` is advertised as a hook implementation, or as a plugin object."""
    for group in ("hooks", "plugins"):
        site(group, FUNCTIONS[kind][0], [(group, "odd.f", ":f")])
    with Host.discover(path=site.path, observers=()) as host:
        assert host.call("well.f", 3) == 3
        assert any(fault.plugin == "jfodd-hooks" for fault in host.faults)
    assert host.plugins["jfodd-well"].state == "stopped"


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_odd_module_attribute_costs_nothing_but_itself(tmp_path, kind):
    """In a plugin file, where what is marked is looked for among all that the module has."""
    good = "from jackfield import function\n@function\ndef good(x: int = 1) -> int: return x\n"
    code = f"{textwrap.dedent(FUNCTIONS[kind][0])}\n{good}"
    (tmp_path / "shop.py").write_text(code, encoding="utf-8")
    (tmp_path / "jackfield.toml").write_text('[[plugin]]\nname = "shop"\npath = "./shop.py"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("shop.good", 2) == 2


# The file is looked at in the main thread, where an interrupt is taken for the user's.
@pytest.mark.parametrize("kind", [kind for kind in FUNCTIONS if "KeyboardInterrupt" not in FUNCTIONS[kind][0]])
def test_an_odd_module_attribute_costs_nothing_in_a_file_on_the_command_line(tmp_path, kind):
    """Where all that can be called is looked for, marked or not."""
    code = f"{textwrap.dedent(FUNCTIONS[kind][0])}\ndef good(x: int = 1) -> int: return x\n"
    (tmp_path / "shop.py").write_text(code, encoding="utf-8")
    file = files.given(str(tmp_path / "shop.py"))
    opened = files.open_file(file)
    try:
        assert files.listing(file, opened.module)
        with opened.host:
            assert opened.host.call(files.register(file, opened.host, opened.module, "good"), 2) == 2
    finally:
        sys.modules.pop(opened.module.__name__, None)


@pytest.mark.slow
def test_check_graph_and_info_say_what_is_wrong_with_each(site, tmp_path):
    """In one run over all of them: nothing ends the process that looks, and no fault is of the process."""
    kinds = {f"odd{number}": kind for number, kind in enumerate(FUNCTIONS)}
    for name, kind in kinds.items():
        site(name, FUNCTIONS[kind][0], [("functions", f"{name}.f", ":f")])

    def pluginctl(*arguments):
        command = [sys.executable, "-m", "jackfield", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    report = json.loads(pluginctl("check", "--json").stdout)
    assert not any("ended the process" in fault["reason"] or "killed" in fault["reason"] for fault in report["faults"])
    faulty = {fault["entry"].partition("@")[0] for fault in report["faults"]}
    noted = {note["function"] for note in report["notes"]}
    assert "well.f" in report["functions"]
    for name, kind in kinds.items():
        assert (f"{name}.f" in report["functions"]) != (f"{name}.f" in faulty), kind
        assert FUNCTIONS[kind][1] != "left out" or f"{name}.f" in faulty, kind
        assert FUNCTIONS[kind][1] != "noted" or f"{name}.f" in noted, kind
    left_out = next(name for name, kind in kinds.items() if FUNCTIONS[kind][1] == "left out")
    told = pluginctl("info", "--contract", f"{left_out}.f")
    assert "reading it raised" in told.stdout + told.stderr
    assert "pluginctl check" in pluginctl("doctor").stdout
    assert pluginctl("graph").stdout.startswith("flowchart")


class suppressed:  # noqa: N801  # reads as `contextlib.suppress`
    """Lets errors of jackfield pass, and in this thread what may be the user's Ctrl-C; nothing else."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, tb):
        return kind is not None and issubclass(kind, (JackfieldError, KeyboardInterrupt))
