"""The time that passes for submitted calls: a wall clock may be set, and while no host runs nobody works on them."""

import os
from typing import Final

import msgspec

from jackfield.durable.records import State, Submitted
from jackfield.errors import StoreConflict
from jackfield.ports import Clock, Store

KEY: Final = "calls-lifetime"
EVERY: Final = 5.0
"""Seconds between two looks."""


class Lifetime:
    """How long there were hosts of a store, all together: one number there, which each host adds to.

    What passed since the last look counts only if nobody else has added it, so it is never counted twice.

    Args:
        clock: of this host.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._revision = 0
        self._seconds = 0.0
        self._seen = clock()

    @property
    def seconds(self) -> float:
        """It, now."""
        return self._seconds + max(self._clock() - self._seen, 0.0)

    async def look(self, store: Store) -> None:
        """Take over what other hosts have added, else add what has passed."""
        stored = await store.get(KEY)
        revision = stored.revision if stored is not None else 0
        now = self._clock()
        if stored is not None and revision != self._revision:
            self._revision, self._seconds, self._seen = revision, msgspec.msgpack.decode(stored.value, type=float), now
            return
        seconds = self._seconds + max(now - self._seen, 0.0)
        try:
            self._revision = await store.put(KEY, msgspec.msgpack.encode(seconds), expected=revision)
        except StoreConflict:  # the next look sees what it is now
            return
        self._seconds, self._seen = seconds, now

    def left(self, call: Submitted, state: State | None) -> float | None:
        """Give the seconds that a call has left; None if it may take as long as it takes.

        By the wall clock, or by the time that there were hosts: whichever has passed less counts.
        """
        if call.timeout is None:
            return None
        wall, lived = call.submitted, call.lived
        if state is not None and state.redriven is not None:
            wall, lived = state.redriven
        return call.timeout - min(max(self._clock.wall() - wall, 0.0), max(self.seconds - lived, 0.0))


async def secret_of(store: Store, key: str) -> bytes:
    """Give the secret that a store keeps, made by whoever needs it first."""
    while True:
        stored = await store.get(key)
        if stored is not None:
            return stored.value
        try:
            await store.put(key, os.urandom(32), expected=0)
        except StoreConflict:
            continue
