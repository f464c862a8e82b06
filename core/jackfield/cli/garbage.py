"""How often a process that serves looks for garbage.

What hundreds of calls have under way makes Python look for garbage among them again and again, and at last through all
objects that there are: a tenth of a second for the few hundred thousand of a host with many functions, in which no call
goes on. Hardly any of it is garbage: what a call was made of is freed when it ends, without being looked for.
"""

import gc
from typing import Final

_OBJECTS: Final = 10_000
"""New objects until the newest are looked through; Python's own number is 700, or 2,000."""


def look_seldom() -> None:
    """Have this process look for garbage less often; a plugin that knows better may say so afterwards."""
    gc.set_threshold(_OBJECTS)
