"""The client: a host that is elsewhere is called as the one that is here."""

import asyncio
import datetime as dt
import decimal
import gc
import os
import threading
import uuid

import attrs
import pytest
from serving import KINDS, open_door

from jackfield import Call, Host, Rejected, ResourceExhausted, current_call, deadline, remaining
from jackfield.errors import (
    AsyncCallRequired,
    Cancelled,
    ContractError,
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    PayloadError,
    SubmissionConflict,
    Unavailable,
)
from jackfield.testing import no_leaks
from jackfield_contrib.client import AsyncClient, Client


@attrs.frozen
class Loan:
    amount: int
    months: int


@attrs.frozen
class Decision:
    granted: bool
    loan: Loan


def decide(loan: Loan) -> Decision:
    """Say whether a loan is granted."""
    return Decision(loan.amount < 1_000, loan)


def add(a: int, b: int) -> int:
    return a + b


def refuse() -> None:
    raise Rejected("the amount must be positive", code="bad_amount", details={"amount": -1})


def crash() -> None:
    raise ValueError("the password is swordfish")


def busy() -> None:
    raise ResourceExhausted("busy", "its queue is full", 1.25)


def same(value: object = None) -> object:
    return value


def seen() -> dict:
    call: Call = current_call()
    return dict(call.headers)


def left() -> float:
    found = remaining()
    return -1.0 if found is None else found


async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def give_up() -> None:
    raise Cancelled("give_up", "its work was taken away")


def refuse_oddly() -> None:
    raise Rejected("no", code="odd", details={"of": 2j, "until": 2**70, "name": "a\ud800", "left": 3})


FUNCTIONS = {
    "add": add, "decide": decide, "refuse": refuse, "crash": crash, "busy": busy, "same": same, "seen": seen,
    "left": left, "slow": slow, "give_up": give_up, "refuse_oddly": refuse_oddly,
}  # fmt: skip


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        for name, target in FUNCTIONS.items():
            made.register(name, target)
        made.register("add", lambda a, b: a * b, version="2")
        yield made
        gc.collect()  # grpcio leaves cycles, and a thread as long as they live


@pytest.fixture(params=KINDS)
def kind(request):
    """What is spoken: everything is the same."""
    return request.param


@pytest.fixture
def door(host, kind):
    with open_door(host, kind) as opened:
        yield opened


@pytest.fixture
def client(door):
    with Client(door.address) as made:
        yield made


def together(url, *jobs, **more):
    """Run what async clients do."""

    async def run():
        async with AsyncClient(url, **more) as client:
            return [await job(client) for job in jobs]

    return asyncio.run(run())


# --- Calls ------------------------------------------------------------------------------------------------------------


def test_a_call_is_made_there_and_its_result_is_here(client, door):
    """By threads and by event loops."""
    assert client.call("add", {"a": 1, "b": 2}) == 3
    assert client.call("same") is None
    assert client.call("add", {"a": 2, "b": 5}, version="2") == 10
    assert asyncio.run(client.acall("add", {"a": 1, "b": 2})) == 3
    assert together(door.address, lambda c: c.acall("add", {"a": 1, "b": 2}), lambda c: c.call("same", 7)) == [3, 7]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "Grüße \u2028 😀",
        2**80,
        b"\x00\xff",
        decimal.Decimal("9.90"),
        dt.date(2026, 11, 27),
        dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC),
        dt.timedelta(days=1, microseconds=5),
        uuid.UUID(int=7),
        {"a": [1, 2.5, None], "b": {"c": True}},
    ],
)
def test_dates_decimals_and_the_like_stay_what_they_are(client, value):
    """On the way there, and back."""
    assert client.call("same", value) == value


def test_without_types_a_class_is_plain_data_and_a_handle_makes_it_one_of_its_own(client, door):
    """As of a worker's function."""
    assert client.call("decide", Loan(5, 6)) == {"granted": True, "loan": {"amount": 5, "months": 6}}
    typed = client.function("decide", Loan, Decision)
    assert typed(Loan(5, 6)) == asyncio.run(typed.acall(Loan(5, 6))) == Decision(granted=True, loan=Loan(5, 6))

    async def awaited(client):
        handle = await client.function("decide", Loan, Decision)
        return await handle(Loan(2_000, 6), timeout=20.0)

    assert together(door.address, awaited) == [Decision(granted=False, loan=Loan(2_000, 6))]


def test_a_handle_is_checked_when_it_is_made(client):
    """By the schemas, since the types are elsewhere."""
    with pytest.raises(ContractError, match="expected str, the function returns Decision"):
        client.function("decide", Loan, str)
    with pytest.raises(ContractError, match="expected to pass str, the function takes loan: Loan"):
        client.function("decide", str, Decision)
    with pytest.raises(FunctionNotFound):
        client.function("nothing", str, str)


def test_what_there_is_can_be_listed_and_described(client):
    """With the contract, but no code."""
    assert {row["name"] for row in client.functions()} == set(FUNCTIONS)
    spec = client.describe("decide")
    assert (spec.name, spec.shape, spec.summary) == ("decide", "one", "Say whether a loan is granted.")
    assert spec.remote.parameters == ("loan: Loan",)


