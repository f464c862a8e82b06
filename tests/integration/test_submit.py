"""Submitted calls: accepted once, run by whichever host is there, settled once."""

import asyncio
import threading
from pathlib import Path

import attrs
import msgspec
import pytest

from jackfield import (
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    Host,
    PayloadError,
    Rejected,
    SubmissionConflict,
    SubmissionState,
    Unavailable,
    current_call,
    function,
)
from jackfield.durable import Durability
from jackfield.durable.attempts import Attempts, Ended
from jackfield.durable.ledger import Entry, Ledger
from jackfield.durable.lifetime import Lifetime
from jackfield.durable.records import State, Submitted
from jackfield.durable.tenure import Tenure
from jackfield.model.keys import VALUE_LIMIT
from jackfield.runtime.clock import SystemClock
from jackfield.store import MemoryStore, SQLiteStore

LONG = 30.0
ID = "0a" * 16


class Shared(MemoryStore):
    """A store that outlives the hosts of a test."""


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """A store that lasts as long as the test."""
    made = Shared() if request.param == "memory" else SQLiteStore(tmp_path / "jackfield.db")
    yield made
    asyncio.run(made.close())


@pytest.fixture
def host(store):
    """A host that runs."""
    with Host(observers=(), store=store) as made:
        yield made


@attrs.frozen
class Loan:
    amount: int
    months: int = 12


def refuse(number: int) -> int:
    raise Rejected("too early", code="early", details={"number": number})


def crash(number: int) -> int:
    raise OSError(number)


