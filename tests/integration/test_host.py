"""The host through its public API: registering, transactions, hooks, handles, injection, lifetimes."""

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator

import attrs
import pytest
from tests.support.collected import alive

from jackfield import (
    Call,
    Caller,
    CaptiveDependency,
    Config,
    ContractError,
    DeadlineExceeded,
    DuplicateFunction,
    EventBus,
    FunctionCrashed,
    FunctionNotFound,
    FunctionRegistered,
    FunctionUnregistered,
    Host,
    InjectionError,
    JackfieldError,
    Logger,
    MissingDependency,
    PluginError,
    Rejected,
    Unavailable,
    function,
    hookimpl,
    inject,
    provides,
    remaining,
)
from jackfield.registry.registry import HISTORY
from jackfield.testing import Recorder


class Database:
    def __init__(self):
        self.log = []


class Session:
    def __init__(self, db):
        self.db = db


@provides
def database() -> Iterator[Database]:
    db = Database()
    yield db
    db.log.append("closed")


@provides(scope="request")
def session(db: Database) -> Iterator[Session]:
    db.log.append("open")
    try:
        yield Session(db)
    except Exception as error:
        db.log.append(type(error).__name__)
        raise
    else:
        db.log.append("commit")


def query(text: str, *, session: Session = inject()):
    if text == "boom":
        raise ValueError(text)
    return session.db


@pytest.fixture
def host():
    with Host(observers=()) as host:
        yield host


@pytest.mark.parametrize(
    "name",
    ["with space", "", "tab\t", "nul\0", "x" * 10_000, "a..b", ".a", "a.", "naïve@", "a@b", 5, None, "line\nbreak"],
)
def test_bad_names_are_refused_with_the_reason(host, name):
    """And nothing is registered, and the message stays short."""
    with pytest.raises(ContractError) as caught:
        host.register(name, len)
    assert caught.value.faults[0].stage == "name"
    assert caught.value.faults[0].fix
    assert len(str(caught.value)) < 1_000
    assert dict(host.snapshot.functions) == {}


def test_a_taken_name_names_both_sides(host):
    """Who has it and who wanted it."""
    host.register("f", len, plugin="first")
    with pytest.raises(DuplicateFunction, match=r"first.*refused for second"):
        host.register("f", len, plugin="second")


def test_an_unknown_name_gives_close_ones(host):
    """A typo and a forgotten namespace are both found."""
    host.register("text.slugify", len)
    for wrong in ("text.slugfy", "slugify"):
        with pytest.raises(FunctionNotFound, match=r"did you mean 'text.slugify'"):
            host.call(wrong)
    with pytest.raises(FunctionNotFound, match=r"there are: 0"):
        host.call("text.slugify", "x", version="9")


def test_calls_before_the_start_and_after_the_end_say_so():
    """A host takes calls between start and stop only."""
    host = Host(observers=())
    host.register("f", lambda: 1)
    with pytest.raises(Unavailable, match="with host"):
        host.call("f")
    with host:
        assert host.call("f") == 1
    with pytest.raises(Unavailable, match="stopped"):
        host.call("f")
    with host:
        assert host.call("f") == 1


def test_request_objects_see_how_the_call_ended(host):
    """Commit, or the exception; closed when the call ends, the singleton when the host stops."""
    host.provide(database)
    host.provide(session)
    host.register("query", query)
    db = host.call("query", "x")
    with pytest.raises(FunctionCrashed):
        host.call("query", "boom")
    assert db.log == ["open", "commit", "open", "ValueError"]
    host.stop()
    assert db.log[-1] == "closed"


def test_a_late_result_is_rolled_back(host):
    """What the caller is told has failed must not be committed."""
    host.provide(database)
    host.provide(session)

    def slow(*, session: Session = inject()):
        while remaining():
            time.sleep(0.001)
        return session.db

    host.register("query", query)
    host.register("slow", slow)
    with pytest.raises(DeadlineExceeded):
        host.call("slow", timeout=0.4)  # enough to begin in, under load
    assert host.call("query", "x").log == ["open", "DeadlineExceeded", "open", "commit"]


