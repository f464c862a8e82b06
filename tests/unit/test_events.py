"""The event bus through its public API: who gets which value, what happens when a queue is full, what is let go of."""

import asyncio
import dataclasses
import datetime as dt
import threading
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest
from loguru import logger
from tests.support.collected import alive

from jackfield.errors import Fault, PayloadError, PermissionDenied, ResourceExhausted, Unavailable
from jackfield.events import (
    HOST_EVENTS,
    EventBus,
    PluginFailed,
    PluginStarted,
    PluginStateChanged,
    RouteChanged,
)

PATIENCE = 30.0  # seconds that only a broken bus uses up


@attrs.frozen
class Ordered:
    number: int


@attrs.define
class Basket:
    items: list[str]


@pytest.fixture
def bus() -> Iterator[EventBus]:
    bus = EventBus()
    yield bus
    assert bus.close(PATIENCE) == ()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level="DEBUG")
    yield records
    logger.remove(sink)


class Gate:
    """A handler that stands still until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.seen: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        self.seen.append(event)


def test_a_subscriber_gets_every_event_of_its_type_in_order(bus):
    """Events of one publisher reach each subscriber in order, and nothing else reaches it."""
    seen: list[Ordered] = []
    bus.subscribe(Ordered, seen.append)

    assert [bus.publish(Ordered(n)) for n in range(100)] == [1] * 100
    assert bus.publish(Basket([])) == 0
    assert bus.drain(PATIENCE) == ()

    assert seen == [Ordered(n) for n in range(100)]


def test_subscribing_to_a_base_gets_the_subclasses_too(bus):
    """A handler is called for every event of a type, subclasses included, each subscription once."""

    @attrs.frozen
    class Express(Ordered):
        courier: str = "bike"

    base: list[object] = []
    everything: list[object] = []
    exact: list[object] = []
    bus.subscribe(Ordered, base.append)
    bus.subscribe(object, everything.append)
    bus.subscribe(Express, exact.append)

    assert bus.publish(Express(1)) == 3
    assert bus.publish(Ordered(2)) == 2
    assert bus.drain(PATIENCE) == ()

    assert base == everything == [Express(1), Ordered(2)]
    assert exact == [Express(1)]


def test_the_publishers_later_mutation_is_unseen(bus):
    """A published event is a value: what its publisher does to it afterwards changes nothing."""
    gate = Gate()
    bus.subscribe(Basket, gate)
    basket = Basket(["bread"])

    bus.publish(basket)
    assert gate.entered.wait(PATIENCE)
    basket.items.append("wine")
    bus.publish(basket)
    basket.items.clear()
    gate.opened.set()
    assert bus.drain(PATIENCE) == ()

    assert gate.seen == [Basket(["bread"]), Basket(["bread", "wine"])]


def test_each_subscriber_gets_a_mutable_event_of_its_own(bus):
    """What one subscriber does to an event, however deep, no other one sees."""

    @attrs.frozen
    class Report:
        loose: Any
        rows: list[dict[str, list[int]]]

    def spoil(event: Report) -> None:
        event.loose["a"].append(9)
        event.rows[0]["x"].append(9)
        spoiled.append(event)

    spoiled: list[Report] = []
    bus.subscribe(Report, spoil)
    bus.subscribe(Report, spoil)
    original = Report({"a": [1]}, [{"x": [1]}])

    bus.publish(original)
    assert bus.drain(PATIENCE) == ()

    assert original == Report({"a": [1]}, [{"x": [1]}])
    assert spoiled == [Report({"a": [1, 9]}, [{"x": [1, 9]}])] * 2


def test_an_immutable_event_is_copied_once_and_shared(bus):
    """Where the type is immutable through and through, one copy serves all subscribers, not the publisher's own."""

    class Point(NamedTuple):
        x: float

    @attrs.frozen
    class Deep:
        at: dt.datetime
        points: tuple[Point, ...]
        inner: Ordered | None

    class Flat(msgspec.Struct, frozen=True):
        raw: bytes

    @dataclasses.dataclass(frozen=True)
    class Record:
        tags: frozenset[str]

    events = [Deep(dt.datetime.now(dt.UTC), (Point(1.0),), Ordered(3)), Flat(b"x"), Record(frozenset({"a"}))]
    for event in events:
        first: list[object] = []
        second: list[object] = []
        with bus.subscribe(type(event), first.append), bus.subscribe(type(event), second.append):
            bus.publish(event)
            assert bus.drain(PATIENCE) == ()
        assert first == [event]
        assert first[0] is second[0]
        assert first[0] is not event