class Counting:
    """Counts its calls, and fails the first ones."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[int] = []
        self.failures = failures

    def __call__(self, number: int) -> int:
        self.calls.append(current_call().attempt)
        if len(self.calls) <= self.failures:
            raise OSError("not yet")
        return number


def test_a_call_is_kept_run_and_its_result_kept(host):
    """`submit` returns when the call is on disk; its handle gives status and result."""
    host.register("text.shout", str.upper)
    handle = host.submit("text.shout", "hello")
    assert handle.result(LONG) == "HELLO"
    assert handle.status is SubmissionState.SUCCEEDED
    assert host.submitted(handle.id) == handle
    assert host.submitted(handle.id).result(LONG) == "HELLO"


def test_a_store_that_does_not_last_is_refused_unless_that_is_said():
    """On `memory:` a submit is a `ConfigError` with the line to add; `durable=False` accepts until exit."""
    with Host(observers=()) as host:
        host.register("text.shout", str.upper)
        with pytest.raises(ConfigError, match=r'url = "sqlite:jackfield.db"'):
            host.submit("text.shout", "hello")
        assert host.submit("text.shout", "hello", durable=False).result(LONG) == "HELLO"


def test_an_async_caller_awaits_both(store):
    """`asubmit` and `aresult` do not block the loop that they are awaited on."""

    async def main() -> str:
        async with Host(observers=(), store=store) as host:
            host.register("text.shout", str.upper)
            return await (await host.asubmit("text.shout", "hello")).aresult(LONG)

    assert asyncio.run(main()) == "HELLO"


def test_one_key_is_one_call(host):
    """Insert-if-absent on (tenant, function, key): the same payload is the same handle, another one an error."""
    counting = Counting()
    host.register("count", counting)
    first = host.submit("count", 7, key="order-17")
    assert host.submit("count", 7, key="order-17") == first
    with pytest.raises(SubmissionConflict, match="order-17") as caught:
        host.submit("count", 8, key="order-17")
    assert caught.value.id == first.id
    assert host.submit("count", 8, key="order-17", tenant="t").id != first.id
    assert host.submit("count", 8).id != host.submit("count", 8).id
    assert first.result(LONG) == 7
    assert host.submit("count", 7, key="order-17").result(LONG) == 7


def test_many_who_submit_one_key_at_once_get_one_call(host):
    """The key decides, however many come at the same time."""
    counting = Counting()
    host.register("count", counting)
    found, start = [], threading.Barrier(8)

    def submit() -> None:
        start.wait(LONG)
        found.append(host.submit("count", 1, key="k"))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len({handle.id for handle in found}) == 1
    assert [handle.result(LONG) for handle in found] == [1] * 8
    assert len(counting.calls) == 1


@pytest.mark.parametrize(
    ("payload", "options", "error"),
    [
        ("x", {}, PayloadError),
        (object(), {}, PayloadError),
        ([1] * VALUE_LIMIT, {}, PayloadError),
        (1, {"key": "k" * 10_240}, ValueError),
        (1, {"key": ""}, ValueError),
        (1, {"key": 7}, TypeError),
        (1, {"timeout": float("nan")}, ValueError),
        (1, {"version": "9"}, FunctionNotFound),
    ],
)
def test_what_cannot_be_run_is_refused_when_it_is_submitted(host, payload, options, error):
    """Payload, key, time and version are checked before anything is kept."""
    host.register("count", Counting())
    with pytest.raises(error):
        host.submit("count", payload, **options)
    assert not list(host.submissions())


def test_a_payload_that_is_too_large_names_the_limit(host):
    """The bound is that of the store."""
    host.register("text.shout", str.upper)
    with pytest.raises(PayloadError, match=r"at most 1,047,552 bytes"):
        host.submit("text.shout", "x" * 50_000_000)


def test_the_context_of_the_caller_comes_along_without_its_secrets(host):
    """Tenant, headers and deadline are those of the submit, at every attempt."""
    seen = []

    def look() -> None:
        call = current_call()
        seen.append((call.tenant, dict(call.headers), call.deadline is not None, call.attempt))

    host.register("look", look)
    headers = {"X-Request": "7", "Authorization": "Bearer secret", "Cookie": "a=b", "X-Hub-Signature-256": "sha256=0"}
    host.submit("look", tenant="t-1", headers=headers, timeout=60.0).result(LONG)
    assert seen == [("t-1", {"X-Request": "7"}, True, 1)]


def test_an_instance_of_the_payload_type_arrives_as_one(host):
    """What is kept is plain data; the function gets its own type."""

    def months(loan: Loan) -> int:
        assert type(loan) is Loan
        return loan.months

    host.register("months", months)
    assert host.submit("months", Loan(7)).result(LONG) == 12


@pytest.mark.parametrize(
    ("target", "error", "status"),
    [(refuse, Rejected, SubmissionState.FAILED), (crash, FunctionCrashed, SubmissionState.FAILED)],
)
def test_a_verdict_is_final(host, target, error, status):
    """`failed`: another try would not change it; the result raises what the call raised."""
    host.register("f", target)
    handle = host.submit("f", 7)
    with pytest.raises(error) as caught:
        handle.result(LONG)
    assert handle.status is status
    if error is Rejected:
        assert (caught.value.code, caught.value.details) == ("early", {"number": 7})
    assert [each.id for each in host.submissions(status="failed")] == [handle.id]


def test_what_is_idempotent_is_tried_again(host):
    """Attempts are counted, and visible to the function."""
    counting = Counting(failures=2)
    host.register("count", function(idempotent=True)(counting))
    assert host.submit("count", 7).result(LONG) == 7
    assert counting.calls == [1, 2, 3]


def test_tries_that_are_used_up_are_a_dead_letter_which_can_be_redriven(host):
    """`dead` with reason `attempts`; redriven under the same id, its attempts counted anew."""
    counting = Counting(failures=3)
    host.register("count", function(idempotent=True)(counting))
    handle = host.submit("count", 7)
    with pytest.raises(FunctionCrashed):
        handle.result(LONG)
    assert handle.status is SubmissionState.DEAD
    assert host.redrive(handle.id) == handle
    assert handle.result(LONG) == 7
    with pytest.raises(LookupError, match="succeeded"):
        host.redrive(handle.id)


def test_one_that_waits_is_cancelled_and_never_runs(store):
    """A call whose function is not here yet waits; cancelled, it never runs."""
    counting = Counting()
    with Host(observers=(), store=store) as host:
        registration = host.register("count", counting)
        block, begun = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            block.wait(LONG)

        host.register("hold", hold)
        held = [host.submit("hold") for _ in range(16)]
        assert begun.wait(LONG)
        waiting = host.submit("count", 7)
        registration.remove()
        assert waiting.cancel()
        assert waiting.status is SubmissionState.CANCELLED
        with pytest.raises(Cancelled):
            waiting.result(LONG)
        assert not waiting.cancel()
        block.set()
        for each in held:
            each.result(LONG)
    assert counting.calls == []


def test_one_that_runs_is_cancelled_where_it_runs(store):
    """A coroutine gets its cancellation, though another host asks for it."""
    begun, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        one.register("hang", hang)
        handle = one.submit("hang")
        assert begun.wait(LONG)
        assert other.submitted(handle.id).cancel()
        assert cancelled.wait(LONG)
        with pytest.raises(Cancelled):
            handle.result(LONG)
        assert other.submitted(handle.id).status is SubmissionState.CANCELLED


def test_what_has_expired_is_dead(host):
    """Its time is over: it is not run any more."""

    async def hang() -> None:
        await asyncio.sleep(3600)

    host.register("hang", hang)
    handle = host.submit("hang", timeout=0.2)
    with pytest.raises(DeadlineExceeded):
        handle.result(LONG)
    assert handle.status is SubmissionState.DEAD


def test_who_does_not_wait_long_enough_gets_an_error_and_the_call_goes_on(host):
    """`result(timeout=)` limits the waiting, not the call."""
    block = threading.Event()
    host.register("hold", lambda: block.wait(LONG))
    handle = host.submit("hold")
    with pytest.raises(DeadlineExceeded, match="goes on"):
        handle.result(0.05)
    block.set()
    assert handle.result(LONG) is True


def test_a_result_that_cannot_be_kept_is_a_failure(host):
    """What a store does not take is said, and the call is not run again."""
    host.register("large", lambda: "x" * VALUE_LIMIT)
    host.register("odd", lambda: [object()])
    for name in ("large", "odd"):
        handle = host.submit(name)
        with pytest.raises(Exception, match=r"larger than a store takes|cannot be kept"):
            handle.result(LONG)
        assert handle.status is SubmissionState.FAILED


def test_a_host_that_stops_gives_back_what_may_run_again_and_the_next_one_runs_it(store):
    """`idempotent`: run again by the next host. Else nobody knows how it ended: dead."""
    begun = threading.Barrier(3)

    host = Host(observers=(), store=store)
    with host:
        host.register("again", function(idempotent=True)(_hanging(begun)))
        host.register("once", _hanging(begun))
        again, once = host.submit("again", 1), host.submit("once", 2)
        begun.wait(LONG)
        host.stop(0.1)
    with Host(observers=(), store=store) as following:
        following.register("again", function(idempotent=True)(lambda number: number))
        following.register("once", lambda number: number)
        assert following.submitted(again.id).result(LONG) == 1
        lost = following.submitted(once.id)
        with pytest.raises(Unavailable):
            lost.result(LONG)
        assert lost.status is SubmissionState.DEAD
        assert following.redrive(once.id).result(LONG) == 2


def _hanging(begun: threading.Barrier):
    async def hang(number: int) -> int:
        await asyncio.to_thread(begun.wait, LONG)
        await asyncio.sleep(3600)
        return number

    return hang


def test_a_host_without_the_function_leaves_the_call_to_one_that_has_it(store):
    """Hosts of one store may have different functions."""
    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        registration = one.register("count", Counting())
        one._submissions.pause()  # it accepts, and runs nothing
        handle = one.submit("count", 7)
        registration.remove()
        other.register("count", Counting())
        assert handle.result(LONG) == 7


def test_calls_are_listed_by_function_and_status(host):
    """`submissions` streams the handles of all that is kept."""
    host.register("a.one", lambda: 1)
    host.register("b.two", lambda: 2)
    for name in ("a.one", "a.one", "b.two"):
        host.submit(name).result(LONG)
    assert len(list(host.submissions())) == 3
    assert {handle.function for handle in host.submissions("a.*", status="succeeded")} == {"a.one"}
    assert not list(host.submissions(status="dead"))
    with pytest.raises(ValueError, match="gone"):
        list(host.submissions(status="gone"))
    with pytest.raises(LookupError, match="no call"):
        host.submitted("0" * 32)


def test_permissions_are_checked_when_it_is_submitted(tmp_path: Path, store):
    """A tenant that may not call a function may not submit it either."""
    file = tmp_path / "jackfield.toml"
    file.write_text('[durable]\nconcurrency = 2\nkeep = 60.0\n[tenants.t]\npermissions = ["text.*"]\n')
    with Host.from_config(file, observers=(), store=store) as host:
        host.register("billing.close", lambda: 1)
        host.register("text.shout", str.upper)
        with pytest.raises(Exception, match="may not call it"):
            host.submit("billing.close", tenant="t")
        assert host.submit("text.shout", "a", tenant="t").result(LONG) == "A"


def test_who_waits_is_told_when_the_host_stops(store):
    """The call goes on elsewhere, or at the next start; its waiter does not hang."""
    said = []

    async def hang() -> None:
        await asyncio.sleep(3600)

    with Host(observers=(), store=store) as host:
        host.register("hang", function(idempotent=True)(hang))
        handle = host.submit("hang")

        def wait() -> None:
            try:
                handle.result(LONG)
            except Unavailable as error:
                said.append(error.cause)

        thread = threading.Thread(target=wait)
        thread.start()
        host.stop(0.1)
        thread.join(LONG)
    assert said == ["host_stopped"]


def _lose_life(host: Host, store) -> None:
    """Make a runner's sign of life go, as when its process is stopped for longer than its lease."""
    asyncio.run(store.delete(f"runners/{host._submissions._runner.id}"))