def test_request_objects_are_never_closed_under_a_running_thread(host):
    """The caller leaves at the deadline; the session is closed when the function really ends, in its thread."""
    gate, entered, ran_in, closed_in = threading.Event(), threading.Event(), [], []

    @provides(scope="request")
    def watched() -> Iterator[list]:
        try:
            yield []
        finally:
            closed_in.append(threading.get_ident())

    @function(executor="thread")
    def stuck(*, watched: list = inject()):
        ran_in.append(threading.get_ident())
        entered.set()
        gate.wait(30)

    host.provide(watched)
    host.register("stuck", stuck)
    with pytest.raises(DeadlineExceeded):
        host.call("stuck", timeout=0.4)
    assert entered.wait(10)
    assert closed_in == []
    gate.set()
    while host._places.thread.stats().lingering:
        gate.wait(0.001)
    assert closed_in == ran_in
    assert closed_in != [threading.get_ident()]


def test_the_graph_is_validated_when_the_host_starts_and_ever_after():
    """All faults at the start in one report; afterwards each registration on its own."""

    @provides
    def captive(call: Call) -> Session: ...

    host = Host(observers=())
    host.register("query", query)
    host.register("other", lambda *, db=inject(name="nothing"): db)
    with pytest.raises(MissingDependency) as caught:
        host.start()
    assert len(caught.value.faults) == 2
    host.provide(database)
    host.provide(session)
    host.unregister("other")
    with host:
        before = host.snapshot
        with pytest.raises(MissingDependency):
            host.register("more", lambda *, x=inject(name="nothing"): x)
        with pytest.raises(InjectionError):
            host.provide(captive)
        assert host.snapshot is before
        host.call("query", "x")


def test_a_captive_dependency_is_refused():
    """A singleton cannot hold this call."""

    @provides
    def holder(call: Call) -> Session: ...

    host = Host(observers=())
    host.provide(holder)
    host.register("query", query)
    with pytest.raises(CaptiveDependency):
        host.start()


def test_override_holds_after_the_singleton_was_built(host):
    """And nests, and ends."""
    host.provide(database)
    host.provide(session)
    host.register("query", query)
    real = host.call("query", "x")
    fake, inner = Database(), Database()
    with host.override({Database: fake}):
        assert host.call("query", "x") is fake
        with host.override({Database: inner}):
            assert host.call("query", "x") is inner
        assert host.call("query", "x") is fake
    assert host.call("query", "x") is real


@attrs.define
class Everything:
    call: Call = inject()
    caller: Caller = inject()
    log: Logger = inject()
    bus: EventBus = inject()
    config: Config = inject()

    async def __call__(self, text: str):
        inner = await self.caller.acall("inner", text)
        return self.call.name, inner, self.config.plugin, hasattr(self.bus, "subscribe"), isinstance(self.log, Logger)


def test_what_is_always_injectable(host):
    """Call, Caller, Logger, EventBus, Config; in a class that is made per call."""
    host.register("inner", str.upper)
    host.register("everything", Everything, plugin="mine")
    assert host.call("everything", "x") == ("everything", "X", "mine", True, True)


def test_providing_a_value_later_reaches_functions_registered_before(host):
    """An optional dependency that was None is injected once it is there."""

    def f(*, db: Database | None = inject(optional=True)):
        return db

    host.register("f", f)
    assert host.call("f") is None
    db = Database()
    host.provide(db, type=Database)
    assert host.call("f") is db


def test_handles_are_checked_when_made(host):
    """And say what differs."""

    def score(amount: int) -> float:
        return amount / 2

    host.register("score", score)
    handle = host.function("score", int, float)
    assert handle(3) == 1.5
    assert asyncio.run(handle.acall(3)) == 1.5
    with pytest.raises(ContractError, match="result"):
        host.function("score", int, str)
    with pytest.raises(FunctionNotFound):
        host.function("nothing", int, str)


