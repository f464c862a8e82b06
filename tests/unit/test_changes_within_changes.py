"""A change made while its own thread is inside another one is done, or refused with an error that says so.

It is never lost, never overwritten, and no two threads ever wait for each other because of it.
"""

import importlib
import signal
import sys
import threading

import pytest

from jackfield import FunctionRegistered, Host, JackfieldError, hookimpl, inject


class Engine: ...


class Clock: ...


def answering(value):
    def function():
        return value

    return function


def needs(*, engine: Engine = inject(optional=True), clock: Clock = inject()):
    return engine, clock


@pytest.fixture
def host():
    with Host(observers=()) as host:
        fill(host)
        yield host


def fill(host):
    """Have something there that every verb can change."""
    host.provide(Clock(), type=Clock)
    host.register("needs", needs)
    host.register("moved", answering("1"), version="1")
    host.register("moved", answering("2"), version="2")
    host.register("tried", answering("1"), version="1")
    host.register("tried", answering("2"), version="2")
    host.mark = host.snapshot.revision
    host.register("late", answering("late"))


class Register:
    def change(self, host):
        host.register("further", answering("further"))

    def holds(self, host):
        return host.call("further") == "further"


class Reroute:
    def change(self, host):
        host.reroute("moved", default="2")

    def holds(self, host):
        return host.call("moved") == "2"


class Try:
    def change(self, host):
        self.canary = host.canary("tried", version="2", share=1.0)

    def holds(self, host):
        return host.call("tried") == "2" and self.canary.status.state.value == "running"


class Provide:
    def change(self, host):
        host.provide(Engine(), type=Engine)

    def holds(self, host):
        return isinstance(host.call("needs")[0], Engine)


class Override:
    def change(self, host):
        self.fake = Clock()
        with host.override({Clock: self.fake}):
            self.inside = host.call("needs")[1] is self.fake

    def holds(self, host):
        return host.call("needs")[1] is not self.fake


class RollBack:
    def change(self, host):
        host.rollback(host.mark)

    def holds(self, host):
        return "late" not in host.snapshot.functions


VERBS = [Register, Reroute, Try, Provide, Override, RollBack]


@pytest.mark.parametrize("verb", VERBS)
def test_a_hook_that_is_asked_may_change_nothing(host, verb):
    """`jackfield_register` comes before the change that it is asked about: it is told to do so later."""
    refused = []

    class Asked:
        @hookimpl
        def jackfield_register(self, function):
            with pytest.raises(JackfieldError, match="may only look"):
                verb().change(host)
            refused.append(function.name)

    host.add_hooks(Asked())
    host.register("outer", answering("outer"))
    assert refused == ["outer"]
    assert host.call("outer") == "outer"


@pytest.mark.parametrize("verb", VERBS)
def test_a_hook_that_is_told_may_change_everything(host, verb):
    """When `register()` returns, what its hooks did is there."""
    inner = verb()

    class Told:
        @hookimpl
        def jackfield_registered(self, function):
            if function.name == "outer":
                inner.change(host)

    host.add_hooks(Told())
    host.register("outer", answering("outer"))
    assert inner.holds(host)
    assert "outer" in host.snapshot.functions or verb is RollBack


@pytest.mark.parametrize("verb", VERBS)
def test_an_event_handler_may_change_everything(host, verb):
    """It does not wait for the change that it was told of, which waits for it."""
    inner = verb()

    def handler(event):
        if event.function.name == "outer":
            inner.change(host)

    host.events.subscribe(FunctionRegistered, handler)
    host.register("outer", answering("outer"))
    assert host.events.drain(30) == ()
    assert inner.holds(host)


class Interrupting:
    """An observer that has something happen when a function is bound: in the middle of its registration."""

    def __init__(self):
        self.happen = None

    def bind(self, spec):
        if spec.name == "outer" and self.happen is not None:
            happen, self.happen = self.happen, None
            happen()
        return self

    def start(self, call): ...

    def finish(self, state, call, outcome, error, duration): ...

    def close(self): ...


@pytest.fixture
def interrupted():
    """A host, and what to interrupt the registration of `outer` with."""
    observer = Interrupting()
    with Host(observers=[observer]) as host:
        fill(host)
        yield host, observer