def test_a_stale_owner_never_settles(store):
    """Who was taken over loses: its settlement is dropped, though it ends first or last."""
    begun, go = threading.Event(), threading.Event()

    @function(idempotent=True)
    def first(number: int) -> str:
        begun.set()
        go.wait(LONG)
        return "stale"

    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        one.register("f", first)
        handle = one.submit("f", 7)
        assert begun.wait(LONG)
        other.register("f", function(idempotent=True)(lambda number: f"attempt {current_call().attempt}"))
        _lose_life(one, store)
        assert other.submitted(handle.id).result(LONG) == "attempt 2"
        go.set()
    with Host(observers=(), store=store) as following:
        assert following.submitted(handle.id).result(LONG) == "attempt 2"


class Held:
    """A store that gives the calls that there are only when it is let."""

    def __init__(self, store):
        self.get, self.put, self.delete, self.watch = store.get, store.put, store.delete, store.watch
        self.lease, self.close, self._range = store.lease, store.close, store.range
        self.go, self.asked = threading.Event(), threading.Event()

    async def range(self, prefix="", /):
        if prefix == "calls/00/":
            self.asked.set()
            await asyncio.to_thread(self.go.wait, LONG)
        return await self._range(prefix)


def test_a_call_whose_state_is_heard_of_before_it_is_read_is_taken_over_too():
    """It was there before the host that takes it over, and was begun while that one read."""
    store = MemoryStore()
    held, begun, go = Held(store), threading.Event(), threading.Event()

    @function(idempotent=True)
    def first(number: int) -> str:
        begun.set()
        go.wait(LONG)
        return "stale"

    with Host(observers=(), store=store) as accepting, Host(observers=(), store=store) as one:
        accepting.durable_calls.durability = Durability(concurrency=0)
        accepting.register("f", function(idempotent=True)(lambda number: number))
        handle = accepting.submit("f", 7, durable=False)
        with Host(observers=(), store=held) as other:
            other.register("f", function(idempotent=True)(lambda number: f"attempt {current_call().attempt}"))
            assert held.asked.wait(LONG)
            one.register("f", first)
            one.submitted(handle.id)
            assert begun.wait(LONG)
            _lose_life(one, store)
            held.go.set()
            assert other.submitted(handle.id).result(LONG) == "attempt 2"
            go.set()