def test_headers_go_along_and_those_of_the_request_are_not_a_callers(client):
    """Nor what no header can be; what it says is in no error."""
    assert client.call("seen", headers={"X-Colour": "a b"})["x-colour"] == "a b"
    for name in ("Authorization", "content-length", "no name", "X-Timeout", ""):
        with pytest.raises(ValueError, match="no header that a call over a network can have"):
            client.call("seen", headers={name: "1"})
    for value in ("a\r\nX-Evil: 1", "\x00", "grün"):
        with pytest.raises(ValueError, match="cannot be in a header") as caught:
            client.call("seen", headers={"X-Colour": value})
        assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda c: c.call(7), TypeError),
        (lambda c: c.call("add", version=2), TypeError),
        (lambda c: c.call("\ud800"), ValueError),
        (lambda c: c.call("add", timeout="1"), TypeError),
        (lambda c: c.call("add", timeout=float("nan")), ValueError),
        (lambda c: c.call("add", headers=["x"]), TypeError),
        (lambda c: c.call("add", object()), TypeError),
        (lambda c: c.call("add", tenant="t"), ValueError),
        (lambda c: c.submit("add", key=7), TypeError),
        (lambda c: c.submitted(7), TypeError),
        (lambda c: c.describe(7), TypeError),
    ],
)
def test_an_argument_that_cannot_be_one_is_refused_here(client, make, error):
    """Before anything is sent."""
    with pytest.raises(error):
        make(client)


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_a_refusal_is_the_refusal_with_its_fields(client):
    """Of whatever kind."""
    with pytest.raises(Rejected) as refused:
        client.call("refuse")
    assert attrs.asdict(refused.value) == {
        "message": "the amount must be positive",
        "code": "bad_amount",
        "details": {"amount": -1},
    }
    with pytest.raises(PayloadError) as unfit:
        client.call("add", {"a": 1, "b": "x"})
    assert (unfit.value.function, unfit.value.path, unfit.value.expected) == ("add", "$.b", "int")
    with pytest.raises(FunctionNotFound) as unknown:
        client.call("decid", {})
    assert (unknown.value.function, unknown.value.close) == ("decid", ("decide",))
    with pytest.raises(FunctionNotFound) as version:
        client.call("add", {"a": 1, "b": 2}, version="9")
    assert set(version.value.versions) == {"0", "2"}


def test_a_refusal_is_told_though_some_of_its_details_have_no_form(client):
    """What has one is there, the rest is shown."""
    with pytest.raises(Rejected) as caught:
        client.call("refuse_oddly")
    assert caught.value.code == "odd"
    assert caught.value.details == {"of": "2j", "until": str(2**70), "name": "a\\ud800", "left": 3}


def test_a_cancelled_call_is_that_here_too(client):
    """HTTP has no name for its status, 499."""
    with pytest.raises(Cancelled) as caught:
        client.call("give_up")
    assert (caught.value.function, caught.value.reason) == ("give_up", "its work was taken away")


def test_a_crash_says_which_function_it_was_and_nothing_of_what_its_exception_says(client):
    """That is in the log of its host."""
    with pytest.raises(FunctionCrashed) as crashed:
        client.call("crash")
    assert (crashed.value.function, crashed.value.error_type) == ("crash", "ValueError")
    assert "log" in str(crashed.value)
    assert "swordfish" not in repr(crashed.value)


def test_what_a_function_raises_of_ours_is_its_crash_as_at_home(client):
    """A bound that it says is reached is its own matter."""
    with pytest.raises(FunctionCrashed):
        client.call("busy")


def test_an_event_loop_is_not_blocked(client):
    """The error says what to write instead."""

    async def block():
        for use in (lambda: client.call("add"), lambda: client.submit("add"), client.functions):
            with pytest.raises(AsyncCallRequired, match=r"acall|asubmit|AsyncClient"):
                use()

    asyncio.run(block())


# --- Time -------------------------------------------------------------------------------------------------------------


def test_a_deadline_holds_here_and_there(client, door):
    """Whoever notices it first."""
    with pytest.raises(DeadlineExceeded) as late:
        client.call("slow", 600.0, timeout=0.2)
    assert late.value.function == "slow"
    assert 0.0 < client.call("left", timeout=600.0) <= 600.0
    assert client.call("left") == -1.0
    with pytest.raises(DeadlineExceeded, match="it was not sent"):
        client.call("add", {"a": 1, "b": 2}, timeout=0.0)
    with Client(door.address, timeout=500.0) as limited:
        assert 0.0 < limited.call("left") <= 500.0
        assert 500.0 < limited.call("left", timeout=900.0) <= 900.0


def test_a_call_is_within_the_deadline_around_it(client):
    """A function that calls another host has no more time for it than it has itself."""
    with deadline(400.0):
        assert 0.0 < client.call("left") <= 400.0
        assert 0.0 < client.call("left", timeout=900.0) <= 400.0


