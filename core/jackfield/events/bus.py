"""The bus: who listens to what, and how an event gets to them."""

import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from time import monotonic
from typing import Any, TypeVar, get_args

from jackfield.errors import ResourceExhausted, Unavailable
from jackfield.events.crew import Crew, Job
from jackfield.events.handlers import RunAsync, in_event_loop
from jackfield.events.mailbox import LONGEST_WAIT, Announcement, Mailbox, SubscriptionStats, WhenFull, stats_of
from jackfield.events.subscription import Subscription
from jackfield.events.values import Parcel, event_name, rebuild, seal
from jackfield.log import host_log
from jackfield.model.deadline import remaining
from jackfield.model.injectable import injectable
from jackfield.runtime.pool import Pool
from jackfield.stack import public_name
from jackfield.strangers import Broken, barrier, is_a, named

E = TypeVar("E")
_FORKED = "this process was forked, and the threads of the bus stayed behind; make a new host here"


@injectable
class EventBus:
    """Typed publish and subscribe inside one host.

    Each subscriber handles its events in order, one at a time, on a thread of the bus, or, if it is async, on the
    host's home loop. One that raises or hangs harms nobody else. Threads are the pool's: without events there are none.

    Args:
        run_async: starts a coroutine on the host's home loop, from any thread, and gives its
            `concurrent.futures.Future`; with None there is no loop, and async handlers fail.
        pool: where threads come from; the default is a pool of its own.

    Examples:
        >>> import attrs
        >>> @attrs.frozen
        ... class OrderPlaced:
        ...     number: int
        >>> bus = EventBus()
        >>> seen = []
        >>> with bus.subscribe(OrderPlaced, seen.append):
        ...     bus.publish(OrderPlaced(7))
        ...     bus.drain(timeout=5.0)
        1
        ()
        >>> seen
        [OrderPlaced(number=7)]
        >>> bus.close()
        ()
    """

    def __init__(self, run_async: RunAsync | None = None, pool: Pool | None = None) -> None:
        self._run_async = run_async
        self._pid = os.getpid()
        # Reentrant, as in the crew: the garbage collector may run a finalizer that cancels or publishes, at any line.
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._pool = pool or Pool()
        self._crew = Crew("jackfield-events", self._pool)
        # By the number of the type, which each mailbox keeps alive: a metaclass may hash, and compare, as it likes.
        self._mailboxes: dict[int, tuple[Mailbox, ...]] = {}
        self._standins: dict[str, type] = {}
        self._closed = False

    def subscribe(
        self,
        event_type: type[E],
        handler: Callable[[E], object],
        *,
        queue: int = 1024,
        when_full: WhenFull = "block",
        timeout: float = 1.0,
        plugin: str = "",
    ) -> Subscription:
        """Have a handler called for every event of a type, subclasses included.

        The bound and the policy are for published events. Announced ones are always queued: whoever
        announces them tells of the changes of all threads and can neither wait nor fail, and a subscriber that missed
        one would be out of step for good.

        Args:
            event_type: the type; `object` for every event.
            handler: takes the event; sync or async. It runs in a context of its own, outside any call.
            queue: how many published events may wait for it.
            when_full: what happens to one more: `block` lets the publisher wait for room, and drops the event for this
                subscriber when there is none in time; `drop_oldest` drops the one that has waited longest; `fail`
                raises in the publisher.
            timeout: seconds that a publisher waits under `block`; then the subscriber counts as lagging, and is not
                waited for until its queue is empty.
            plugin: who subscribes, for logs, metrics and `cancel_all`.

        Returns:
            The subscription; it lasts until it is cancelled, whether or not it is kept.

        Raises:
            TypeError: if the event type is not a class, the handler cannot be called, or not be looked at, or another
                argument is of the wrong type.
            ValueError: if the bound, the policy or the timeout makes no sense.
            Unavailable: if the bus is closed, or this process was forked.
        """
        self._check_usable()
        if not is_a(event_type, type):
            raise TypeError(f"subscribe to a class of events, not to {named(event_type)}")
        if not callable(handler):
            raise TypeError(f"the handler of {event_name(event_type)} cannot be called: {named(handler)}")
        for name, value, kind, what in (
            ("queue", queue, (int,), "a whole number"),
            ("when_full", when_full, (str,), "text"),
            ("timeout", timeout, (int, float), "seconds"),
        ):
            if not is_a(value, kind):
                raise TypeError(f"{name} is {what}, not {named(value)}")
        if queue < 1:
            raise ValueError(f"queue={queue}: at least one event must fit")
        if when_full not in get_args(WhenFull):
            raise ValueError(f"when_full={when_full!r}: choose one of {', '.join(get_args(WhenFull))}")
        if math.isnan(timeout) or timeout < 0:
            raise ValueError(f"timeout={timeout}: give seconds, 0 or more")
        try:
            with barrier("looking at it"):
                box = Mailbox(
                    event_type,
                    handler,
                    lock=self._lock,
                    room=self._room,
                    crew=self._crew,
                    run_async=self._run_async,
                    limit=queue,
                    when_full=when_full,
                    timeout=timeout,
                    plugin=plugin,
                )
        except Broken as broken:
            raise TypeError(f"the handler of {event_name(event_type)}: {broken.reason}") from broken
        with self._lock:
            self._mailboxes[id(event_type)] = (*self._mailboxes.get(id(event_type), ()), box)
        return Subscription(box, self._remove)

    def publish(self, event: object) -> int:
        """Send a copy of an event to everybody who listens to its type.

        It returns when the event is queued, not when it is handled. Events of one publisher reach each subscriber in
        order. It waits for room only as `subscribe` states, never beyond the current deadline, never in an event loop
        (there, use `apublish`) nor for the very subscriber that publishes.

        Args:
            event: a value of an attrs, dataclass or `msgspec.Struct` type.

        Returns:
            How many subscribers it was queued for; those it was dropped for count it in their stats.

        Raises:
            PayloadError: when the event cannot be copied; `path` names the field.
            PermissionDenied: for an event that only the host announces.
            ResourceExhausted: when the queue of a subscriber with `when_full="fail"` is full; all others got the event.
            Unavailable: if the bus is closed, or this process was forked.
        """
        self._check_usable()
        return self._send(seal(event), type(event))

    async def apublish(self, event: object) -> int:
        """Do the same from a coroutine: wait for room without blocking the event loop.

        Args:
            event: as for `publish`; the result is the same, too.
        """
        self._check_usable()
        return await self._asend(seal(event), type(event))

    # --- Events of other processes, whose types are known by name alone -----------------------------------------------

    def standin(self, name: str) -> type:
        """Give a class to subscribe to for all events of a type, or of a base, that has this name in any process.

        Args:
            name: as `stack.public_name` gives it.
        """
        with self._lock:
            found = self._standins.get(name)
            if found is None:
                module, _, own = name.rpartition(".")
                found = self._standins[name] = type(own, (dict,), {"__module__": module or "builtins"})
            return found

    def relay(self, name: str, data: Any) -> int:
        """Publish an event of another process: rebuilt for subscribers that have a type of its name, else a dict.

        Args:
            name: of its type.
            data: its plain data.

        Returns:
            As `publish`.

        Raises:
            PayloadError: when it does not fit the type that is here.
            PermissionDenied, ResourceExhausted, Unavailable: as `publish`.
        """
        return sum(self._send(parcel, kind) for parcel, kind in self._addressed(name, data))

    async def arelay(self, name: str, data: Any) -> int:
        """Do the same from a coroutine."""
        return sum([await self._asend(parcel, kind) for parcel, kind in self._addressed(name, data)])

    def _addressed(self, name: str, data: Any) -> list[tuple[Parcel, type]]:
        self._check_usable()
        with self._lock:
            types = [boxes[0].event_type for boxes in self._mailboxes.values()]
        here = [kind for kind in types if kind not in (dict, object) and public_name(kind) == name]
        kinds = [kind for kind in here if kind is not self._standins.get(name)]
        if kinds:
            return [(seal(rebuild(data, kind)), kind) for kind in kinds]
        return [(Parcel(data, dict, published=True), here[0] if here else dict)]

    def _send(self, parcel: Parcel, kind: type) -> int:
        queued, full = self._offer(parcel, kind)
        if full:
            queued += self._wait_for_room(parcel, full, patient=not in_event_loop())
            self._refuse(kind, full)
        return queued

    async def _asend(self, parcel: Parcel, kind: type) -> int:
        queued, full = self._offer(parcel, kind)
        if full:
            context = copy_context()
            queued += await self._pool.run(
                "jackfield-events", lambda: context.run(self._wait_for_room, parcel, full, patient=True)
            )
            self._refuse(kind, full)
        return queued

    def announce(self, events: Iterable[object]) -> Announcement:
        """Send the host's own events, as they are, in order; for the host alone.

        It only queues, and one thread at a time calls it: that makes the order of the revisions everybody's order.
        Whoever lags already gets the events too, but is not waited for.

        Args:
            events: frozen values; all of one transaction together.

        Returns:
            What to `wait` for.

        Raises:
            Unavailable: if this process was forked.
        """
        self._check_process()
        jobs: list[Job] = []
        reached: dict[Mailbox, None] = {}
        with self._lock:
            for event in events:
                parcel = Parcel(event)
                for box in self._listening(type(event)):
                    box.push(parcel, jobs)
                    reached[box] = None
            announcement = self._mark([box for box in reached if not box.lagging], jobs)
        self._crew.submit(jobs)
        return announcement

    def cancel_all(self, *, plugin: str) -> tuple[SubscriptionStats, ...]:
        """Cancel every subscription of a plugin.

        Args:
            plugin: as given to `subscribe`.

        Returns:
            Their last counts; `running` where a handler is still at work.
        """
        return self._cancel_where(lambda box: box.plugin == plugin)

    def stats(self) -> tuple[SubscriptionStats, ...]:
        """Give the counts of every subscription."""
        if self._pid != os.getpid():
            return ()
        with self._lock:
            return tuple(box.stats() for boxes in self._mailboxes.values() for box in boxes)

    def drain(self, timeout: float) -> tuple[SubscriptionStats, ...]:
        """Wait until all that is queued now is handled; in an event loop, async handlers are not waited for.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The subscriptions that are not through yet.
        """
        return stats_of(self._drain(timeout))

    def close(self, timeout: float = 5.0) -> tuple[SubscriptionStats, ...]:
        """Take no more events, handle those that wait, and end; closing again does nothing.

        Call it off the home loop, as with `asyncio.to_thread`: async handlers cannot end while their loop waits here.

        Args:
            timeout: seconds for the handlers to finish; then async ones are cancelled, and sync ones left behind.

        Returns:
            The subscriptions that would not end, cancelled ones included; each is also logged.
        """
        if self._pid != os.getpid() or self._closed:
            return ()
        self._closed = True
        ends = monotonic() + timeout
        left = dict.fromkeys(self._drain(timeout))
        stats = stats_of(left)
        self._cancel_where(lambda _: True)
        for box in left:
            box.interrupt()
        # Also those that were cancelled while their handler was at work.
        held = [job for job in self._crew.close(max(ends - monotonic(), 0.1)) if isinstance(job, Mailbox)]
        stats += stats_of(box for box in held if box not in left)
        for box in left | dict.fromkeys(held):
            text = f"the event bus closes without {box}, whose handler did not end"
            host_log("WARNING", text, plugin=box.plugin)
        return stats

    def _remove(self, boxes: Sequence[Mailbox]) -> None:
        """Take mailboxes off the bus."""
        if self._pid != os.getpid():
            return
        with self._lock:
            for box in boxes:
                number = id(box.event_type)
                kept = tuple(other for other in self._mailboxes.get(number, ()) if other is not box)
                if kept:
                    self._mailboxes[number] = kept
                else:
                    self._mailboxes.pop(number, None)
            settled = [(box, waiting) for box in boxes for waiting in box.clear()]
        for box, announcement in settled:
            announcement.settle(box)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise Unavailable("event bus", _FORKED)

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise Unavailable("event bus", "it is closed; the host has stopped")

    def _listening(self, kind: type) -> Sequence[Mailbox]:
        """Give those that listen to a type or to a base of it. The lock is held."""
        found = [boxes for base in kind.__mro__ if (boxes := self._mailboxes.get(id(base)))]
        if self._standins:
            named = (self._standins.get(public_name(base)) for base in kind.__mro__)
            found += (
                boxes
                for each in named
                if each is not None and each not in kind.__mro__ and (boxes := self._mailboxes.get(id(each)))
            )
        return found[0] if len(found) == 1 else [box for boxes in found for box in boxes]

    def _offer(self, parcel: Parcel, kind: type) -> tuple[int, list[Mailbox]]:
        """Queue an event wherever there is room; give how many got it, and who is full."""
        jobs: list[Job] = []
        with self._lock:
            boxes = self._listening(kind)
            full = [box for box in boxes if not box.offer(parcel, jobs)]
            for box in full:
                box.dropped += box.when_full == "fail"
        self._crew.submit(jobs)
        return len(boxes) - len(full), full

    def _wait_for_room(self, parcel: Parcel, full: Sequence[Mailbox], *, patient: bool) -> int:
        """Wait for room in the full queues that ask for it; give how many took the event after all."""
        now = monotonic()
        left = remaining()
        until = math.inf if left is None else now + left
        author = Mailbox.current()
        waits = {
            box: now + box.timeout if patient and box is not author and not box.lagging else -math.inf
            for box in full
            if box.when_full == "block"
        }
        queued = 0
        while waits:
            jobs, late = list[Job](), list[Mailbox]()
            with self._lock:
                now = monotonic()
                for box, ends in list(waits.items()):
                    if box.handler is None:
                        del waits[box]
                    elif box.offer(parcel, jobs):
                        del waits[box]
                        queued += 1
                    elif now >= min(ends, until):
                        del waits[box]
                        box.dropped += 1
                        if now >= ends > -math.inf:
                            late.append(box)
                if waits and not jobs and not late:
                    self._room.wait(min(*waits.values(), until, now + LONGEST_WAIT) - now)
            self._crew.submit(jobs)
            for box in late:
                box.mark_lagging(box.timeout)
        return queued

    def _refuse(self, kind: type, full: Sequence[Mailbox]) -> None:
        """Tell the publisher of the full queues that ask for it."""
        refused = [f"{box} ({box.limit} events)" for box in full if box.when_full == "fail"]
        if refused:
            raise ResourceExhausted(event_name(kind), f"the queue is full of {', '.join(refused)}")

    def _mark(self, boxes: Sequence[Mailbox], jobs: list[Job]) -> Announcement:
        """Queue a mark behind all that waits: who reaches it is through. The lock is held."""
        announcement = Announcement(boxes)
        for box in boxes:
            box.push(announcement, jobs)
        return announcement

    def _drain(self, timeout: float) -> list[Mailbox]:
        self._check_process()
        jobs: list[Job] = []
        with self._lock:
            busy = [box for group in self._mailboxes.values() for box in group if box.active]
            announcement = self._mark([box for box in busy if box is not Mailbox.current()], jobs)
        self._crew.submit(jobs)  # none, but others may wait since there was no thread for them
        return announcement.unsettled(timeout)

    def _cancel_where(self, chosen: Callable[[Mailbox], bool]) -> tuple[SubscriptionStats, ...]:
        if self._pid != os.getpid():
            return ()
        with self._lock:
            found = [box for group in self._mailboxes.values() for box in group if chosen(box)]
            stats = tuple(box.stats() for box in found)
        self._remove(found)
        return stats
