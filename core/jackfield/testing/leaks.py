"""Find what a test leaves behind: threads, and objects that should be gone."""

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class LeakError(AssertionError):
    """Something outlived the block that made it."""


@contextmanager
def no_leaks(*objects: object, timeout: float = 5.0) -> Iterator[None]:
    """Assert that a block leaves no thread behind, and that nothing keeps some objects alive.

    Args:
        objects: must be weakly referable; the caller drops its own references within the block.
        timeout: seconds that threads have to end after the block.

    Raises:
        LeakError: naming what is left.

    Examples:
        >>> with no_leaks():
        ...     worker = threading.Thread(target=print)
    """
    before = set(threading.enumerate())
    references = [(repr(thing), weakref.ref(thing)) for thing in objects]
    del objects
    yield
    end = monotonic() + timeout
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(max(end - monotonic(), 0.0))
    names = [f"thread {thread.name}" for thread in left if thread.is_alive()]
    gc.collect()
    names += [shown for shown, reference in references if reference() is not None]
    if names:
        raise LeakError(f"left behind: {', '.join(names)}")
