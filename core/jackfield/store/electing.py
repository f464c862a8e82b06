"""Electing one of those that share a store: whoever puts a key first has it for as long as its lease is renewed."""

from collections.abc import Callable
from contextlib import aclosing, suppress

from jackfield.errors import LeaseEnded, StoreCompacted, StoreConflict
from jackfield.ports import Store
from jackfield.store.keeping import keep_lease

TTL = 15.0
"""Seconds without a renewal after which somebody else is elected."""


async def campaign(store: Store, key: str, who: str, elected: Callable[[bool], object], *, ttl: float = TTL) -> None:
    """Stand for election, until this is cancelled: then another one is elected at once.

    Args:
        store: what all have in common.
        key: what the elections are about.
        who: a name of whoever stands, for those who look.
        elected: is told True when this one is elected, and False when it is no more; at least as early as another one.
        ttl: seconds without a renewal after which another one is elected.

    Raises:
        Unavailable: if the store is away; whoever was elected is not any more.

    Examples:
        >>> import asyncio
        >>> from jackfield.store import MemoryStore
        >>> async def one_after_the_other() -> list[str]:
        ...     store, seen = MemoryStore(), asyncio.Queue()
        ...     one, two = (
        ...         asyncio.create_task(campaign(store, "first", who, lambda has, who=who: seen.put_nowait((who, has))))
        ...         for who in ("one", "two")
        ...     )
        ...     first = await seen.get()
        ...     (one if first == ("one", True) else two).cancel()
        ...     found = [first, await seen.get(), await seen.get()]
        ...     (two if first == ("one", True) else one).cancel()
        ...     return found
        >>> asyncio.run(one_after_the_other())
        [('one', True), ('one', False), ('two', True)]
    """
    while True:
        await _gone(store, key)
        async with await store.lease(ttl) as lease:
            with suppress(StoreConflict, LeaseEnded):  # another one was first, or this one too slow
                await store.put(key, who.encode(), expected=0, lease=lease)
                elected(True)  # noqa: FBT003  # what it says
                try:
                    await keep_lease(lease)
                finally:
                    elected(False)  # noqa: FBT003  # as above


async def _gone(store: Store, key: str) -> None:
    """Wait until nobody has a key."""
    while True:
        there = await store.range(key)
        if not there.entries:
            return
        try:
            async with aclosing(store.watch(key, since=there.revision)) as events:
                async for event in events:
                    if event.value is None:
                        return
        except StoreCompacted:
            continue