def test_a_frozen_type_with_a_mutable_part_is_not_shared(bus):
    """Frozen on the surface is not enough: the types below count."""

    @dataclasses.dataclass(frozen=True)
    class Holder:
        basket: Basket

    seen: list[Holder] = []
    bus.subscribe(Holder, seen.append)
    bus.subscribe(Holder, seen.append)
    bus.publish(Holder(Basket([])))
    assert bus.drain(PATIENCE) == ()
    assert seen == [Holder(Basket([]))] * 2
    assert seen[0].basket is not seen[1].basket


def _local_class(annotation: Any, value: Any) -> object:
    fields = {"good": attrs.field(type=int), "bad": attrs.field(type=annotation)}
    return attrs.make_class("Odd", fields)(good=1, bad=value)


class Shade(Enum):
    LIGHT = (1, 2)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (_local_class(Callable[[], int], print), "$.bad"),
        (_local_class(EventBus, None), "$.bad"),
        (_local_class(dict[str, tuple[EventBus, int]], {}), "$.bad[...][0]"),
        (_local_class(list[EventBus | None], []), "$.bad[...]"),
        (_local_class(Ordered | Basket, Ordered(1)), "$.bad"),
        (_local_class(Shade, Shade.LIGHT), "$.bad"),
        (_local_class(int, "three"), "$.bad"),
        (_local_class(list[int], [1, "two"]), "$.bad[1]"),
        (_local_class(Any, threading.Lock()), "$.bad"),
        (_local_class(str, Text("x")), "$.bad"),
        (attrs.make_class("Private", {"_hidden": attrs.field(type=int, default=1)})(2), "$._hidden"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_copied_is_refused_with_the_fields_name(bus, event, path):
    """Plugins exchange values, never objects: the error names the field, nobody gets anything, listener or not."""
    seen: list[object] = []
    with pytest.raises(PayloadError) as alone:
        bus.publish(event)
    bus.subscribe(type(event), seen.append)
    with pytest.raises(PayloadError) as heard:
        bus.publish(event)

    assert alone.value.path == heard.value.path == path
    assert heard.value.function == f"event {type(event).__qualname__}"
    assert bus.drain(PATIENCE) == ()
    assert seen == []


class Undecorated(Ordered):
    extra: int


@pytest.mark.parametrize("thing", [{"a": 1}, "text", 3, Shade.LIGHT, None, (1, 2), Undecorated(1)], ids=repr)
def test_only_typed_records_are_published(bus, thing):
    """User events are attrs, dataclass or msgspec.Struct values."""
    with pytest.raises(PayloadError, match=r"attrs, dataclass or msgspec\.Struct"):
        bus.publish(thing)


def test_a_value_that_contains_itself_is_refused(bus):
    """A cycle is not a value."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="contains itself"):
        bus.publish(_local_class(Any, loop))


def test_an_annotation_that_cannot_be_evaluated_is_refused(bus):
    """The error says which name is unknown."""
    event = attrs.make_class("Vague", {"x": attrs.field(type="Nowhere", default=1)})()  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="Nowhere"):
        bus.publish(event)


def test_the_message_never_has_the_value(bus):
    """A field may hold a secret, and a validator's message may quote it."""

    def check(instance: object, attribute: object, value: str) -> None:
        if bus.stats():
            raise ValueError(f"bad: {value}")

    @attrs.frozen
    class Login:
        password: str = attrs.field(validator=check)

    login = Login("hunter2")
    bus.subscribe(Login, print)
    with pytest.raises(PayloadError) as caught:
        bus.publish(login)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", HOST_EVENTS, ids=lambda kind: kind.__name__)
def test_nobody_but_the_host_announces(bus, kind):
    """A plugin cannot pretend that a function or a plugin changed."""
    forged = object.__new__(kind)
    with pytest.raises(PermissionDenied, match=kind.__name__):
        bus.publish(forged)


def test_announced_events_are_shared_as_they_are_and_awaited(bus):
    """The host's own events reach their subscribers before `wait` returns."""
    seen: list[object] = []
    bus.subscribe(object, seen.append)
    events = [
        PluginStateChanged("p", "starting", "running"),
        PluginStarted("p", "1.0"),
        PluginFailed("q", Fault("start", "q", "q", "no database")),
        RouteChanged("f", "1.0", 7),
    ]
    assert bus.announce(events).wait(PATIENCE) == ()
    assert all(got is sent for got, sent in zip(seen, events, strict=True))


def test_an_announcement_that_nobody_hears_needs_no_thread():
    """No thread at all before the first event for a subscriber."""
    bus = EventBus()
    bus.subscribe(Ordered, print)
    assert bus.announce([PluginStarted("p", "1")]).wait() == ()
    assert bus.announce([]).wait() == ()
    assert bus._crew.threads == 0
    assert bus.close() == ()


def test_drop_oldest_keeps_the_newest_and_counts_the_rest(bus):
    """Under `drop_oldest` the publisher never waits, and each lost event is counted."""
    gate = Gate()
    subscription = bus.subscribe(Ordered, gate, queue=3, when_full="drop_oldest")
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)

    assert [bus.publish(Ordered(n)) for n in range(1, 11)] == [1] * 10
    assert (subscription.pending, subscription.dropped) == (3, 7)
    gate.opened.set()
    assert bus.drain(PATIENCE) == ()

    assert [event.number for event in gate.seen] == [0, 8, 9, 10]
    assert (subscription.delivered, subscription.pending) == (4, 0)


