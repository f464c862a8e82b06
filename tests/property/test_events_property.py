"""Rules of the event bus that hold for any sequence of events."""

import copy
import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.errors import ResourceExhausted
from jackfield.events import EventBus, RouteChanged, Subscription

pytestmark = pytest.mark.concurrency

PATIENCE = 120.0  # seconds that only a broken bus uses up


@attrs.frozen
class Line:
    label: str
    amount: float | None


@attrs.define
class Order:
    number: int
    lines: list[Line]
    tags: dict[str, set[int]]
    at: dt.datetime
    raw: bytes
    loose: Any


class Note(msgspec.Struct, frozen=True):
    text: str
    parts: tuple[int, ...] = ()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
lines = st.builds(Line, st.text(), st.none() | st.floats(allow_nan=False))
orders = st.builds(
    Order,
    st.integers(),
    st.lists(lines, max_size=3),
    st.dictionaries(st.text(), st.sets(st.integers(), max_size=3), max_size=3),
    st.datetimes(),
    st.binary(),
    plain,
)
notes = st.builds(Note, st.text(), st.lists(st.integers(), max_size=3).map(tuple))


@contextmanager
def running() -> Iterator[EventBus]:
    bus = EventBus()
    try:
        yield bus
    finally:
        assert bus.close(PATIENCE) == ()


@given(st.lists(orders | notes, min_size=1, max_size=5))
def test_what_arrives_equals_what_was_published_at_that_moment(events):
    """What is published is copied through its type's contract: equal, and out of the publisher's reach."""
    with running() as bus:
        first: list[object] = []
        second: list[object] = []
        bus.subscribe(object, first.append)
        bus.subscribe(object, second.append)
        expected = copy.deepcopy(events)
        for event in events:
            bus.publish(event)
            if isinstance(event, Order):
                event.lines.clear()
                event.tags["spoiled"] = set()
                if isinstance(event.loose, list):
                    event.loose.append("spoiled")
        assert bus.drain(PATIENCE) == ()
        assert first == second == expected
        for event, mine, yours in zip(events, first, second, strict=True):
            assert event is not mine
            if isinstance(event, Order):
                assert mine is not yours
                assert mine.tags is not yours.tags


@given(
    limit=st.integers(1, 5),
    when_full=st.sampled_from(["block", "drop_oldest", "fail"]),
    count=st.integers(0, 12),
)
def test_a_full_queue_does_what_its_policy_says(limit, when_full, count):
    """A bounded queue with a stated policy when full; every event is either handled or counted as dropped."""
    with running() as bus:
        entered = threading.Event()
        opened = threading.Event()
        seen: list[int] = []

        def handle(event: RouteChanged | Note) -> None:
            entered.set()
            assert opened.wait(PATIENCE)
            if isinstance(event, Note):
                seen.append(int(event.text))

        subscription = bus.subscribe(object, handle, queue=limit, when_full=when_full, timeout=0.0)
        bus.announce([RouteChanged("f", "1", 1)])
        assert entered.wait(PATIENCE)
        refused = 0
        for number in range(count):
            try:
                bus.publish(Note(str(number)))
            except ResourceExhausted:
                refused += 1
        opened.set()
        assert bus.drain(PATIENCE) == ()

        kept = list(range(count))[-limit:] if when_full == "drop_oldest" else list(range(count))[:limit]
        assert seen == kept
        assert subscription.dropped == count - len(kept)
        assert subscription.delivered == 1 + len(kept)
        assert refused == (max(count - limit, 0) if when_full == "fail" else 0)


class Scene:
    """A registry's write lock and revision, and subscribers that note the revisions they see."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.write = threading.Lock()
        self.revision = 0

    def subscribe(self) -> tuple[Subscription, int, list[int]]:
        seen: list[int] = []

        def handle(event: RouteChanged) -> None:
            seen.append(event.revision)
            if event.name == "raise":
                raise ValueError(event.name)

        with self.write:
            return self.bus.subscribe(RouteChanged, handle), self.revision, seen

    def announce(self, name: str, size: int) -> None:
        with self.write:
            events = [RouteChanged(name, "1", self.revision + 1 + number) for number in range(size)]
            self.revision += size
            announcement = self.bus.announce(events)
        assert announcement.wait(PATIENCE) == ()

    def play(self, script: list[tuple[str, int]]) -> list[tuple[Subscription, int, list[int]]]:
        own = [self.subscribe()]
        for verb, number in script:
            match verb:
                case "subscribe":
                    own.append(self.subscribe())
                case "cancel" if own:
                    own.pop()[0].cancel()
                case "publish":
                    self.bus.publish(Note("x"))
                case _:
                    self.announce(verb, number)
        return own


verbs = st.sampled_from(["announce", "raise", "publish", "subscribe", "cancel"])


@settings(max_examples=40)
@given(scripts=st.lists(st.lists(st.tuples(verbs, st.integers(0, 4)), max_size=25), min_size=1, max_size=4))
def test_revisions_arrive_in_order_and_nothing_is_lost_or_doubled(scripts):
    """Each subscriber sees all revisions since it subscribed, in order, while threads announce, come and go."""
    with running() as bus, ThreadPoolExecutor(len(scripts)) as threads:
        scene = Scene(bus)
        kept = [entry for entries in threads.map(scene.play, scripts) for entry in entries]
        assert bus.drain(PATIENCE) == ()
        for _, since, seen in kept:
            assert seen == list(range(since + 1, scene.revision + 1))
