"""Something that is done every so many seconds, and never overlaps."""

import asyncio
import math
from collections.abc import Callable

from jackfield.errors import JackfieldError
from jackfield.log import host_log
from jackfield.runtime.control import ControlLoop


class Repetition:
    """Something that is done every so many seconds, the first time after that many; runs never overlap.

    The beat stays: a run that takes longer than the interval makes those beats fall out that it covers.

    Args:
        control: the loop that keeps the time.
        seconds: from one run's beginning to the next's.
        begin: begins a run and returns at once; it gets a callable that must be called, from any thread, when the run
            has ended.

    Raises:
        ValueError: if the interval makes no sense.
    """

    def __init__(self, control: ControlLoop, seconds: float, begin: Callable[[Callable[[], None]], object]) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"every {seconds} seconds: give a finite number above 0")
        self._seconds = seconds
        self._begin = begin
        self._due = control.clock() + seconds
        self.cancelled = False
        self._task = control.submit(self._go_on())

    def cancel(self) -> None:
        """Begin no more runs; one that is under way goes on."""
        self.cancelled = True
        self._task.cancel()

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._due - loop.time())
            ended = asyncio.Event()

            def tell(ended: asyncio.Event = ended) -> None:
                try:
                    loop.call_soon_threadsafe(ended.set)
                except RuntimeError:  # the host has ended meanwhile
                    return

            try:
                self._begin(tell)
            except JackfieldError as error:  # no thread to be had: the next beat may have more luck
                host_log("ERROR", f"a repetition could not run: {error}")
            else:
                await ended.wait()
            missed = math.floor((loop.time() - self._due) / self._seconds)
            self._due += self._seconds * (max(missed, 0) + 1)
