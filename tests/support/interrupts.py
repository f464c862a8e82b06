"""The user's Ctrl-C, sent when something has come about."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AGAIN = 0.05  # seconds: a signal that comes just before the main thread waits for a lock does not wake it


@contextmanager
def interrupted_when(begun: Callable[[], object]) -> Iterator[None]:
    """Raise KeyboardInterrupt once in the main thread, by a real signal, when a condition holds.

    The signal is sent until the main thread has seen it: one that arrives between its last look and the system call
    that waits for a lock is noticed only when that wait is over.
    """
    seen, over, main = threading.Event(), threading.Event(), threading.main_thread().ident

    def on_signal(_number, _frame):
        if not seen.is_set():
            seen.set()
            raise KeyboardInterrupt

    def send():
        while not over.is_set() and not begun():
            time.sleep(0.001)
        while not over.is_set() and not seen.is_set():
            signal.pthread_kill(main, signal.SIGINT)
            seen.wait(_AGAIN)

    before = signal.signal(signal.SIGINT, on_signal)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)
