"""One subscriber's queue, handled in order, one event at a time; and the announcements that wait for it.

One lock, the bus's, guards all mailboxes: a fan-out takes it once, and an announcement reaches every queue in
the same order. No handler, no logging and no copying runs under it.
"""

import inspect
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from contextvars import Context, ContextVar
from functools import partial
from time import monotonic
from typing import Any, Literal, cast

import attrs

from jackfield.events.crew import Crew, Job
from jackfield.events.handlers import Handler, RunAsync, contain, handler_name, in_event_loop, outcome
from jackfield.events.values import Parcel
from jackfield.log import host_log
from jackfield.model.deadline import remaining
from jackfield.strangers import is_async, named

WhenFull = Literal["block", "drop_oldest", "fail"]

LONGEST_WAIT = 60.0
"""Seconds: an endless timeout is waited for in pieces, since locks refuse an infinite one."""

_handling: "ContextVar[Mailbox | None]" = ContextVar("jackfield_handling", default=None)


@attrs.frozen
class SubscriptionStats:
    """The counts of one subscription at one moment.

    Attributes:
        plugin: who subscribed; "" for the embedder.
        event: the qualified name of the event type.
        handler: the module and qualified name of the handler.
        delivered: events that the handler returned from.
        failed: events that it raised for.
        dropped: published events that it did not get because its queue was full.
        pending: events that wait in its queue.
        running: whether its handler is at work.
        lagging: whether somebody waited for it in vain; it is waited for again once its queue is empty.
    """

    plugin: str
    event: str
    handler: str
    delivered: int
    failed: int
    dropped: int
    pending: int
    running: bool
    lagging: bool


class Mailbox:
    """The queue of one subscription.

    Args:
        event_type: what it listens to.
        handler: what is called.
        lock: the bus's.
        room: the same lock as a condition, notified when a full queue has room again.
        crew: whose threads handle the events.
        run_async: starts a coroutine on the home loop.
        limit: how many published events may wait.
        when_full: what happens to one more.
        timeout: seconds that a publisher waits for room.
        plugin: who subscribed.

    Attributes:
        handler: None once cancelled.
        is_async: whether the handler is a coroutine function.
        active: whether anything waits or is at work here.
        lagging: whether somebody waited for it in vain.
        dropped: how many published events it did not get.
    """

    def __init__(
        self,
        event_type: type,
        handler: Handler,
        *,
        lock: AbstractContextManager[bool],
        room: threading.Condition,
        crew: Crew,
        run_async: RunAsync | None,
        limit: int,
        when_full: WhenFull,
        timeout: float,
        plugin: str,
    ) -> None:
        self.event_type = event_type
        self.handler: Handler | None = handler
        self.lock = lock
        self.room = room
        self.limit = limit
        self.when_full = when_full
        self.timeout = timeout
        self.plugin = plugin
        self.is_async = is_async(handler)
        self.active = False
        self.lagging = False
        self.dropped = 0
        self._crew = crew
        self._run_async = run_async
        self._name = handler_name(handler)
        self._queue: deque[Parcel | Announcement] = deque()
        self._published = 0  # how many of the queue count towards the limit
        self._at_work = False
        self._future: Future[None] | None = None
        self._delivered = 0
        self._failed = 0

    def __str__(self) -> str:
        """Name the handler and its plugin."""
        return f"{self._name} [{self.plugin}]" if self.plugin else self._name

    @staticmethod
    def current() -> "Mailbox | None":
        """Give the subscriber whose handler runs in this context, if any."""
        box = _handling.get()
        # A task that a handler left behind has inherited the variable, and is not in the handler any more.
        return box if box is not None and box._at_work else None  # noqa: SLF001  # its own class

    # ---- the lock is held by the caller ----

    def offer(self, parcel: Parcel, jobs: list[Job]) -> bool:
        """Queue a published event if there is room, or can be; `jobs` gets this mailbox if the crew is to be told."""
        if self._published >= self.limit:
            if self.when_full != "drop_oldest":
                return False
            oldest = next(i for i, entry in enumerate(self._queue) if isinstance(entry, Parcel) and entry.published)
            del self._queue[oldest]
            self._published -= 1
            self.dropped += 1
        self._published += 1
        self.push(parcel, jobs)
        return True

    def push(self, entry: "Parcel | Announcement", jobs: list[Job]) -> None:
        """Queue an announced event or an announcement's end; never refused, so that nobody falls out of step."""
        self._queue.append(entry)
        if not self.active:
            self.active = True
            jobs.append(self)

    def stats(self) -> SubscriptionStats:
        """Give the counts."""
        return SubscriptionStats(
            self.plugin,
            named(self.event_type),
            self._name,
            self._delivered,
            self._failed,
            self.dropped,
            sum(isinstance(entry, Parcel) for entry in self._queue),
            self._at_work,
            self.lagging,
        )

    def clear(self) -> "list[Announcement]":
        """Let go of the handler and the queue; a handler at work may finish.

        Returns:
            The announcements that need not wait for this one any more.
        """
        waiting = [entry for entry in self._queue if isinstance(entry, Announcement)]
        self.handler = None
        self._queue.clear()
        self._published = 0
        self.room.notify_all()
        return waiting

    # ---- the lock is not held ----

    def run(self) -> None:
        """Handle the oldest event; a job of the crew, which runs it on one thread at a time."""
        with self.lock:
            handler = self.handler
            if handler is None or not self._queue:
                self.active = False
                return
            entry = self._queue.popleft()
            if isinstance(entry, Parcel):
                self._at_work = True
                if entry.published:
                    if self._published >= self.limit:
                        self.room.notify_all()
                    self._published -= 1
        if isinstance(entry, Announcement):
            entry.settle(self)
            self._go_on()
            return
        try:
            # A context of its own: nothing leaks in from whoever started the thread, nor from one event to the next.
            future = Context().run(self._handle, handler, entry)
        except BaseException as error:  # noqa: BLE001  # even SystemExit of a handler must not end the bus's thread
            self._finish(error)
            return
        if future is None:
            self._finish(None)
            return
        with self.lock:
            self._future = future
        future.add_done_callback(lambda done: self._finish(outcome(done)))

    def mark_lagging(self, waited: float) -> None:
        """Have nobody wait for this one until it has caught up.

        Args:
            waited: seconds that somebody has waited in vain, for the log.
        """
        with self.lock:
            news = self.active and not self.lagging and self.handler is not None
            self.lagging = self.lagging or news
        if news:
            kind = named(self.event_type)
            text = (
                f"{self} lags: it did not get through its events ({kind}) in {waited:g} s and is not waited for until"
                " it has; make the handler quicker, or have it hand the work over"
            )
            host_log("WARNING", text, plugin=self.plugin)

    def interrupt(self) -> None:
        """Cancel the async handler that is at work, if any; a sync one cannot be interrupted."""
        with self.lock:
            future = self._future
        if future is not None:
            future.cancel()

    def _handle(self, handler: Handler, parcel: Parcel) -> "Future[None] | None":
        _handling.set(self)
        event = parcel.open()
        if self.is_async:
            return self._start(partial(cast("Callable[[Any], Coroutine[Any, Any, object]]", handler), event))
        result = handler(event)
        return self._start(lambda: result) if inspect.iscoroutine(result) else None

    def _start(self, start: Callable[[], Coroutine[Any, Any, object]]) -> "Future[None]":
        """Have an async handler run on the home loop; no thread of the bus waits for it."""
        if self._run_async is None:
            raise RuntimeError(f"{self} is async and this bus has no event loop; give EventBus(run_async=…)")
        contained = contain(start)
        try:
            return self._run_async(contained)
        except BaseException:
            contained.close()
            raise

    def _finish(self, error: BaseException | None) -> None:
        """Log a handler's error, count, and go on."""
        if error is not None:
            text = f"{self} failed on event {named(self.event_type)}"
            host_log("ERROR", text, error, plugin=self.plugin)
        self._go_on(delivered=error is None, failed=error is not None)

    def _go_on(self, *, delivered: bool = False, failed: bool = False) -> None:
        """Count, and see to the next entry, if there is one."""
        passed: list[Announcement] = []
        with self.lock:
            self._delivered += delivered
            self._failed += failed
            self._at_work = False
            self._future = None
            while self._queue and isinstance(mark := self._queue[0], Announcement):
                self._queue.popleft()
                passed.append(mark)
            more = self.active = bool(self._queue)
            if not more:
                self.lagging = False
        for announcement in passed:
            announcement.settle(self)
        if more:
            # To the end of the line: one busy subscriber does not keep the others waiting.
            self._crew.submit((self,))


