"""How many connections a door may have: each is an open file of its process, which may have a number of them.

A door that takes all of them can neither turn anybody away nor let go of those that are idle: it does not even learn
that somebody has come. And with it the process can open nothing else, neither a file nor what leads to a worker.
"""

import sys
from typing import Final

_SHARE: Final = 2  # a half of what the process may have is for the rest


def room(wanted: int) -> int:
    """Give how many connections a door may have, of those that it is meant to have.

    Args:
        wanted: how many these are.
    """
    if sys.platform == "win32":  # where nothing is said of it
        return wanted
    import resource  # noqa: PLC0415  # which Windows has not

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else min(wanted, files // _SHARE)