def test_dropping_never_takes_an_announced_event(bus):
    """Announced events are neither bounded nor dropped: nobody falls out of step for good."""
    gate = Gate()
    subscription = bus.subscribe(object, gate, queue=1, when_full="drop_oldest")
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)
    for n in (1, 2, 3):
        bus.announce([RouteChanged("f", "1", n)])
        bus.publish(Ordered(n))
    gate.opened.set()
    assert bus.drain(PATIENCE) == ()

    assert [event.revision for event in gate.seen if isinstance(event, RouteChanged)] == [1, 2, 3]
    assert [event.number for event in gate.seen if isinstance(event, Ordered)] == [0, 3]
    assert subscription.dropped == 2


def test_fail_tells_the_publisher_and_serves_the_others(bus):
    """Under `fail` the publisher gets ResourceExhausted that names the subscriber; everybody else got the event."""
    gate = Gate()
    others: list[Ordered] = []
    subscription = bus.subscribe(Ordered, gate, queue=1, when_full="fail", plugin="slow")
    bus.subscribe(Ordered, others.append)
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)
    bus.publish(Ordered(1))

    with pytest.raises(ResourceExhausted, match=r"slow.*1 events"):
        bus.publish(Ordered(2))
    gate.opened.set()
    assert bus.drain(PATIENCE) == ()

    assert [event.number for event in others] == [0, 1, 2]
    assert [event.number for event in gate.seen] == [0, 1]
    assert subscription.dropped == 1


def test_block_waits_for_room(bus):
    """Under `block` a publisher waits while the queue is full, and loses nothing when room comes in time."""
    gate = Gate()
    subscription = bus.subscribe(Ordered, gate, queue=1, timeout=PATIENCE)
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)
    bus.publish(Ordered(1))
    blocked = threading.Thread(target=bus.publish, args=(Ordered(2),))
    blocked.start()
    gate.opened.set()
    blocked.join(PATIENCE)
    assert bus.drain(PATIENCE) == ()

    assert [event.number for event in gate.seen] == [0, 1, 2]
    assert subscription.stats().dropped == 0


