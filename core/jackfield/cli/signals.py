"""The signals that `pluginctl serve` acts on, whatever plugins do to signals: see decision 0025."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

from jackfield.log import host_log
from jackfield.stack import error_type, frames

_EVERY: Final = 0.5  # seconds between two times that the handlers are put back
_NAMES: Final = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
ACTED_ON: Final = tuple(signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__)
"""What this system has of them; SIGBREAK is Windows' Ctrl-Break."""

_DEADLY: Final = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF")
_PASSED_OVER: Final = tuple(signal.Signals[name] for name in _DEADLY if name in signal.Signals.__members__)
"""What ends a process that has no handler for it: a timer that a plugin sets, a word that was meant for a plugin."""


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Be a handler: only for one does Python write a signal's number to the pipe."""


class Signals:
    """Reads signals from a pipe, in a thread of its own, so that nothing the main thread does keeps one waiting.

    Python's C handler writes the number of every signal that has a handler into the pipe, and all but `ACTED_ON` are
    passed over: they are the plugins' business. To be made, entered and left in the main thread.

    Args:
        act: called with each signal to act on, in that thread; must be quick.
    """

    def __init__(self, act: Callable[[signal.Signals], object]) -> None:
        self._act = act
        self._process = os.getpid()

    def __enter__(self) -> Self:
        """Begin."""
        self._reader, self._writer = os.pipe()
        if hasattr(os, "set_blocking"):  # Python 3.11 has none on Windows
            os.set_blocking(self._writer, False)
        threading.Thread(target=self._read, name="pluginctl-signals", daemon=True).start()
        _forkable.append(self)
        self.claim()
        for number in _PASSED_OVER:  # once: whoever handles them later, in C or Python, keeps them
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _nothing)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """End; the handlers stay, so that a late signal does not do what it does by default."""
        signal.set_wakeup_fd(-1)
        _forkable.remove(self)
        os.close(self._writer)

    def claim(self) -> None:
        """Take the signals back from whoever has taken them: only the main thread may, but C code does so anywhere."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in ACTED_ON:
            signal.signal(number, _nothing)
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it: an error where something is written

    def keep(self, until: threading.Event) -> None:
        """Claim them again and again. Meanwhile this thread runs the plugins' handlers of other signals.

        Args:
            until: ends it.
        """
        while not until.is_set():
            try:
                while not until.wait(_EVERY):
                    self.claim()
            except BaseException as error:  # noqa: BLE001  # a plugin's handler raised; SystemExit, too, is none of ours
                host_log("ERROR", f"a signal handler of a plugin raised {error_type(error)}", stack=frames(error))

    def let_go(self) -> None:
        """Give everything back to the system, in a forked child: what it is sent is not sent to the host."""
        signal.set_wakeup_fd(-1)
        for number in (*ACTED_ON, *_PASSED_OVER):
            default = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            if signal.getsignal(number) is _nothing:
                signal.signal(number, default)

    def _read(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Whoever started this process may have blocked them; here at least they arrive.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ACTED_ON)
        while numbers := os.read(self._reader, 256):
            for number in numbers:
                if number in ACTED_ON:
                    self._act(signal.Signals(number))
        os.close(self._reader)


_forkable: list[Signals] = []


def _let_go_in_child() -> None:
    while _forkable:
        _forkable.pop().let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
