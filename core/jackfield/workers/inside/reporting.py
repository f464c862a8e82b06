"""How far the functions of a worker have come, told to the host: the last of each, twenty times a second at most."""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from time import sleep
from typing import Final

from jackfield.errors import ResourceExhausted
from jackfield.model.progress import Latest, Progress, StepProgress, listening
from jackfield.workers.messages import Progressed

_PACE: Final = 0.05  # seconds between two reports of one call


class Reports:
    """Tells the host how far one call has come, since somebody listens to it there.

    Args:
        number: of the call on its channel.
        send: sends a message to the host.
        start: does something in a thread of its own.
    """

    def __init__(
        self, number: int, send: Callable[[Progressed], object], start: Callable[[str, Callable[[], object]], object]
    ) -> None:
        self._number, self._send, self._start = number, send, start
        self._latest = Latest(self._wake)
        self._sending = threading.Lock()  # held from taking to sending: the last report comes before the result

    def listen(self, context: Context) -> Context:
        """Hear what is reported in a context, and give it."""
        context.run(listening.set, self._latest)
        return context

    def close(self) -> list[Progressed]:
        """Hear nothing any more, and give what has not been sent."""
        with self._sending:
            return [self._message(said) for said in self._latest.close()]

    def _wake(self) -> None:
        with suppress(ResourceExhausted):  # the system gives no thread: what was said last is told at the end
            self._start("progress", self._tell)

    def _tell(self) -> None:
        while True:
            with self._sending:
                said = self._latest.take()
                for each in said:
                    self._send(self._message(each))
            if not said:
                return
            sleep(_PACE)

    def _message(self, said: Progress | StepProgress) -> Progressed:
        assert type(said) is Progress  # noqa: S101  # flows run in hosts
        return Progressed(self._number, said.done, said.total, said.text)