def test_block_gives_up_marks_the_laggard_and_waits_again_when_it_has_caught_up(bus, logged):
    """After its deadline the event is dropped for that subscriber alone, counted and logged; the next does not wait."""
    gate = Gate()
    others: list[Ordered] = []
    slow = bus.subscribe(Ordered, gate, queue=1, timeout=0.01, plugin="slow")
    bus.subscribe(Ordered, others.append)
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)

    assert [bus.publish(Ordered(n)) for n in (1, 2, 3)] == [2, 1, 1]
    assert slow.stats().lagging
    assert slow.dropped == 2
    warnings = [record for record in logged if record["level"].name == "WARNING"]
    assert [record["extra"]["plugin"] for record in warnings] == ["slow"]

    gate.opened.set()
    assert bus.drain(PATIENCE) == ()
    assert not slow.lagging
    assert bus.publish(Ordered(4)) == 2
    assert bus.drain(PATIENCE) == ()
    assert [event.number for event in others] == [0, 1, 2, 3, 4]
    assert [event.number for event in gate.seen] == [0, 1, 4]


def test_publishing_in_an_event_loop_never_blocks_it(bus):
    """In a coroutine `publish` drops what it would have to wait for; `apublish` waits without holding the loop up."""
    gate = Gate()
    subscription = bus.subscribe(Ordered, gate, queue=1, timeout=PATIENCE)

    async def main() -> tuple[int, int]:
        bus.publish(Ordered(0))
        assert gate.entered.wait(PATIENCE)
        bus.publish(Ordered(1))
        at_once = bus.publish(Ordered(2))
        waiting = asyncio.create_task(bus.apublish(Ordered(3)))
        await asyncio.sleep(0)
        gate.opened.set()  # the loop is free to do this
        return at_once, await waiting

    assert asyncio.run(main()) == (0, 1)
    assert bus.drain(PATIENCE) == ()
    assert [event.number for event in gate.seen] == [0, 1, 3]
    assert subscription.dropped == 1


def test_a_raising_handler_is_logged_with_its_plugin_and_harms_nobody(bus, logged):
    """A subscriber that raises gets its next event all the same, and so does everybody else."""

    def broken(event: Ordered) -> None:
        raise (SystemExit if event.number else ValueError)(f"no {event.number}")

    seen: list[Ordered] = []
    raising = bus.subscribe(Ordered, broken, plugin="broken-one")
    bus.subscribe(Ordered, seen.append)
    bus.publish(Ordered(0))
    bus.publish(Ordered(1))
    bus.publish(Ordered(0))
    assert bus.drain(PATIENCE) == ()

    assert len(seen) == 3
    assert (raising.failed, raising.delivered) == (3, 0)
    assert [record["extra"]["plugin"] for record in logged] == ["broken-one"] * 3
    assert [record["extra"]["error_type"] for record in logged] == ["ValueError", "SystemExit", "ValueError"]
    assert "test_events" in logged[0]["message"]


def test_stats_name_the_subscription(bus):
    """Whoever makes metrics of them finds plugin, event and handler in the counts."""
    subscription = bus.subscribe(Ordered, [].append, plugin="billing")
    bus.publish(Ordered(1))
    assert bus.drain(PATIENCE) == ()
    stats = subscription.stats()
    assert bus.stats() == (stats,)
    assert (stats.plugin, stats.event, stats.handler) == ("billing", "Ordered", "list.append")
    assert (stats.delivered, stats.failed, stats.dropped, stats.pending) == (1, 0, 0, 0)
    assert not stats.running
    assert not stats.lagging


def test_cancelling_ends_the_subscription_and_drops_what_waits(bus):
    """After `cancel` nothing more is handled; cancelling again does nothing; whoever waited goes on."""
    gate = Gate()
    subscription = bus.subscribe(object, gate)
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)
    bus.publish(Ordered(1))
    announcement = bus.announce([RouteChanged("f", "1", 1)])

    subscription.cancel()
    subscription.cancel()
    assert announcement.wait(PATIENCE) == ()
    assert bus.publish(Ordered(2)) == 0
    assert bus.stats() == ()
    gate.opened.set()
    assert bus.close(PATIENCE) == ()
    assert gate.seen == [Ordered(0)]


