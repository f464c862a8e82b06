"""How far a call has come: who hears of it, what, and how often."""

import asyncio
import contextvars
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Call, Caller, Flow, FunctionCrashed, Host, current_call, function, inject
from jackfield.model.progress import KEYS, TEXT, Latest, Progress, StepProgress, listening, progress_of
from jackfield.testing import no_leaks


def work(count: int) -> int:
    for number in range(count):
        current_call().progress(number + 1, count, f"item {number}")
    return count


async def awork(count: int) -> int:
    await asyncio.sleep(0)
    return work(count)


@function(executor="inline")
def inline(count: int) -> int:
    return work(count)


@function
def outer(count: int, caller: Caller = inject()) -> int:
    current_call().progress(0, None, "asks another")
    return caller.call("work", count)


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        for name, target in {"work": work, "awork": awork, "inline": inline, "outer": outer}.items():
            made.register(name, target)
        yield made


@pytest.fixture
def heard():
    """Listen to the calls of a test; what they say is in the list."""
    said = []
    token = listening.set(said.append)
    yield said
    listening.reset(token)


@pytest.mark.parametrize("name", ["work", "awork", "inline"])
@pytest.mark.parametrize("way", ["call", "acall"])
def test_whoever_listens_hears_a_call_wherever_it_runs(host, heard, name, way):
    """In a thread, on the loop, inline; called from a thread or from a loop."""
    result = host.call(name, 2) if way == "call" else asyncio.run(host.acall(name, 2))
    assert result == 2
    assert heard == [Progress(name, 1, 2, "item 0"), Progress(name, 2, 2, "item 1")]


def test_a_nested_call_is_heard_under_its_own_name(host, heard):
    """Whoever waits for the outer one waits for it."""
    host.call("outer", 1)
    assert heard == [Progress("outer", 0, None, "asks another"), Progress("work", 1, 1, "item 0")]


def test_nobody_hears_what_nobody_listens_to(host):
    """It does nothing."""
    assert [host.call(name, 3) for name in ("work", "awork", "inline", "outer")] == [3, 3, 3, 3]


def test_calls_at_the_same_time_are_heard_apart(host):
    """Each by its own listener."""

    async def listened(count):
        said = []
        listening.set(said.append)
        await host.acall("awork", count)
        return said

    async def both():
        return await asyncio.gather(*(asyncio.create_task(listened(count)) for count in (1, 2)))

    assert [{each.total for each in said} for said in asyncio.run(both())] == [{1}, {2}]


def test_a_thread_of_a_functions_own_reports_in_the_context_of_the_call(host, heard):
    """As `current_call()` is found there."""

    def spread() -> None:
        call, context = current_call(), contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(context.run, call.progress, 1, 2).result()
            pool.submit(call.progress, 2, 2).result()

    host.register("spread", spread)
    host.call("spread")
    assert heard[0] == Progress("spread", 1, 2)


def test_a_flow_tells_of_its_steps(host, heard):
    """As each begins and ends, and of those that are left out; and the functions of its steps report as ever."""

    def fail() -> int:
        raise LookupError

    host.register("fail", fail)
    flow = Flow("all", timeout=60.0)
    flow = flow.step("first", "work", count=1).step("second", "fail", after=["first"], on_error="continue")
    host.add_flow(flow.step("third", "work", count="$second"))
    host.call("all", {})
    steps = [(each.step, each.state) for each in heard if isinstance(each, StepProgress)]
    assert steps == [
        ("first", "running"), ("first", "ok"), ("second", "running"), ("second", "failed"), ("third", "left out"),
    ]  # fmt: skip
    assert Progress("work", 1, 1, "item 0") in heard


# --- What a report is -------------------------------------------------------------------------------------------------


class Half:
    def __float__(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((3, 10, "x"), (3, 10, "x")),
        ((0.5, 1.0), (0.5, 1.0, "")),
        ((7,), (7, None, "")),
        ((True, Half()), (1, 0.5, "")),
        ((2**100, None), (float(2**100), None, "")),
        ((1, 2, "x" * 2_000), (1, 2, "x" * (TEXT - 1) + "…")),
    ],
)
def test_a_report_is_numbers_and_a_text(heard, given, told):
    """Whatever numbers are made of."""
    Call("f").progress(*given)
    assert heard == [Progress("f", *told)]


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (("3", 10), TypeError),
        ((None,), TypeError),
        ((1, object()), TypeError),
        ((1, 2, b"x"), TypeError),
        ((math.nan,), ValueError),
        ((1, math.inf), ValueError),
        ((10**400,), ValueError),
    ],
)
def test_a_mistake_is_one_whether_or_not_somebody_listens(given, kind, listens):
    """A function that works in a test works behind a door."""
    token = listening.set((lambda _: None) if listens else None)
    try:
        with pytest.raises(kind, match="progress"):
            Call("f").progress(*given)
    finally:
        listening.reset(token)


def test_a_mistake_of_a_function_is_its_crash(host):
    """As any other."""

    def wrong() -> None:
        current_call().progress("half")  # type: ignore[arg-type]

    host.register("wrong", wrong)
    with pytest.raises(FunctionCrashed, match="`done` of a progress is a number, not str"):
        host.call("wrong")


@settings(deadline=None)
@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
def test_whatever_is_a_report_crosses_as_it_is(done, total, text):
    """To another process, and to a client."""
    try:
        said = progress_of("f", done, total, text)
    except ValueError:  # a whole number that no float has
        return
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=Progress) == said
    msgspec.json.decode(msgspec.json.encode({"done": said.done, "total": said.total}))


# --- The last that was said -------------------------------------------------------------------------------------------


def test_a_flood_wakes_once_and_keeps_the_last_of_each():
    """Until somebody has found nothing; and no more functions are told apart than is sensible."""
    woken = []
    latest = Latest(lambda: woken.append(None))
    for number in range(10_000):
        latest(Progress("a", number))
        latest(Progress("b", number))
    assert (len(woken), [each.done for each in latest.take()]) == (1, [9_999, 9_999])
    latest(Progress("a", 1))
    assert (len(woken), len(latest.take()), latest.take()) == (1, 1, ())
    for number in range(KEYS * 2):
        latest(Progress(f"f{number}", 1))
    assert (len(woken), len(latest.take())) == (2, KEYS)


def test_what_has_closed_hears_nothing():
    """What a task of a call says that outlives it goes nowhere."""
    latest = Latest(lambda: None)
    latest(Progress("a", 1))
    assert len(latest.close()) == 1
    latest(Progress("a", 2))
    assert latest.take() == ()


@pytest.mark.concurrency
def test_no_last_word_is_lost_between_threads():
    """Whoever says something while another takes is told of, or wakes."""
    news = threading.Event()
    latest = Latest(news.set)
    seen, over = {}, threading.Event()

    def say(name):
        for number in range(2_000):
            latest(Progress(name, number))

    def take():
        while True:
            ended = over.is_set()
            if news.wait(0.001):
                news.clear()
                while said := latest.take():
                    seen.update((each.function, each.done) for each in said)
            elif ended:
                return

    taker = threading.Thread(target=take)
    taker.start()
    sayers = [threading.Thread(target=say, args=(f"f{number}",)) for number in range(4)]
    for each in sayers:
        each.start()
    for each in sayers:
        each.join()
    over.set()
    taker.join()
    assert seen == {f"f{number}": 1_999 for number in range(4)}
