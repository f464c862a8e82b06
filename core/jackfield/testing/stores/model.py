"""A store as simple as can be, and the comparison of any store with it (hypothesis)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from jackfield.errors import LeaseEnded, StoreConflict
from jackfield.model.keys import within
from jackfield.ports import Lease, Store, Stored, StoreEvent

T = TypeVar("T")

_KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a/c", "ab", "ab/c"])
_PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "ab/", "c/"])
_VALUES = st.binary(max_size=4)
_EXPECTED = st.sampled_from(["anything", "what is there", "nothing", "something else"])
_SHARES = st.sampled_from([0.3, 0.5, 1.0])


async def take(events: AsyncIterator[StoreEvent], count: int) -> list[StoreEvent]:
    """Read some events of a watch.

    Args:
        events: the watch.
        count: how many.
    """
    return [await anext(events) for _ in range(count)]


def compare_with_a_model(
    opening: Callable[[], Coroutine[Any, Any, Store]],
    pass_time: Callable[[float], Coroutine[Any, Any, None]] | None,
    ttl: float,
    patience: float,
) -> None:
    """Do the same with a store and with a model of it, in many orders, and compare what they give.

    Args:
        opening: opens a new, empty store.
        pass_time: lets time pass at once; None if it cannot, then no lease ends by itself.
        ttl: seconds that leases live.
        patience: seconds that one verb may take.

    Raises:
        AssertionError: where they differ, with the shortest way there that was found.
    """
    factory: Any = lambda: _Comparison(opening, pass_time, ttl, patience)  # noqa: E731  # it is typed to take classes alone
    run_state_machine_as_test(
        factory,
        settings=settings(deadline=None, max_examples=60, stateful_step_count=30, report_multiple_bugs=False),
    )


@attrs.define(eq=False)
class _Held:
    lease: Lease
    ends: float
    keys: set[str] = attrs.field(factory=set)


class _Comparison(RuleBasedStateMachine):
    def __init__(
        self,
        opening: Callable[[], Coroutine[Any, Any, Store]],
        pass_time: Callable[[float], Coroutine[Any, Any, None]] | None,
        ttl: float,
        patience: float,
    ) -> None:
        super().__init__()
        self.patience = patience
        self.runner = asyncio.Runner()
        self.store: Store = self.do(opening())
        self.pass_time = pass_time
        self.ttl = ttl
        self.now = 0.0
        self.values: dict[str, Stored] = {}
        self.events: list[StoreEvent] = []
        self.live: list[_Held] = []
        self.over: list[_Held] = []
        self.watching: AsyncGenerator[StoreEvent, None] = self.store.watch(since=0)

    def do(self, verb: Awaitable[T]) -> T:
        async def body() -> T:
            async with asyncio.timeout(self.patience):
                return await verb

        return self.runner.run(body())

    @property
    def newest(self) -> int:
        return self.events[-1].revision if self.events else 0

    def wrote(self, key: str, revision: int, value: bytes | None) -> None:
        assert revision > self.newest
        self.events.append(StoreEvent(key, revision, value))
        for held in self.live:
            held.keys.discard(key)
        if value is None:
            del self.values[key]
        else:
            self.values[key] = Stored(value, revision)

    def expecting(self, key: str, what: str) -> tuple[int | None, bool]:
        """Give a revision to expect, and whether the key has it."""
        there = self.values[key].revision if key in self.values else 0
        expected = {"anything": None, "what is there": there, "nothing": 0, "something else": there + 1}[what]
        return expected, expected in {None, there}

    @rule(key=_KEYS, value=_VALUES, what=_EXPECTED, data=st.data())
    def put(self, key: str, value: bytes, what: str, data: st.DataObject) -> None:
        expected, right = self.expecting(key, what)
        held = data.draw(st.sampled_from([None, *self.live]))
        verb = self.store.put(key, value, expected=expected, lease=held.lease if held is not None else None)
        if right:
            self.wrote(key, self.do(verb), value)
            if held is not None:
                held.keys.add(key)
        else:
            with pytest.raises(StoreConflict):
                self.do(verb)

    @rule(key=_KEYS, what=_EXPECTED)
    def delete(self, key: str, what: str) -> None:
        expected, right = self.expecting(key, what)
        verb = self.store.delete(key, expected=expected)
        if not right:
            with pytest.raises(StoreConflict):
                self.do(verb)
        elif key in self.values:
            self.wrote(key, self.do(verb), None)
        else:
            assert self.do(verb) == 0

    @rule(key=_KEYS, prefix=_PREFIXES)
    def read(self, key: str, prefix: str) -> None:
        assert self.do(self.store.get(key)) == self.values.get(key)
        found = self.do(self.store.range(prefix))
        below = [(each, self.values[each]) for each in sorted(self.values) if within(each, prefix)]
        assert (list(found.entries.items()), found.revision) == (below, self.newest)

    @rule(prefix=_PREFIXES, data=st.data())
    def look_back(self, prefix: str, data: st.DataObject) -> None:
        since = data.draw(st.sampled_from([0, *(event.revision for event in self.events)]))
        wanted = [event for event in self.events if event.revision > since and within(event.key, prefix)]
        assert self.do(_first(self.store.watch(prefix, since=since), len(wanted))) == wanted

    @precondition(lambda self: len(self.live) < 3)  # noqa: PLR2004  # enough to move keys between
    @rule()
    def grant(self) -> None:
        self.live.append(_Held(self.do(self.store.lease(self.ttl)), self.now + self.ttl))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.live))
        self.do(held.lease.renew())
        held.ends = self.now + self.ttl

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.live))
        self.do(held.lease.release())
        self.ended([held])

    @precondition(lambda self: self.over)
    @rule(key=_KEYS, data=st.data())
    def use_one_that_is_over(self, key: str, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.over))
        with pytest.raises(LeaseEnded):
            self.do(self.store.put(key, b"", lease=held.lease))
        with pytest.raises(LeaseEnded):
            self.do(held.lease.renew())

    @precondition(lambda self: self.pass_time is not None)
    @rule(share=_SHARES)
    def wait(self, share: float) -> None:
        assert self.pass_time is not None
        self.do(self.pass_time(self.ttl * share))
        self.now += self.ttl * share
        self.ended([held for held in self.live if held.ends <= self.now])

    def ended(self, leases: list[_Held]) -> None:
        """Take over in which order the store has deleted the keys of leases that ended: that is its own business."""
        keys = {key for held in leases for key in held.keys}
        assert not keys & {*self.do(self.store.range()).entries}
        for event in self.do(_first(self.store.watch(since=self.newest), len(keys))):
            assert event.key in keys
            assert event.value is None
            self.wrote(event.key, event.revision, None)
        assert not keys & {*self.values}
        self.live = [held for held in self.live if held not in leases]
        self.over += leases

    def teardown(self) -> None:
        try:
            assert self.do(take(self.watching, len(self.events))) == self.events
            self.do(self.watching.aclose())
        finally:
            self.do(self.store.close())
            self.runner.close()


async def _first(watch: AsyncGenerator[StoreEvent, None], count: int) -> list[StoreEvent]:
    async with aclosing(watch) as events:
        return await take(events, count)
