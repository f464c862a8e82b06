"""What the benched host serves: an addition, as each kind of function, and some real work."""

import time

from jackfield import function


@function
async def later(a: int, b: int) -> int:
    """Add, as a coroutine."""
    return a + b


@function(executor="inline")
def inline(a: int, b: int) -> int:
    """Add, on the loop."""
    return a + b


@function
def pooled(a: int, b: int) -> int:
    """Add, in a thread."""
    return a + b


@function
def work(seconds: float) -> float:
    """Take time as a database does."""
    time.sleep(seconds)
    return seconds
