"""Who a host is: an id that is kept in the store and claimed by one live process at a time.

- `hosts/ID/identity` stays: the id was made here, or named by an operator.
- `hosts/ID/claim` stands as long as the lease of the process that has the id; whoever puts it first has it.

What a host keeps for itself stands under `hosts/ID/`, so that the process that claims the id next finds it.
"""

import os
from collections.abc import AsyncIterator
from typing import Final

import attrs

from jackfield.errors import StoreConflict
from jackfield.model.keys import check_key
from jackfield.ports import Lease, Store

TTL: Final = 15.0
"""Seconds without a renewal after which an id is free again."""

ID_LIMIT: Final = 64
"""The most characters that an id may have."""

HOSTS: Final = "hosts/"
"""What hosts keep for themselves stands below this, by their ids."""

_IDENTITY: Final = "identity"
_MADE: Final = b"made"
_NAMED: Final = b"named"


@attrs.frozen
class HostIdentity:
    """The id of this process's host, for as long as its lease is renewed; `keep_lease` does that.

    Attributes:
        id: one segment of a key.
        lease: ends the claim; what is put with it, the presence of this host, goes at the same time.
    """

    id: str
    lease: Lease

    @property
    def prefix(self) -> str:
        """Give the prefix of everything that this host keeps for itself."""
        return f"{HOSTS}{self.id}/"


async def claim_host_id(store: Store, wanted: str | None = None, *, ttl: float = TTL) -> HostIdentity:
    """Claim an id for the host of this process.

    Args:
        store: where ids are kept.
        wanted: the id that an operator has named; while a live process has it, the next of `wanted-2`, `wanted-3`, … .
            Without it: the oldest free one of those that were made here, else a new one.
        ttl: seconds without a renewal after which another process may claim it; see `keep_lease`.

    Returns:
        The id and the lease that keeps it.

    Raises:
        ValueError: if the wanted id cannot be one.

    Examples:
        >>> import asyncio
        >>> from jackfield.store import MemoryStore
        >>> async def claim_twice(store: Store) -> list[str]:
        ...     return [(await claim_host_id(store, "blue")).id for _ in range(2)]
        >>> asyncio.run(claim_twice(MemoryStore()))
        ['blue', 'blue-2']
    """
    if wanted is not None:
        _check(wanted)
    lease = await store.lease(ttl)
    try:
        async for candidate in _named(wanted) if wanted is not None else _made(store):
            try:
                await store.put(f"{HOSTS}{candidate}/claim", b"", expected=0, lease=lease)
            except StoreConflict:
                continue
            await _note(store, candidate, _MADE if wanted is None else _NAMED)
            return HostIdentity(candidate, lease)
    except BaseException:
        await lease.release()
        raise
    raise AssertionError("there is always another id")


async def _named(wanted: str) -> AsyncIterator[str]:
    yield wanted
    number = 2
    while True:
        yield f"{wanted}-{number}"
        number += 1


async def _made(store: Store) -> AsyncIterator[str]:
    """Give the ids that were made in this store, the oldest first, then new ones."""
    entries = (await store.range(HOSTS)).entries
    ids = [
        (stored.revision, key.split("/")[1])
        for key, stored in entries.items()
        if key.endswith(f"/{_IDENTITY}") and key.count("/") == HOSTS.count("/") + 1 and stored.value == _MADE
    ]
    for _, candidate in sorted(ids):
        yield candidate
    while True:
        yield f"host-{os.urandom(6).hex()}"


async def _note(store: Store, candidate: str, origin: bytes) -> None:
    try:
        await store.put(f"{HOSTS}{candidate}/{_IDENTITY}", origin, expected=0)
    except StoreConflict:  # it is known already
        return


def _check(wanted: str) -> None:
    if "/" in wanted or len(wanted) > ID_LIMIT:
        raise ValueError(f"{ascii(wanted)[:80]} is no host id: use 1 to {ID_LIMIT} printable characters without '/'")
    check_key(f"{HOSTS}{wanted}/claim")