def test_an_extension_point_refuses_what_does_not_fit(host):
    """What is there already, and what comes later; the message says what differs."""

    def good(text: str) -> bytes:
        return text.encode()

    def bad(text: str) -> str:
        return text

    host.register("export.bad", bad)
    with pytest.raises(ContractError, match=r"export\.\*"):
        host.expect("export.*", str, bytes)
    host.unregister("export.bad")
    host.expect("export.*", str, bytes)
    host.register("export.good", good)
    with pytest.raises(ContractError, match="bytes"):
        host.register("export.bad", bad)
    host.register("other.bad", bad)


class Trail:
    def __init__(self):
        self.seen = []
        self.refuse = None
        self.error = Rejected("not this one")

    @hookimpl
    def jackfield_register(self, function):
        if function.name == self.refuse:
            raise self.error

    @hookimpl
    def jackfield_registered(self, function):
        self.seen.append(f"+{function.name}")

    @hookimpl
    def jackfield_unregistered(self, function):
        self.seen.append(f"-{function.name}")


class Broken:
    @hookimpl
    def jackfield_registered(self, function):
        raise ZeroDivisionError

    @hookimpl
    def jackfield_unregistered(self):
        raise ZeroDivisionError


def test_hooks_see_the_change_before_register_returns(host):
    """One that raises afterwards is logged and breaks nobody; one that raises before refuses all of it."""
    trail = Trail()
    host.add_hooks(Broken(), plugin="broken")
    host.add_hooks(trail, plugin="trail")
    host.add_hooks(Broken(), plugin="broken")
    host.register("a", len)
    assert trail.seen == ["+a"]
    trail.refuse = "c"
    with pytest.raises(PluginError, match=r"trail.*not this one"), host.update() as tx:
        tx.register("b", len)
        tx.register("c", len)
    assert set(host.snapshot.functions) == {"a"}
    trail.error = ValueError("secret")
    with pytest.raises(
        PluginError, match=r"refused by the hook of trail: ValueError at .*jackfield_register"
    ) as caught:
        host.register("c", len)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is trail.error
    host.unregister("a")
    assert trail.seen == ["+a", "-a"]


def test_a_hook_may_register_further_functions_but_not_while_it_is_asked(host):
    """In `jackfield_registered` they come behind; in `jackfield_register` it would wait for itself."""

    class Recursive:
        @hookimpl
        def jackfield_registered(self, function):
            if function.name == "a":
                host.register("a.more", len)

        @hookimpl
        def jackfield_register(self, function):
            if function.name == "b":
                host.register("b.more", len)

    trail = Trail()
    host.add_hooks(trail, plugin="trail")
    host.add_hooks(Recursive(), plugin="recursive")
    host.register("a", len)
    assert trail.seen == ["+a", "+a.more"]
    with pytest.raises(PluginError, match="may only look"):
        host.register("b", len)


@pytest.mark.parametrize(
    ("implementation", "reason"),
    [
        (object(), "no method"),
        (type("Needy", (), {"__init__": lambda self, x: None}), "without arguments"),
        (type("Odd", (), {"jackfield_nothing": hookimpl(lambda self: None)}), "jackfield_nothing"),
    ],
)
def test_bad_hooks_leave_nothing_behind(host, implementation, reason):
    """A hook class that cannot be used is refused as a whole."""
    with pytest.raises(PluginError, match=reason):
        host.add_hooks(implementation, plugin="odd")
    host.register("f", len)


