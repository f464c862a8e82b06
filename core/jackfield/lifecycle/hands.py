"""Threads for what plugins do: as many as are needed at once, kept for a moment, never waited for.

There is no bound here, since a bound could be used up by those that hang; whoever submits bounds what is under way. All
are daemons: a plugin that hangs must not keep the interpreter from ending.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context

from jackfield.observe.logger import host_log
from jackfield.observe.stack import error_type, frames

_IDLE = 0.5  # seconds that a thread waits for more to do
_RESTING = "jackfield-idle"


class Hands:
    """An elastic set of daemon threads, each named after what it does."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._jobs: deque[tuple[str, Callable[[], object]]] = deque()
        self._idle = 0

    def submit(self, name: str, body: Callable[[], object]) -> None:
        """Run something at once, in a thread of its own and in an empty context.

        Args:
            name: what the thread is called meanwhile.
            body: what to run; whatever it raises is logged.

        Raises:
            RuntimeError: if the system gives no more threads.
        """
        with self._wake:
            if self._idle > len(self._jobs):
                self._jobs.append((name, body))
                self._wake.notify()
                return
        threading.Thread(target=self._work, args=(name, body), name=name, daemon=True).start()

    def _work(self, name: str, body: Callable[[], object]) -> None:
        me = threading.current_thread()
        while True:
            try:
                Context().run(body)
            except BaseException as error:  # noqa: BLE001  # a thread of ours serves others afterwards
                host_log("ERROR", f"{name}: {error_type(error)}", stack=frames(error))
            del body  # an idle thread keeps no plugin alive
            me.name = _RESTING
            with self._wake:
                self._idle += 1
                self._wake.wait_for(lambda: self._jobs, _IDLE)
                self._idle -= 1
                if not self._jobs:
                    return
                name, body = self._jobs.popleft()
            me.name = name
