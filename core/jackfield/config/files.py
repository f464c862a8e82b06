"""Files as they were at one moment: the one reader of what nobody changes meanwhile."""

import os
import time
from collections.abc import Callable, Mapping

Stamp = tuple[int, int, int, int, int]
"""What changes when a file does: device, inode, size, and the times of its content and of its status."""

# File systems stamp times with a clock of some milliseconds: a younger file may change again without a trace.
SETTLED_NS = 20_000_000
ATTEMPTS = 25


class Unsettled(Exception):  # never leaves jackfield: becomes a fault that names the file
    """It kept changing while it was read."""


def whole(path: str) -> str:
    """Make a path absolute, and free of `..`, so that one file has one name wherever it is named from.

    Links stay as they are written, since what they lead to may change; but a `..` is only understood by following those
    before it.

    Examples:
        >>> whole("/etc/jackfield/../hosts")
        '/etc/hosts'
    """
    # The working directory may be gone: it is only asked for where it matters.
    full = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH117, PTH118  # strings
    before, up, after = full.rpartition(f"{os.sep}..{os.sep}")
    return os.path.normpath(os.path.join(os.path.realpath(before + up), after) if up else full)  # noqa: PTH118


def pause() -> None:
    """Wait until a file that has just been written has settled."""
    time.sleep(SETTLED_NS / 1e9)


def stamp(status: os.stat_result) -> Stamp:
    """Give what changes when the file does.

    Args:
        status: of `os.stat`. On Windows that of a directory entry has neither device nor inode, but always the same
            nothing.
    """
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_settled(
    listing: Callable[[], Mapping[str, Stamp]],
    read: Callable[[str, int], bytes],
    *,
    vanished: Callable[[OSError], bool] = lambda _: False,
    pause: Callable[[], None] = pause,
) -> tuple[Mapping[str, Stamp], dict[str, bytes]]:
    """Read one or several files as they all were at one moment: nothing of them differs before and after.

    Args:
        listing: looks at them; name → stamp.
        read: gives the content of one, or one byte more than the size that it is given.
        vanished: tells whether an error comes of a change between two looks, so that it is worth another one.
        pause: waits before another attempt.

    Returns:
        The last listing, and name → content.

    Raises:
        Unsettled: when they keep changing.
        OSError: when one cannot be read.
    """
    for _ in range(ATTEMPTS):
        try:
            before = listing()
            files = {name: read(name, found[2]) for name, found in before.items()}
            after = listing()
        except OSError as error:
            if not vanished(error):
                raise
        else:
            whole = all(len(data) == after[name][2] for name, data in files.items() if name in after)
            if before == after and whole and _settled(after):
                return after, files
        pause()
    raise Unsettled


def _settled(listing: Mapping[str, Stamp]) -> bool:
    now = time.time_ns()
    return not any(0 <= now - found[3] < SETTLED_NS for found in listing.values())
