"""Changing a value by what it is, however many others do the same."""

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Final

from jackfield.errors import StoreConflict
from jackfield.ports import Lease, Store, Stored

_FIRST: Final = 0.001  # seconds: the most before a second try
_LONGEST: Final = 0.1  # and before any other


async def update(
    store: Store, key: str, change: Callable[[bytes | None], bytes], *, lease: Lease | None = None
) -> Stored:
    """Read a value, and write what it becomes; again from the beginning, whenever somebody else was first.

    Of those who meet one always succeeds, and the others wait for random times. It ends when it has succeeded: a bound
    is the caller's deadline.

    Args:
        store: which.
        key: where.
        change: gives the new value of the old one, None if there is none. It may be called any number of times, and has
            no effect but its result.
        lease: as for `put`.

    Returns:
        What was written.

    Examples:
        >>> from jackfield.store import MemoryStore
        >>> def more(old: bytes | None) -> bytes:
        ...     return b"%d" % (int(old or 0) + 1)
        >>> async def count_to(number: int, store: MemoryStore) -> None:
        ...     await asyncio.gather(*(update(store, "n", more) for _ in range(number)))
        ...     print(await store.get("n"))
        >>> asyncio.run(count_to(100, MemoryStore()))
        Stored(value=b'100', revision=100)
    """
    for turn in count():
        there = await store.get(key)
        value = change(None if there is None else there.value)
        try:
            revision = await store.put(key, value, expected=0 if there is None else there.revision, lease=lease)
        except StoreConflict:
            pause = min(_FIRST * 2.0 ** min(turn, 10), _LONGEST)
            await asyncio.sleep(random.uniform(0.0, pause))  # noqa: S311  # it only keeps them apart
        else:
            return Stored(value, revision)
    raise AssertionError("it tries again for ever")
