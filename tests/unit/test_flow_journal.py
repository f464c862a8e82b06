"""What a run with a journal does, and what it does not do again."""

import asyncio
from collections.abc import Callable

import pytest

from jackfield import Flow, FunctionCrashed, Host, StepFailed, Unavailable, function
from jackfield.flow import NOTHING, Journal, current_journal

PATIENCE = 20.0


class Kept:
    """A journal in memory, that writes down what it is told."""

    def __init__(self, **results):
        self.results, self.told = results, []
        self.refuses: Callable[[str], bool] = lambda _: False
        self.slow = None

    async def recorded(self, step, /):
        return self.results.get(step, NOTHING)

    async def begin(self, step, function, /, *, idempotent):
        if self.refuses(step):
            raise Unavailable("the run", f"whether {step} has ended is not known", ran=True)
        self.told.append(("begin", step, function, idempotent))

    async def record(self, step, result, /):
        if self.slow is not None:
            await self.slow()
        self.results[step] = result
        self.told.append(("record", step, result))

    async def failed(self, step, error, /):
        self.told.append(("failed", step, type(error).__name__))


@pytest.fixture
def host():
    """With functions that count their calls."""
    with Host(observers=()) as made:
        made.done = []

        def add(number: int) -> int:
            made.done.append(number)
            return number + 1

        @function(idempotent=True)
        def again(number: int) -> int:
            made.done.append(number)
            return number * 10

        def fails(number: int) -> int:
            raise ValueError(number)

        for target in (add, again, fails):
            made.register(target.__name__, target)
        yield made


def run(host, kept, name="f", given=None):
    async def scenario():
        token = current_journal.set(kept)
        try:
            return await host.acall(name, given, timeout=PATIENCE)
        finally:
            current_journal.reset(token)

    return asyncio.run(scenario())


FLOW = Flow("f").step("a", "add", number=1).step("b", "again", number="$a")


def test_a_step_is_told_of_before_and_after(host):
    """With what it calls, and whether that may be called again."""
    kept: Journal = Kept()
    host.add_flow(FLOW)
    assert run(host, kept) == 20
    assert kept.told == [
        ("begin", "a", "add", False),
        ("record", "a", 2),
        ("begin", "b", "again", True),
        ("record", "b", 20),
    ]


def test_what_is_recorded_is_not_done_again(host):
    """None is a result as well."""
    host.register("same", lambda value: value)
    host.add_flow(FLOW.step("c", "same", value="$b"))
    assert run(host, Kept(a=5)) == 50
    assert host.done == [5]
    assert run(host, Kept(a=5, b=None)) is None
    assert host.done == [5]
    assert run(host, Kept(a=5, b=7, c=9)) == 9


def test_each_item_is_a_step_of_its_own(host):
    """Those that were done are not done again."""
    kept = Kept(**{"a[1]": 100})
    host.add_flow(Flow("f").step("a", "add", number="$item", each="$input"))
    assert run(host, kept, given=[1, 2, 3]) == [2, 100, 4]
    assert sorted(host.done) == [1, 3]
    assert set(kept.results) == {"a[0]", "a[1]", "a[2]"}


def test_a_failure_is_told_of(host):
    """Its end is known; what comes after it has not begun."""
    kept = Kept()
    host.add_flow(Flow("f").step("a", "fails", number=1).step("b", "add", number="$a"))
    with pytest.raises(FunctionCrashed, match="step 'a'"):
        run(host, kept)
    assert kept.told == [("begin", "a", "fails", False), ("failed", "a", "FunctionCrashed")]


@pytest.mark.parametrize("on_error", ["fail", "continue"])
@pytest.mark.parametrize("each", [None, "$input"])
def test_a_journal_ends_the_run_whatever_the_step_says(host, on_error, each):
    """Its own error is the cause; nothing is called."""
    kept = Kept()
    kept.refuses = lambda step: step.startswith("b")
    flow = Flow("f").step("a", "add", number=1)
    host.add_flow(flow.step("b", "again", number="$a", each=each, on_error=on_error).step("c", "add", number=9))
    with pytest.raises(FunctionCrashed) as caught:
        run(host, kept, given=[1])
    assert isinstance(caught.value.__cause__, Unavailable)
    assert caught.value.__cause__.__cause__ is None
    assert 10 not in host.done
    assert not {"b", "b[0]"} & set(kept.results)


def test_a_result_is_recorded_though_the_flow_is_cancelled_meanwhile(host):
    """What has been done is to be known."""
    kept, begun = Kept(), asyncio.Event()

    async def slow():
        loop.call_soon_threadsafe(begun.set)
        await asyncio.sleep(0.05)

    kept.slow = slow
    host.add_flow(FLOW)

    async def scenario():
        nonlocal loop
        loop = asyncio.get_running_loop()
        current_journal.set(kept)
        task = asyncio.create_task(host.acall("f", timeout=PATIENCE))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(400):
            if kept.results:
                break
            await asyncio.sleep(0.05)

    loop = None
    asyncio.run(scenario())
    assert kept.results == {"a": 2}
    assert host.done == [1]


def test_a_journal_is_of_one_call_and_not_of_those_below_it(host):
    """A flow within a flow is one step; one within a function is none of it."""
    kept = Kept()
    host.add_flow(FLOW)
    host.register("calls", lambda: host.call("f"))
    host.add_flow(Flow("outer").step("x", "f"))
    assert run(host, kept, "outer") == 20
    assert [entry[1] for entry in kept.told] == ["x", "x"]
    assert run(host, Kept(a=5), "calls") == 20
    assert asyncio.run(host.acall("f")) == 20


def test_a_result_without_a_plain_form_cannot_be_recorded(host):
    """Though nobody in the flow wants it."""
    host.register("odd", lambda: object())  # noqa: PLW0108  # one without a type
    host.add_flow(Flow("f", output=1).step("a", "odd"))
    kept = Kept()
    with pytest.raises(FunctionCrashed) as caught:
        run(host, kept)
    assert isinstance(caught.value.__cause__, StepFailed)
    assert kept.told[-1] == ("failed", "a", "Unbound")
