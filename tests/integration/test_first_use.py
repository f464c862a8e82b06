"""Functions that are imported at their first use: nobody waits for a plugin that he does not need, nor for himself."""

import gc
import sys
import threading
import weakref

import pytest

from jackfield import Host, JackfieldError, Unavailable
from support import installed
from support.plugins import PATIENCE, wait_for

FUNCTION, OBJECT, PROVIDER, HOOK = (f"jackfield.{kind}" for kind in ("functions", "plugins", "providers", "hooks"))
TYPES = "class X: ...\nclass Y: ...\nclass Z: ..."
WELL = "def f():\n    return 'well'\n"


@pytest.fixture
def site(tmp_path):
    """Installs distributions, and one of types that others share."""
    with installed.site(tmp_path) as there:
        there("types", TYPES, [])
        yield there


@pytest.fixture
def lazy(site):
    """Makes the lazy host of what is installed; modules find it as `jf_types.host`, and a gate to hang at."""
    hosts = []

    def start():
        import jf_types  # noqa: PLC0415  # of the site

        host = Host.discover(path=site.path, observers=(), lazy=True)
        jf_types.host, jf_types.gate, jf_types.hanging = host, threading.Event(), threading.Event()
        hosts.append(host)
        host.start()
        return host

    yield start
    for host in hosts:
        sys.modules["jf_types"].gate.set()
        host.stop()


def aside(body, *args):
    """Call something in a thread; gives what waits for its result."""
    said = []
    thread = threading.Thread(target=lambda: said.append(body(*args)))
    thread.start()

    def join():
        thread.join(PATIENCE)
        return said[0] if said else "it did not end"

    return join


GIVES = "from jackfield import provides\nfrom jf_types import X\n@provides\ndef x() -> X: return X()\n"
NEEDS = "from jackfield import inject\nfrom jf_types import X\ndef f(*, x: X = inject()): return 'had it'\n"
HANGS = "import jf_types\njf_types.hanging.set()\njf_types.gate.wait()\n" + WELL


def test_a_plugin_that_hangs_when_it_is_imported_keeps_no_other_waiting(site, lazy):
    """The others' first calls are served meanwhile; those who want the same one wait for it, and are served after."""
    site("hangs", HANGS, [(FUNCTION, "hangs.f", "f")])
    site("well", WELL, [(FUNCTION, "well.f", "f")])
    host = lazy()
    waiting = [aside(host.call, "hangs.f") for _ in range(2)]
    assert sys.modules["jf_types"].hanging.wait(PATIENCE)
    assert host.call("well.f") == "well"
    sys.modules["jf_types"].gate.set()
    assert [join() for join in waiting] == ["well", "well"]


def test_a_provider_that_hangs_keeps_only_those_waiting_that_have_something_injected(site, lazy):
    """Which plugin provides what is known only once all of them are imported."""
    site("hangs", HANGS + GIVES, [(PROVIDER, "x", "x")])
    site("needs", NEEDS, [(FUNCTION, "needs.f", "f")])
    site("well", WELL, [(FUNCTION, "well.f", "f")])
    host = lazy()
    needs = aside(host.call, "needs.f")
    assert sys.modules["jf_types"].hanging.wait(PATIENCE)
    assert host.call("well.f") == "well"
    sys.modules["jf_types"].gate.set()
    assert needs() == "had it"


def test_sixteen_threads_on_one_name_import_it_once(site, lazy):
    """They all get its answer; the attribute is fetched once, not only the module executed once."""
    site(
        "counted",
        """
        FETCHED = []
        def __getattr__(name):
            if name != "f":
                raise AttributeError(name)
            FETCHED.append(name)
            return lambda: len(FETCHED)
        """,
        [(FUNCTION, "counted.f", "f")],
    )
    host = lazy()
    assert [join() for join in [aside(host.call, "counted.f") for _ in range(16)]] == [1] * 16


@pytest.mark.parametrize("order", [("a.f", "b.f"), ("b.f", "a.f"), ("a.g", "b.f")])
def test_plugins_that_need_one_anothers_providers_are_served_in_any_order(order, site, lazy):
    """Also by two threads at once: what provides anything is brought in together."""
    site(
        "a",
        """
        from jackfield import inject, provides
        from jf_types import X, Y, Z
        @provides
        def x(y: Y) -> X: return X()
        @provides
        def z() -> Z: return Z()
        def f(*, y: Y = inject()): return "a.f"
        def g(*, x: X = inject()): return "a.g"
        """,
        [(FUNCTION, "a.f", "f"), (FUNCTION, "a.g", "g"), (PROVIDER, "x", "x"), (PROVIDER, "z", "z")],
    )
    site(
        "b",
        """
        from jackfield import inject, provides
        from jf_types import Y, Z
        @provides
        def y(z: Z) -> Y: return Y()
        def f(*, z: Z = inject()): return "b.f"
        """,
        [(FUNCTION, "b.f", "f"), (PROVIDER, "y", "y")],
    )
    host = lazy()
    assert [join() for join in [aside(host.call, name) for name in order]] == [*order]
    assert host.faults == ()