def test_cancelling_frees_a_blocked_publisher(bus):
    """A publisher that waits for room is not left waiting for a subscription that has ended."""
    gate = Gate()
    subscription = bus.subscribe(Ordered, gate, queue=1, timeout=PATIENCE)
    bus.publish(Ordered(0))
    assert gate.entered.wait(PATIENCE)
    bus.publish(Ordered(1))
    counts: list[int] = []
    blocked = threading.Thread(target=lambda: counts.append(bus.publish(Ordered(2))))
    blocked.start()
    subscription.cancel()
    blocked.join(PATIENCE)
    gate.opened.set()
    assert counts == [0]


def test_cancel_all_takes_one_plugins_subscriptions(bus):
    """Unloading a plugin ends its subscriptions and leaves the others; the last counts are handed back."""
    mine: list[object] = []
    theirs: list[object] = []
    bus.subscribe(Ordered, mine.append, plugin="a")
    bus.subscribe(Basket, mine.append, plugin="a")
    bus.subscribe(Ordered, theirs.append, plugin="b")
    bus.publish(Ordered(1))
    assert bus.drain(PATIENCE) == ()

    released = bus.cancel_all(plugin="a")
    assert [(stats.event, stats.delivered) for stats in released] == [("Ordered", 1), ("Basket", 0)]
    assert bus.publish(Ordered(2)) == 1
    assert bus.cancel_all(plugin="a") == ()


class Listener:
    def hear(self, event: object) -> None:
        pass


@pytest.mark.parametrize("how", ["cancel", "cancel_all", "block", "close"])
def test_a_cancelled_subscription_lets_go_of_handler_events_and_type(how):
    """Nothing of the subscriber is left: not its handler, not its queue, not the event type, in no idle thread."""
    kind = attrs.make_class("Passing", {"payload": attrs.field(type=str)}, frozen=True)
    listener = Listener()
    bus = EventBus()
    subscription = bus.subscribe(kind, listener.hear, plugin="a")
    announced = Listener()
    bus.subscribe(Listener, listener.hear, plugin="a")
    bus.publish(kind("x"))
    bus.announce([announced])
    assert bus.drain(PATIENCE) == ()
    probes = [weakref.ref(kind), weakref.ref(listener), weakref.ref(announced)]

    match how:
        case "cancel":
            subscription.cancel()
            bus.cancel_all(plugin="a")
        case "cancel_all":
            bus.cancel_all(plugin="a")
        case "block":
            with subscription:
                pass
            bus.cancel_all(plugin="a")
        case "close":
            assert bus.close(PATIENCE) == ()
    del kind, listener, announced, subscription

    assert alive(*probes) == []
    assert bus.close(PATIENCE) == ()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"event_type": "Ordered"}, TypeError),
        ({"handler": None}, TypeError),
        ({"queue": 0}, ValueError),
        ({"when_full": "shrug"}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": -1.0}, ValueError),
    ],
    ids=str,
)
def test_a_subscription_that_makes_no_sense_is_refused(bus, arguments, error):
    """Wrong arguments fail at once, not at the first event."""
    good: dict[str, Any] = {"event_type": Ordered, "handler": print}
    with pytest.raises(error):
        bus.subscribe(**(good | arguments))
    assert bus.stats() == ()


def test_a_closed_bus_says_so_and_announces_to_nobody():
    """What waits is handled first; then subscribing and publishing are refused, and closing again does nothing."""
    bus = EventBus()
    seen: list[Ordered] = []
    bus.subscribe(Ordered, seen.append)
    for n in range(50):
        bus.publish(Ordered(n))

    assert bus.close(PATIENCE) == ()
    assert len(seen) == 50
    with pytest.raises(Unavailable, match="closed"):
        bus.publish(Ordered(1))
    with pytest.raises(Unavailable, match="closed"):
        bus.subscribe(Ordered, print)
    assert bus.announce([PluginStarted("p", "1")]).wait() == ()
    assert bus.close() == ()
    assert bus._crew.threads == 0
