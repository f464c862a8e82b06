"""Where in `sys.path` what lies in the working directory, or beside a file, may be imported from."""

import os
import sys
from typing import Final

_SITES: Final = ("site-packages", "dist-packages")


def behind_the_standard_library(folder: str) -> None:
    """Let modules be imported from a folder: before what is installed, as Python itself has it for a script's folder.

    But after the standard library: a `random.py` or `types.py` there must not be taken for its module, by jackfield and
    everything that it imports. `python -P` keeps such folders out, and so they stay out.

    Args:
        folder: which.
    """
    if sys.flags.safe_path or folder in sys.path:
        return
    names = enumerate(map(os.path.basename, sys.path))
    sys.path.insert(next((number for number, name in names if name in _SITES), len(sys.path)), folder)
