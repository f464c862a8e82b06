"""What is to happen later: timers on one thread, and repetitions that never overlap."""

import heapq
import math
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from time import monotonic

from jackfield.observe.logger import host_log
from jackfield.observe.stack import error_type, frames

Wait = Callable[[threading.Condition, float], object]
"""Waits on a condition that is held, for at most so many seconds."""


def _wait(condition: threading.Condition, seconds: float) -> None:
    condition.wait(min(seconds, 3600.0))  # locks refuse to wait for years; whoever is woken looks at the clock


class Timer:
    """Something that will happen once; `Timetable.after` makes it."""

    __slots__ = ("_timetable", "action", "due", "number")

    def __init__(self, timetable: "Timetable", due: float, number: int, action: Callable[[], object]) -> None:
        self._timetable = timetable
        self.due = due
        self.number = number
        self.action: Callable[[], object] | None = action

    def __lt__(self, other: "Timer") -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def cancel(self) -> None:
        """See to it that it does not happen, unless it is happening already."""
        self._timetable.cancel(self)


class Timetable:
    """Does things at their time, on one daemon thread that lives only while there is something to wait for.

    Args:
        clock: monotonic seconds.
        wait: how the thread waits; it must return when the condition is notified.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, wait: Wait = _wait) -> None:
        self.clock = clock
        self._wait = wait
        # Reentrant: the garbage collector may run a finalizer that cancels something, at any line.
        self._changed = threading.Condition(threading.RLock())
        self._timers: list[Timer] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Have something done later.

        Args:
            seconds: from now.
            action: must be quick: the others wait for it. What it raises is logged.

        Returns:
            What cancels it.
        """
        with self._changed:
            timer = Timer(self, self.clock() + seconds, next(self._numbers), action)
            heapq.heappush(self._timers, timer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="jackfield-timetable", daemon=True)
                self._thread.start()
            elif self._timers[0] is timer:
                self._changed.notify_all()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Take a timer off; one that is gone already is left alone."""
        with self._changed:
            if timer.action is None:
                return
            timer.action = None
            self._timers.remove(timer)
            heapq.heapify(self._timers)
            self._changed.notify_all()

    def _serve(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:  # noqa: BLE001  # one action must not take the timetable with it
                host_log("ERROR", f"a timer failed: {error_type(error)}: {error}", stack=frames(error))
            action = None  # what is done is kept by nobody

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._timers:
                left = self._timers[0].due - self.clock()
                if left > 0:
                    self._wait(self._changed, left)
                    continue
                timer = heapq.heappop(self._timers)
                action, timer.action = timer.action, None
                return action
            self._thread = None
            return None


class Repetition:
    """Something that is done every so many seconds, the first time after that many; runs never overlap.

    The beat stays: a run that takes longer than the interval makes those beats fall out that it covers.

    Args:
        timetable: what keeps the time.
        seconds: from one run's beginning to the next's.
        begin: begins a run and returns at once; it gets a callable that must be called, from any thread, when the run
            has ended.
    """

    def __init__(self, timetable: Timetable, seconds: float, begin: Callable[[Callable[[], None]], object]) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"every {seconds} seconds: give a finite number above 0")
        self._timetable = timetable
        self._seconds = seconds
        self._begin: Callable[[Callable[[], None]], object] | None = begin
        self._lock = threading.RLock()
        self._due = timetable.clock() + seconds
        self._beats = 0
        self._timer: Timer | None = timetable.after(seconds, self._beat)

    @property
    def cancelled(self) -> bool:
        """Whether it has ended."""
        return self._begin is None

    def cancel(self) -> None:
        """Begin no more runs; one that is under way goes on."""
        with self._lock:
            self._begin = None
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _beat(self) -> None:
        with self._lock:
            self._beats += 1
            self._timer = None
            begin, again = self._begin, partial(self._again, self._beats)
        if begin is None:
            return
        try:
            begin(again)
        except BaseException:
            again()  # the next beat may have more luck
            raise

    def _again(self, beat: int) -> None:
        with self._lock:
            if self._begin is None or beat != self._beats or self._timer is not None:
                return
            now = self._timetable.clock()
            missed = math.floor((now - self._due) / self._seconds)
            self._due += self._seconds * (max(missed, 0) + 1)
            self._timer = self._timetable.after(self._due - now, self._beat)
