"""Many users at once, on threads and loops of their own; and the end."""

import asyncio
from contextlib import aclosing

import pytest

from jackfield.errors import StoreConflict, Unavailable
from jackfield.ports import Lease, Store
from jackfield.testing.stores.harness import THREADS, WRITES, Harness, value_of
from jackfield.testing.stores.model import take


class Together(Harness):
    """Those who want the same."""

    def test_of_many_writers_that_expect_the_same_one_wins(self) -> None:
        """A lost update is impossible, over threads and their loops."""

        async def test(store: Store) -> None:
            await store.put("n", b"0")

            async def count() -> None:
                for _ in range(WRITES):
                    while not await _increment(store):
                        pass

            await self.in_threads([count] * THREADS)
            assert await value_of(store, "n") == str(THREADS * WRITES).encode()

        self.run(test)

    def test_of_many_candidates_one_is_elected_at_a_time(self) -> None:
        """Each gets its turn when the one before gives way."""

        async def test(store: Store) -> None:
            leaders: list[int] = []
            terms: list[int] = []

            async def stand() -> None:
                async with await store.lease(1000.0) as lease:
                    while not await _elected(store, lease):
                        there = await store.range("leader")
                        if there.entries:
                            async with aclosing(store.watch("leader", since=there.revision)) as events:
                                await anext(events)
                    leaders.append(1)
                    terms.append(len(leaders))
                    leaders.pop()

            await self.in_threads([stand] * THREADS)
            assert terms == [1] * THREADS

        self.run(test)

    def test_a_closed_store_says_so(self) -> None:
        """Those who wait are told; nobody reads what is not there; closing twice is fine."""

        async def test(store: Store) -> None:
            waiting = asyncio.ensure_future(take(store.watch(since=0), 1))
            await asyncio.sleep(0)
            await store.close()
            await store.close()
            with pytest.raises(Unavailable):
                await waiting
            for verb in (store.get("a"), store.put("a", b""), store.delete("a"), store.range(), store.lease(self.ttl)):
                with pytest.raises(Unavailable):
                    await verb

        self.run(test)


async def _increment(store: Store) -> bool:
    there = await store.get("n")
    assert there is not None
    try:
        await store.put("n", str(int(there.value) + 1).encode(), expected=there.revision)
    except StoreConflict:
        return False
    return True


async def _elected(store: Store, lease: Lease) -> bool:
    try:
        await store.put("leader", b"", expected=0, lease=lease)
    except StoreConflict:
        return False
    return True
