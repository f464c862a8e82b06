"""Does something whenever what is looked at has changed, and has come to rest."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from jackfield.log import host_log
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.stack import error_type, frames


def watch(
    control: ControlLoop,
    pool: Pool,
    known: object,
    look: Callable[[], object],
    act: Callable[[], object],
    *,
    every: float = 1.0,
    settle: float = 0.2,
    name: str = "jackfield-watch",
) -> "Future[None]":
    """Look every so often, and act when two looks in a row show the same new thing.

    Both may block: they run in the pool, one after the other, and the loop only keeps the time. What changes while
    `act` is under way is seen after it, because `act` says what it went by.

    Args:
        control: the loop.
        pool: where `look` and `act` run.
        known: what `look` gave when what it looks at was last taken over.
        look: gives what is compared; it must not raise.
        act: what to do; gives what `look` would have given for what it has done, so that only what is different from
            that is acted on again, or anything else to be asked again at once. Whatever it raises ends the watch, and
            is logged.
        every: seconds between two looks.
        settle: seconds until a change is looked at again.
        name: of the thread that looks.

    Returns:
        The watch, which lasts until it is cancelled.
    """
    future = control.submit(_watch(pool, known, look, act, every, settle, name))
    future.add_done_callback(_say_why)
    return future


def _say_why(watch: "Future[None]") -> None:
    error = None if watch.cancelled() else watch.exception()
    if error is not None:
        host_log("ERROR", f"a watch has ended: {error_type(error)}", stack=frames(error))


async def _watch(
    pool: Pool,
    known: object,
    look: Callable[[], object],
    act: Callable[[], object],
    every: float,
    settle: float,
    name: str,
) -> None:
    while True:
        await asyncio.sleep(every)
        seen = await pool.run(name, look)
        while seen != known:
            await asyncio.sleep(settle)
            before, seen = seen, await pool.run(name, look)
            if seen == before:
                known = await pool.run(name, act)
                seen = await pool.run(name, look)