def test_who_stops_waiting_cancels_the_call(host, door):
    """There, too."""
    begun, ended = threading.Event(), threading.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    host.register("wait", wait)

    async def give_up(client):
        task = asyncio.ensure_future(client.acall("wait"))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    together(door.address, give_up)
    assert ended.wait(20)
    begun.clear()
    ended.clear()
    with Client(door.address) as client:
        asyncio.run(give_up(client))
        assert ended.wait(20)


# --- Whose ------------------------------------------------------------------------------------------------------------


def test_a_unix_socket_is_a_door_as_any_other(host, socket_path):
    """Written as `pluginctl status` writes it, or as a URL."""
    with open_door(host, uds=str(socket_path)) as door:
        for url in (door.address, f"http+unix://{socket_path}", f"http+unix://{str(socket_path).replace('/', '%2F')}"):
            with Client(url) as client:
                assert client.call("add", {"a": 1, "b": 2}) == 3


def test_threads_share_a_client(client):
    """And each gets its own answers."""
    found = []

    def work(number):
        found.extend(client.call("add", {"a": number, "b": each}) == number + each for each in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True] * 160


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that ended had connections that nobody closed
def test_event_loops_share_an_async_client(door):
    """One after the other, and at once: each has connections of its own."""
    client = AsyncClient(door.address)

    async def once():
        return await client.acall("add", {"a": 1, "b": 2})

    assert [asyncio.run(once()), asyncio.run(once())] == [3, 3]
    found = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(once()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [3, 3, 3]
    asyncio.run(client.aclose())
    with pytest.raises(Unavailable, match="has been closed"):
        asyncio.run(once())


def test_a_closed_client_says_so_and_what_was_under_way_ends(host, door):
    """With `Unavailable`: nobody knows whether that ran."""
    begun = threading.Event()

    async def wait():
        begun.set()
        await asyncio.sleep(600)

    host.register("wait", wait)
    client = Client(door.address)
    caught = []

    def work():
        with pytest.raises(Unavailable) as gone:
            client.call("wait")
        caught.append(gone.value.ran)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(20)
    client.close()
    thread.join(60)
    assert caught == [None]
    client.close()
    with pytest.raises(Unavailable, match="has been closed: make another") as closed:
        client.call("add")
    assert closed.value.ran is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_client_is_not_used_after_a_fork(client):
    """Its connections are the other process's."""
    assert client.call("add", {"a": 1, "b": 2}) == 3
    child = os.fork()
    if child == 0:
        try:
            client.call("add", {"a": 1, "b": 2})
        except Unavailable as error:
            os._exit(0 if "forked" in str(error) and error.ran is False else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.call("add", {"a": 1, "b": 2}) == 3


# --- Later ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lasting(tmp_path, kind):
    """A door of a host whose store lasts."""
    file = tmp_path / "jackfield.toml"
    file.write_text('[store]\nurl = "sqlite:kept.db"\n')
    with Host.from_config(file, observers=()) as host:
        for name, target in FUNCTIONS.items():
            host.register(name, target)
        with open_door(host, kind) as door:
            yield door.address


@pytest.mark.slow
def test_a_submitted_call_is_kept_and_its_handle_tells_its_end(lasting):
    """The same handle whoever asks for it."""
    with Client(lasting) as client:
        handle = client.submit("decide", {"amount": 5, "months": 6}, key="loan-1", timeout=600.0)
        assert (handle.function, handle.key) == ("decide", "loan-1")
        assert handle.result(timeout=60.0) == {"granted": True, "loan": {"amount": 5, "months": 6}}
        assert handle.status == "succeeded"
        assert client.submit("decide", {"amount": 5, "months": 6}, key="loan-1").id == handle.id
        with pytest.raises(SubmissionConflict) as conflict:
            client.submit("decide", {"amount": 7, "months": 6}, key="loan-1")
        assert (conflict.value.key, conflict.value.id) == ("loan-1", handle.id)
        assert client.submitted(handle.id).result(20.0) == handle.result()
        assert asyncio.run(handle.aresult(20.0)) == handle.result()
        assert not handle.cancel()
        refused = client.submit("refuse")
        with pytest.raises(Rejected, match="must be positive"):
            refused.result(60.0)
        assert [row["id"] for row in client.submissions("ref*", status="failed")] == [refused.id]
        with pytest.raises(LookupError):
            client.submitted("0" * 32)


@pytest.mark.slow
def test_what_has_not_ended_goes_on_and_can_be_cancelled(lasting):
    """By an event loop."""

    async def work(client):
        handle = await client.asubmit("slow", 600.0)
        with pytest.raises(DeadlineExceeded, match="goes on"):
            await handle.aresult(0.1)
        assert not (await handle.status()).settled
        assert await handle.cancel()
        with pytest.raises(Cancelled):
            await handle.result(60.0)
        found = await client.submitted(handle.id)
        assert (await found.status(), await found.cancel()) == ("cancelled", False)
        assert [row["id"] for row in await client.submissions(status="cancelled")] == [handle.id]

    together(lasting, work)


def test_where_the_store_does_not_last_the_host_says_that_it_cannot(client):
    """And who can change that."""
    with pytest.raises(Unavailable, match="no store that lasts"):
        client.submit("add", {"a": 1, "b": 2})