def test_what_a_plugin_that_sees_the_others_provides_may_need_theirs(site, lazy):
    """Hooks are loaded at once, and their plugin's providers with them."""
    site(
        "sees",
        """
        from jackfield import hookimpl, inject, provides
        from jf_types import X, Y
        class Sees:
            @hookimpl
            def jackfield_registered(self, function): ...
        @provides
        def x(y: Y) -> X: return X()
        def f(*, x: X = inject()): return "sees"
        """,
        [(FUNCTION, "sees.f", "f"), (PROVIDER, "x", "x"), (HOOK, "sees", "Sees")],
    )
    site("gives", GIVES.replace("X", "Y"), [(PROVIDER, "x", "x")])
    assert lazy().call("sees.f") == "sees"


CALLS = """
import jf_types
SAID = []
try:
    SAID.append(jf_types.host.call({name!r}))
except Exception as error:
    SAID.append(error)
def f(): return "served"
"""


@pytest.mark.parametrize("ways", [{"a": "a.f"}, {"a": "b.f", "b": "a.f"}, {"a": "b.f", "b": "c.f", "c": "a.f"}])
def test_an_import_that_calls_what_waits_for_it_is_refused_at_once(ways, site, lazy):
    """Its own function, or one whose plugin calls it in turn: nobody waits for himself, and all serve afterwards."""
    for plugin, name in ways.items():
        site(plugin, CALLS.format(name=name), [(FUNCTION, f"{plugin}.f", "f")])
    host = lazy()
    assert host.call("a.f") == "served"
    said = [sys.modules[f"jf_{plugin}"].SAID[0] for plugin in ways]
    assert [each for each in said if each != "served"] == [said[-1]]
    assert isinstance(said[-1], Unavailable)
    assert "still being imported" in said[-1].reason
    assert [host.call(f"{plugin}.f") for plugin in ways] == ["served"] * len(ways)


def test_two_threads_whose_imports_call_one_another_both_end(site, lazy):
    """One of them sees the circle."""
    site("a", CALLS.format(name="b.f"), [(FUNCTION, "a.f", "f")])
    site("b", CALLS.format(name="a.f"), [(FUNCTION, "b.f", "f")])
    host = lazy()
    assert [join() for join in [aside(host.call, name) for name in ("a.f", "b.f")]] == ["served"] * 2


STARTS = """
import jf_types
SAID = []
class Plugin:
    def start(self):
        try:
            SAID.append(jf_types.host.call({name!r}))
        except Exception as error:
            SAID.append(error)
def f(): return "served"
"""


@pytest.mark.parametrize("together", [False, True], ids=["one thread", "all at once"])
@pytest.mark.parametrize("kinds", ["is", "si", "ss", "iss", "sis"])
def test_a_circle_of_imports_and_starts_that_call_one_another_ends_at_once(kinds, together, site, lazy):
    """`is`: the import of a calls b, whose start calls a. One of the calls is refused, and all serve afterwards."""
    names = [f"{letter}.f" for letter in "abc"[: len(kinds)]]
    for number, kind in enumerate(kinds):
        plugin, other = names[number].partition(".")[0], names[(number + 1) % len(kinds)]
        entries = [(FUNCTION, f"{plugin}.f", "f")] + [(OBJECT, plugin, "Plugin")] * (kind == "s")
        site(plugin, (STARTS if kind == "s" else CALLS).format(name=other), entries)
    host = lazy()
    began = [aside(host.call, name) for name in (names if together else names[:1])]
    assert [join() for join in began] == ["served"] * len(began)
    assert host.faults == ()  # nobody's time has run out
    said = [each for name in names for each in sys.modules[f"jf_{name[0]}"].SAID]
    refused = [each for each in said if each != "served"]
    assert refused
    assert all(isinstance(each, Unavailable) for each in refused)
    assert [host.call(name) for name in names] == ["served"] * len(names)