class Announcement:
    """What was announced, on its way; `wait` lets its author return only when the subscribers have seen it.

    Args:
        mailboxes: whom to wait for.
    """

    def __init__(self, mailboxes: Iterable[Mailbox]) -> None:
        self._settled = threading.Condition()  # reentrant, as the bus's lock
        self._sync: set[Mailbox] = set()
        self._async: set[Mailbox] = set()
        for box in mailboxes:
            (self._async if box.is_async else self._sync).add(box)

    def settle(self, mailbox: Mailbox) -> None:
        """Note that one subscriber is through; for the bus itself."""
        with self._settled:
            group = self._async if mailbox.is_async else self._sync
            group.discard(mailbox)
            if not group:
                self._settled.notify_all()

    def wait(self, timeout: float = 1.0) -> tuple[SubscriptionStats, ...]:
        """Wait for the subscribers; call it with no lock held.

        It does not wait inside an event handler, which may be the one that is waited for; nor in an event loop for
        async handlers, which may need that very loop; nor beyond the current deadline.

        Args:
            timeout: seconds; whoever has not finished by then is marked as lagging, and not waited for again until it
                has caught up.

        Returns:
            Those that were waited for in vain; empty when everybody is in step.
        """
        if Mailbox.current() is not None:
            return ()
        left = remaining()
        patience = timeout if left is None else min(timeout, left)
        in_loop = in_event_loop()
        late = [box for box in self.unsettled(patience) if not (in_loop and box.is_async)]
        if patience == timeout:
            for box in late:
                box.mark_lagging(timeout)
        return stats_of(late)

    def unsettled(self, timeout: float) -> list[Mailbox]:
        """Wait, in an event loop for the sync ones alone, and give all that are not through; for the bus itself."""
        groups = (self._sync,) if in_event_loop() else (self._sync, self._async)
        ends = monotonic() + timeout
        with self._settled:
            while any(groups) and (left := ends - monotonic()) > 0:
                self._settled.wait(min(left, LONGEST_WAIT))
            return [*self._sync, *self._async]


def in_handler() -> bool:
    """Tell whether an event handler runs in this context."""
    return Mailbox.current() is not None


def stats_of(mailboxes: Iterable[Mailbox]) -> tuple[SubscriptionStats, ...]:
    """Give the counts of several mailboxes; the lock is not held."""
    stats = []
    for box in mailboxes:
        with box.lock:
            stats.append(box.stats())
    return tuple(stats)
