"""Any graph of steps runs in an order that it allows, each step once, and gives what a plain loop would."""

import asyncio
import threading
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Flow, FunctionCrashed, Host
from jackfield.flow import NOTHING, current_journal

PLACES = ("sync", "loop", "inline")


@st.composite
def graphs(draw, *, failing=False):
    """Give steps: name → (place, those that it refers to, those that it comes after, what becomes of it)."""
    size = draw(st.integers(1, 8))
    order = draw(st.permutations([f"s{number}" for number in range(size)]))
    steps = {}
    for place, name in enumerate(order):
        before = st.lists(st.sampled_from(order[:place]), max_size=3, unique=True) if place else st.just([])
        fate = st.sampled_from(["ok", "ok", "fail", "continue"]) if failing else st.just("ok")
        steps[name] = (draw(st.sampled_from(PLACES)), draw(before), draw(before), draw(fate))
    return dict(draw(st.permutations(list(steps.items())))), order


def flow_of(steps):
    flow = Flow("f", output={name: f"${name}" for name in steps})
    for name, (place, refers, after, fate) in steps.items():
        on_error = "continue" if fate == "continue" else "fail"
        values = {"name": name, "of": [f"${each}" for each in refers], "fails": fate != "ok"}
        flow = flow.step(name, place, with_=values, after=after, on_error=on_error)
    return flow


class Seen:
    """What the steps did."""

    def __init__(self):
        self.begun, self.ended, self.lock = [], [], threading.Lock()

    def hosted(self, host):
        def sync(name: str, of: list, fails: bool):
            return self.work(name, of, fails)

        async def loop(name: str, of: list, fails: bool):
            await asyncio.sleep(0)
            return self.work(name, of, fails)

        async def inline(name: str, of: list, fails: bool):
            return self.work(name, of, fails)

        for target in (sync, loop, inline):
            host.register(target.__name__, target)
        return host

    def work(self, name, of, fails):
        with self.lock:
            self.begun.append((name, tuple(self.ended)))
        if fails:
            raise ValueError(name)
        result = {"of": of, "size": 1 + sum(each["size"] for each in of)}
        with self.lock:
            self.ended.append(name)
        return result


def needs(steps, name):
    return {*steps[name][1], *steps[name][2]}


def expected(steps, order):
    """Do it one after another; give the results, and what is lost with what failed."""
    results, lost = {}, set()
    for name in order:
        if steps[name][3] != "ok" or needs(steps, name) & lost:
            lost.add(name)
        else:
            of = [results[each] for each in steps[name][1]]
            results[name] = {"of": of, "size": 1 + sum(each["size"] for each in of)}
    return results, lost


@pytest.mark.slow
@given(graphs())
@settings(max_examples=60)
def test_each_step_runs_once_after_what_it_needs_and_the_result_is_a_plain_loop_s(graph):
    """Whatever the places, and in whatever order the steps are written."""
    steps, order = graph
    seen = Seen()
    with seen.hosted(Host(observers=())) as host:
        host.add_flow(flow_of(steps))
        result = host.call("f", timeout=60.0)
    assert Counter(name for name, _ in seen.begun) == Counter(list(steps))
    assert all(needs(steps, name) <= set(ended) for name, ended in seen.begun)
    assert result == expected(steps, order)[0]


@pytest.mark.slow
@given(graphs(failing=True))
@settings(max_examples=80)
def test_nothing_runs_after_what_it_needs_has_failed(graph):
    """A step that says so fails alone, with all that needs it; any other is the flow's failure."""
    steps, order = graph
    seen = Seen()
    results, lost = expected(steps, order)
    with seen.hosted(Host(observers=())) as host:
        host.add_flow(flow_of(steps))
        try:
            result, culprit = host.call("f", timeout=60.0), None
        except FunctionCrashed as crash:
            result, culprit = None, crash.__cause__.step
    begun = Counter(name for name, _ in seen.begun)
    assert set(begun.values()) <= {1}
    assert all(needs(steps, name) <= set(ended) for name, ended in seen.begun)
    fatal = [name for name in steps if steps[name][3] == "fail" and not needs(steps, name) & lost]
    assert (result is None) == bool(fatal)
    assert culprit in (fatal or [None])
    if result is not None:
        assert result == {name: results.get(name) for name in steps}
        assert set(begun) == {name for name in steps if not needs(steps, name) & lost}


class Memory:
    """A journal that is not lost when the run is, as far as a step has ended; it ends a run when it is told to."""

    def __init__(self):
        self.results, self.calls, self.left = {}, Counter(), None

    async def recorded(self, step):
        return self.results.get(step, NOTHING)

    async def begin(self, step, function, *, idempotent):
        del function, idempotent
        assert step not in self.results
        if self.left is not None:
            if self.left == 0:
                raise asyncio.CancelledError
            self.left -= 1

    async def record(self, step, result):
        self.results[step] = result
        self.calls[step] += 1

    async def failed(self, step, error):
        del step, error


@given(graphs(), st.lists(st.integers(0, 4), max_size=4))
@settings(max_examples=40)
def test_no_recorded_step_is_done_again(graph, ends):
    """However often a run ends after so many steps: each step is recorded once, and the result is the same."""
    steps, order = graph
    seen, kept = Seen(), Memory()

    async def run(left):
        kept.left = left
        token = current_journal.set(kept)
        try:
            return await host.acall("f", timeout=60.0)
        finally:
            current_journal.reset(token)

    with seen.hosted(Host(observers=())) as host:
        host.add_flow(flow_of(steps))
        for left in ends:
            before = dict(kept.results)
            begun = len(seen.begun)
            with suppress(BaseException):  # whichever way the run ends
                asyncio.run(run(left))
            assert not {name for name, _ in seen.begun[begun:]} & set(before)
        result = asyncio.run(run(None))
    assert result == expected(steps, order)[0]
    assert kept.calls == Counter(list(steps))


@given(graphs(), st.integers(0, 12), st.integers(0, 3))
@settings(max_examples=60)
def test_a_cancel_at_any_moment_leaves_nothing_behind(graph, turns, lasts):
    """Whoever cancels gets control back when every step that began has ended; none begins afterwards."""
    steps, _ = graph
    inside, begun, ended = set(), [], []

    async def work(name: str, of: list, fails: bool) -> dict:
        begun.append(name)
        inside.add(name)
        try:
            for _ in range(2):
                await asyncio.sleep(0)
        finally:
            try:  # which may be where it is cancelled
                for _ in range(lasts):
                    await asyncio.sleep(0)
            finally:
                inside.remove(name)
                ended.append(name)
        return {"of": of, "size": 1 + sum(each["size"] for each in of)}

    async def scenario():
        async with Host(observers=()) as host:
            for place in PLACES:
                host.register(place, work)
            host.add_flow(flow_of(steps))
            task = asyncio.create_task(host.acall("f"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            seen = list(begun)
            assert not inside
            for _ in range(5):
                await asyncio.sleep(0)
            assert begun == seen
            assert sorted(begun) == sorted(ended)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
