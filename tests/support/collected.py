"""Whether objects are gone that nothing should refer to any more."""

import gc
import weakref
from time import monotonic, sleep
from typing import Any

_PATIENCE = 10.0


def alive(*references: "weakref.ref[Any]") -> list[Any]:
    """Collect garbage, and give those objects that are there yet.

    `gc.collect()` does nothing while another thread collects, and a thread of an earlier test may; so that once is not
    enough where something is left.
    """
    end = monotonic() + _PATIENCE
    while True:
        gc.collect()
        if all(reference() is None for reference in references) or monotonic() > end:
            return [found for reference in references if (found := reference()) is not None]
        sleep(0.001)