def test_rollback_is_a_new_revision_and_tells_the_hooks(host):
    """Removed functions come back, added ones go."""
    trail = Trail()
    host.add_hooks(trail, plugin="trail")
    host.register("a", len)
    revision = host.snapshot.revision
    host.register("b", len)
    host.unregister("a")
    assert host.rollback(revision).revision == revision + 3
    assert set(host.snapshot.functions) == {"a"}
    assert host.call("a", "xy") == 2
    assert sorted(trail.seen[-2:]) == ["+a", "-b"]
    with pytest.raises(LookupError, match="not kept"):
        host.rollback(-1)


def test_events_arrive_before_register_returns(host):
    """In the order of the revisions."""
    seen = []
    host.events.subscribe(FunctionRegistered, lambda event: seen.append((event.function.name, event.revision)))
    host.events.subscribe(FunctionUnregistered, lambda event: seen.append((event.function.name, event.revision)))
    host.register("a", len)
    first = host.snapshot.revision
    assert seen == [("a", first)]
    host.unregister("a")
    assert seen[-1] == ("a", first + 1)


def test_nothing_keeps_an_unregistered_function_alive():
    """Once the history has turned over: no cache, no metric child, no thread, no observer."""
    with Host() as host:
        host.provide(database)

        def forgotten(text: str, *, db: Database = inject()) -> str:
            return text

        async def later(text: str) -> str:
            return text

        threaded = function(executor="thread")(lambda: 1)
        references = [weakref.ref(thing) for thing in (forgotten, later, threaded)]
        for name, thing in (("forgotten", forgotten), ("later", later), ("threaded", threaded)):
            registration = host.register(name, thing)
            host.call(name, None if name == "threaded" else "x")
            references.append(weakref.ref(registration.function))
            registration.remove()
        del thing, forgotten, later, threaded, registration
        for number in range(HISTORY):
            host.register(f"turn.over{number}", len)
        assert alive(*references) == []


def test_the_outcome_is_seen_once_by_every_observer():
    """Unknown names, bad payloads, refusals and crashes included; an observer that raises is left out."""

    class Sick:
        def bind(self, spec):
            raise ZeroDivisionError

    class Sicker(Recorder):
        def bind(self, spec):
            bound = super().bind(spec)
            bound.start = lambda call: 1 / 0
            return bound

    recorder, sicker = Recorder(), Sicker()
    with Host(observers=[sicker, recorder, Sick()]) as host:

        def score(amount: int) -> int:
            return 1 // amount

        async def ascore(amount: int) -> int:
            return 1 // amount

        host.register("score", score)
        host.register("ascore", ascore)
        for name in ("score", "ascore", "nothing"):
            for payload in (1, 0, "x"):
                try:
                    host.call(name, payload)
                except JackfieldError:
                    continue
    outcomes = [(seen.function, seen.outcome.value) for seen in recorder.calls]
    expected = ["ok", "crashed", "invalid_payload"]
    assert outcomes[:3] == [("score@0", outcome) for outcome in expected]
    assert outcomes[3:6] == [("ascore@0", outcome) for outcome in expected]
    assert outcomes[6:] == [("(unknown)@", "not_found")] * 3
    assert sicker.calls == []
    assert recorder.calls[1].error.__cause__.args


def test_async_with_makes_the_running_loop_the_home_loop():
    """Async functions run on it, singletons are closed on it."""

    async def where():
        return asyncio.get_running_loop()

    @provides
    async def resource() -> Session:
        return Session(asyncio.get_running_loop())

    def use(*, s: Session = inject()): ...

    async def ause(*, s: Session = inject()):
        return s.db

    async def main():
        async with Host(observers=()) as host:
            host.provide(resource)
            host.register("where", where)
            host.register("ause", ause)
            with pytest.raises(InjectionError):
                host.register("use", use)
            loop = asyncio.get_running_loop()
            assert await host.acall("where") is loop
            assert await host.acall("ause") is loop
            assert await asyncio.to_thread(host.call, "where") is loop
            assert await asyncio.to_thread(lambda: asyncio.run(host.acall("where"))) is loop

    asyncio.run(main())