def test_a_plugin_that_was_stopped_is_not_started_by_a_first_call(site, lazy):
    """Its other functions have been called; who stopped it meant all of it."""
    site(
        "two",
        "class Plugin: ...\n" + WELL + "g = f",
        [(FUNCTION, f"two.{n}", n) for n in "fg"] + [(OBJECT, "two", "Plugin")],
    )
    host = lazy()
    host.call("two.f")
    host.stop_plugin("jf-two")
    with pytest.raises(Unavailable, match="its plugin 'jf-two' is stopped"):
        host.call("two.g")
    host.start_plugin("jf-two")
    assert [host.call("two.f"), host.call("two.g")] == ["well", "well"]


def test_a_plugin_that_fails_to_start_is_tried_once_however_many_call(site, lazy):
    """Those who waited for the start get its reason."""
    site(
        "fails",
        """
        import jf_types
        STARTED = []
        class Plugin:
            def start(self):
                STARTED.append(1)
                jf_types.hanging.set()
                jf_types.gate.wait()
                raise ValueError("no")
        def f(): ...
        """,
        [(FUNCTION, "fails.f", "f"), (OBJECT, "fails", "Plugin")],
    )
    host = lazy()

    def call():
        with pytest.raises(Unavailable, match=r"start\(\) raised ValueError at"):
            host.call("fails.f")
        return "refused"

    calling = [aside(call) for _ in range(8)]
    assert sys.modules["jf_types"].hanging.wait(PATIENCE)
    sys.modules["jf_types"].gate.set()
    assert [join() for join in calling] == ["refused"] * 8
    assert sys.modules["jf_fails"].STARTED == [1]


def test_a_plugin_that_is_unloaded_while_a_first_call_imports_it_stays_unloaded_and_leaves_nothing(site, lazy):
    """The call finds no such function; what was imported for it is let go of."""
    site("hangs", HANGS, [(FUNCTION, "hangs.f", "f")])
    host = lazy()

    def call():
        with pytest.raises(JackfieldError):
            host.call("hangs.f")
        return "refused"

    calling = aside(call)
    assert sys.modules["jf_types"].hanging.wait(PATIENCE)
    assert host.unload("jf-hangs").failed == ()
    sys.modules["jf_types"].gate.set()
    assert calling() == "refused"
    assert host.plugins["jf-hangs"].state == "unloaded"
    function = weakref.ref(sys.modules["jf_hangs"].f)
    del sys.modules["jf_hangs"]

    def is_gone():
        gc.collect()
        return function() is None

    wait_for(is_gone)


def test_a_start_that_calls_its_own_function_is_told_that_it_is_starting(site, lazy):
    """It would wait for itself; the function serves as soon as the plugin runs."""
    site(
        "eager",
        """
        from jackfield import Caller, Unavailable, inject
        SAID = []
        class Plugin:
            def __init__(self, caller: Caller = inject()): self.caller = caller
            def start(self):
                try:
                    self.caller.call("eager.f")
                except Unavailable as error:
                    SAID.append(str(error))
        def f(): return SAID
        """,
        [(FUNCTION, "eager.f", "f"), (OBJECT, "eager", "Plugin")],
    )
    assert ["is starting; wait" in said for said in lazy().call("eager.f")] == [True]


def test_a_function_that_comes_while_its_plugin_starts_is_there_when_that_runs(site, lazy):
    """It is not lost between what the start began with and what it ends with."""
    site(
        "slow",
        """
        import jf_types
        class Plugin:
            def start(self):
                jf_types.hanging.set()
                jf_types.gate.wait()
        def f(): return "f"
        def __getattr__(name):
            jf_types.fetched.set()
            return lambda: "g"
        """,
        [(FUNCTION, "slow.f", "f"), (FUNCTION, "slow.g", "g"), (OBJECT, "slow", "Plugin")],
    )
    host = lazy()
    first = aside(host.call, "slow.f")
    assert sys.modules["jf_types"].hanging.wait(PATIENCE)
    fetched = sys.modules["jf_types"].fetched = threading.Event()
    second = aside(host.call, "slow.g")
    assert fetched.wait(PATIENCE)
    sys.modules["jf_types"].gate.set()
    assert [first(), second()] == ["f", "g"]


def test_a_plugin_that_was_unloaded_is_not_brought_back_by_what_others_need(site, lazy):
    """Whoever needs what it provided is left out, and says so."""
    site("gives", GIVES, [(PROVIDER, "x", "x")])
    site("needs", NEEDS, [(FUNCTION, "needs.f", "f")])
    host = lazy()
    host.unload("jf-gives")
    with pytest.raises(JackfieldError, match="nothing provides X"):
        host.call("needs.f")
    assert host.plugins["jf-gives"].state == "unloaded"