def test_a_stale_owner_settles_no_later_call_of_that_key(store):
    """Dead, dropped and submitted anew while its first attempt runs: the later one is run, with its own result."""
    begun, go = threading.Event(), threading.Event()

    def first(number: int) -> str:
        if number == 1:
            begun.set()
            go.wait(LONG)
        return f"of {number}"

    with Host(observers=(), store=store) as one:
        one.register("f", first)
        stale = one.submit("f", 1, key="k")
        assert begun.wait(LONG)
        with Host(observers=(), store=store) as other:
            other.register("f", first)
            _lose_life(one, store)
            with pytest.raises(Unavailable, match="ended meanwhile"):
                other.submitted(stale.id).result(LONG)
            other.durable_calls.drop(stale.id)
        later = one.submit("f", 2, key="k")
        assert later.id == stale.id
        go.set()
        assert later.result(LONG) == "of 2"


def test_a_settlement_is_written_to_no_later_call_of_that_id_and_epoch():
    """Epochs begin anew after a drop; what tells the two calls apart is their nonce."""

    async def check() -> None:
        ledger = Ledger(MemoryStore())
        told: list[Entry] = []
        call = Submitted("f", "1", b"", b"", b"first", 0.0, 0.0)
        claimed = State(b"first", SubmissionState.RUNNING, 0.0, attempt=1, tries=1, owner="runner", epoch=1)
        await ledger.insert(ID, call)
        stale = await ledger.change(Entry(ID, call, None, 0), claimed)

        async def run(entry: Entry, left: float | None) -> Ended:
            dead = msgspec.structs.replace(claimed, status=SubmissionState.DEAD, owner="")
            await ledger.drop(await ledger.change(entry, dead))
            later = attrs.evolve(stale, call=msgspec.structs.replace(call, nonce=b"later"), state=None, revision=0)
            await ledger.insert(ID, later.call)
            await ledger.change(later, msgspec.structs.replace(entry.now, nonce=b"later"))
            await ledger.drop(entry)  # by somebody who had read the first one
            return Ended(result="stale")

        clock = SystemClock()
        tenure = Tenure(clock)
        tenure.begin("runner", clock() + LONG)
        attempts = Attempts(ledger, Lifetime(clock), tenure, clock, run, 3, told.append)
        await ledger.change(stale, State(b"first", SubmissionState.ACCEPTED, 0.0))
        assert await attempts.attempt(ID, "runner", lambda: None), "it is said that it ended for nothing"
        there = await ledger.read(ID)
        assert there is not None
        assert (there.call.nonce, there.status) == (b"later", SubmissionState.RUNNING)
        assert [entry.status for entry in told] == [SubmissionState.RUNNING]

    asyncio.run(check())


def test_what_is_not_idempotent_is_not_taken_over(store):
    """Its end is unknown: dead, and what its first owner says later is dropped."""
    begun, go, ran = threading.Event(), threading.Event(), []

    def first(number: int) -> str:
        begun.set()
        go.wait(LONG)
        return "late"

    with Host(observers=(), store=store) as one, Host(observers=(), store=store) as other:
        one.register("f", first)
        handle = one.submit("f", 7)
        assert begun.wait(LONG)
        other.register("f", ran.append)
        _lose_life(one, store)
        with pytest.raises(Unavailable, match="ended meanwhile"):
            other.submitted(handle.id).result(LONG)
        go.set()
    assert not ran
    with Host(observers=(), store=store) as following:
        assert following.submitted(handle.id).status is SubmissionState.DEAD