@pytest.mark.parametrize("verb", VERBS)
def test_a_signal_handler_may_change_everything(interrupted, verb):
    """It runs in the middle of a registration of the same thread, and neither overwrites the other."""
    host, observer = interrupted
    inner = verb()
    before = signal.signal(signal.SIGUSR1, lambda *_: inner.change(host))
    try:
        observer.happen = lambda: signal.raise_signal(signal.SIGUSR1)
        host.register("outer", answering("outer"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert inner.holds(host)
    assert host.call("outer") == "outer"


@pytest.mark.parametrize("verb", VERBS)
def test_a_finalizer_may_change_everything(interrupted, verb):
    """The last reference goes in the middle of a registration."""
    host, observer = interrupted
    inner = verb()

    class Finalized:
        def __del__(self):
            inner.change(host)

    kept = [Finalized()]
    observer.happen = kept.clear
    host.register("outer", answering("outer"))
    assert inner.holds(host)
    assert host.call("outer") == "outer"


class AtLine:
    """Calls something once, when so many lines of the rooms under test have run in this thread: as a signal would."""

    ROOMS = ("/registry/", "/injection/injector.py", "/model/atomic.py", "/rollout/canary.py")

    def __init__(self, line, action):
        self.left, self.action = line, action

    def __call__(self, frame, event, argument):
        if any(room in frame.f_code.co_filename for room in self.ROOMS):
            return self.line
        return None

    def line(self, frame, event, argument):
        if event == "line" and self.action is not None:
            self.left -= 1
            if self.left < 0:
                action, self.action = self.action, None
                action()
        return self.line


@pytest.mark.parametrize("inner", VERBS)
@pytest.mark.parametrize("outer", VERBS)
def test_a_change_may_come_at_any_line_of_another_one(outer, inner):
    """Both hold afterwards, wherever the one interrupts the other. A rollback undoes what came before it, no more."""
    step = 13
    line = VERBS.index(outer) + VERBS.index(inner)  # another set of lines for each pair
    if outer is inner and outer is not Override:
        return  # the second would be refused, or nothing new
    before = sys.gettrace()
    while True:
        with Host(observers=()) as host:
            fill(host)
            first, second = outer(), inner()
            trace = AtLine(line, lambda: second.change(host))  # noqa: B023  # called within the block
            sys.settrace(trace)
            try:
                first.change(host)
            finally:
                sys.settrace(before)
            if trace.action is not None:
                return  # that many lines there are not
            if inner is not RollBack:
                assert first.holds(host), line
            if outer is not RollBack:
                assert second.holds(host), line
        line += step


def test_a_hook_and_a_handler_that_wait_for_each_other_come_back():
    """The hook waits until the bus is through; the handler's own change waits for no hook."""
    left = []

    class Waits:
        @hookimpl
        def jackfield_registered(self, function):
            if function.name == "outer":
                left.append(host.events.drain(30))

    with Host(observers=()) as host:
        host.add_hooks(Waits())

        def handler(event):
            if event.function.name == "outer":
                host.register("further", answering("further"))

        host.events.subscribe(FunctionRegistered, handler)
        host.register("outer", answering("outer"))
        assert left == [()]
        assert host.call("further") == "further"


def test_a_hook_that_waits_for_another_threads_change_gets_it():
    """That thread waits a second for the hook, then says whom it waited for and goes on; its hooks are told later."""
    told = []

    class Waits:
        @hookimpl
        def jackfield_registered(self, function):
            told.append(function.name)
            if function.name == "outer":
                thread = threading.Thread(target=lambda: host.register("further", answering("further")))
                thread.start()
                thread.join(30)
                assert not thread.is_alive()

    with Host(observers=()) as host:
        host.add_hooks(Waits())
        host.register("outer", answering("outer"))
        assert told == ["outer", "further"]


def test_threads_that_change_from_hooks_and_handlers_at_once_all_come_back():
    """Hooks that register, handlers that reroute, overrides and providers, from four threads."""
    with Host(observers=()) as host:
        fill(host)

        class Busy:
            @hookimpl
            def jackfield_registered(self, function):
                if function.name.startswith("t"):
                    host.register(f"h{function.name}", answering(1))

        def handler(event):
            if event.function.name.startswith("ht"):
                host.reroute("moved", default="2")

        host.add_hooks(Busy())
        host.events.subscribe(FunctionRegistered, handler)

        def work(number):
            for turn in range(10):
                with host.override({Clock: Clock()}):
                    host.register(f"t{number}.n{turn}", answering(turn))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
            assert not thread.is_alive()
        assert host.events.drain(30) == ()
        wanted = {f"{kind}{number}.n{turn}" for kind in ("t", "ht") for number in range(4) for turn in range(10)}
        assert wanted <= host.snapshot.functions.keys()
        assert host.call("moved") == "2"


def test_what_interrupts_the_import_that_it_needs_itself_is_refused(tmp_path, monkeypatch):
    """A first registration imports what it needs; a signal handler may come in the middle of that."""
    (tmp_path / "jf_halfway").mkdir()
    (tmp_path / "jf_halfway" / "__init__.py").write_text(
        "from jackfield.lazy import imported_from\n"
        "__getattr__ = imported_from({'specify': 'jf_halfway.home'}, __name__)\n"
    )
    (tmp_path / "jf_halfway" / "home.py").write_text(
        "import jf_halfway\n"
        "try: jf_halfway.specify\n"
        "except Exception as error: interrupted = error\n"
        "specify = 7\n"
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("jf_halfway")
    assert package.specify == 7
    assert isinstance(sys.modules["jf_halfway.home"].interrupted, JackfieldError)
    for name in ("jf_halfway", "jf_halfway.home"):
        monkeypatch.delitem(sys.modules, name)
