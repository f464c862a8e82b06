"""How often a process that serves looks for garbage.

What hundreds of calls have under way makes Python look for garbage among them again and again, and at last through all
objects that there are: a tenth of a second for the few hundred thousand of a host with many functions, in which no call
goes on. Hardly any of it is garbage: what a call was made of is freed when it ends, without being looked for.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (10_000, 10, 3)
"""New objects until the youngest are looked through; of such looks until the younger half is, and then all may be."""


def look_seldom() -> None:
    """Have this process look for garbage less often; a plugin that knows better may say so afterwards."""
    gc.set_threshold(*_THRESHOLDS)
