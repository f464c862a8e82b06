"""One event for a thousand subscribers, against calling them one by one and against a pool of threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter

import attrs
from harness import Effort, measure, statement
from results import Check, Row, Section

from jackfield.events import EventBus
from jackfield.events.crew import CORE

_SUBSCRIBERS = 1_000
_LONG = 60.0


@attrs.frozen
class OrderPlaced:
    """An event as services have them."""

    number: int
    customer: str
    lines: tuple[str, ...]


_EVENT = OrderPlaced(7, "t-8823", ("tea", "honey"))


def run(effort: Effort) -> Section:
    """Measure from `publish` until the last subscriber is through."""
    counts = [0] * _SUBSCRIBERS
    handlers = [_counting(counts, number) for number in range(_SUBSCRIBERS)]
    bus, few = EventBus(), EventBus()
    for handler in handlers:
        bus.subscribe(OrderPlaced, handler)
    few.subscribe(OrderPlaced, _counting([0], 0))
    published = 0

    def deliver() -> None:
        nonlocal published
        published += 1
        bus.publish(_EVENT)
        bus.drain(_LONG)

    def publishing(number: int) -> float:
        nonlocal published
        events, elapsed = -(-number // _SUBSCRIBERS), 0.0
        for _ in range(events):
            published += 1
            start = perf_counter()
            bus.publish(_EVENT)
            elapsed += perf_counter() - start
            bus.drain(_LONG)
        return elapsed / (events * _SUBSCRIBERS) * number

    deliver()
    missing = sum(count != published for count in counts)
    with ThreadPoolExecutor(CORE) as pool:
        taken = measure(
            effort,
            {
                "bus": statement("deliver()", per=_SUBSCRIBERS, deliver=deliver),
                "publish": publishing,
                "direct": statement(
                    "for handler in handlers: handler(event)", per=_SUBSCRIBERS, handlers=handlers, event=_EVENT
                ),
                "pool": statement(
                    "wait([submit(handler, event) for handler in handlers])",
                    per=_SUBSCRIBERS,
                    wait=wait,
                    submit=pool.submit,
                    handlers=handlers,
                    event=_EVENT,
                ),
                "one": statement("few.publish(event); few.drain(60.0)", few=few, event=_EVENT),
                "one pool": statement(
                    "submit(handler, event).result()", submit=pool.submit, handler=handlers[0], event=_EVENT
                ),
            },
        )
    left = len(bus.close()) + len(few.close())
    pooled = f"`ThreadPoolExecutor({CORE})`: submit each, wait for all"
    return Section(
        "Events",
        f"{_SUBSCRIBERS:,} subscribers whose handlers count. Times are for one delivery, in the first rows from"
        " `publish` to the last handler's end, as `drain` tells it. The bus copies the event, keeps each subscriber's"
        " order, and bounds its queue.",
        [
            Row("publish until all have handled it", pooled, taken["bus"], taken["pool"]),
            Row("publish until all have handled it", "calling the handlers one by one", taken["bus"], taken["direct"]),
            Row("`publish` alone: what the publisher waits for", pooled, taken["publish"], taken["pool"]),
            Row("one subscriber: publish until handled", "submit, `result()`", taken["one"], taken["one pool"]),
        ],
        [
            Check("subscribers that missed an event", missing, _SUBSCRIBERS),
            Check("subscribers that did not end", left, _SUBSCRIBERS),
        ],
    )


def _counting(counts: list[int], number: int) -> Callable[[OrderPlaced], None]:
    def handle(event: OrderPlaced) -> None:
        counts[number] += 1

    return handle
