"""Leases: what was put with one goes when it ends."""

import asyncio
from contextlib import aclosing

import pytest

from jackfield.errors import LeaseEnded, StoreConflict
from jackfield.ports import Lease, Store
from jackfield.testing.stores.harness import Harness


class Leasing(Harness):
    """Those who hold a lease, and those who see it end."""

    def test_what_was_put_with_a_lease_goes_when_it_is_not_renewed(self) -> None:
        """Those who watch hear of it, though nobody writes; the lease is over for good."""

        async def test(store: Store) -> None:
            lease = await store.lease(self.ttl)
            await store.put("a", b"1", lease=lease)
            put = await store.put("b", b"2")
            async with aclosing(store.watch(since=put)) as events:
                coming = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                await self.pass_time(self.ttl * 1.5)
                event = await coming
                assert (event.key, event.value) == ("a", None)
            assert list((await store.range()).entries) == ["b"]
            with pytest.raises(LeaseEnded) as ended:
                await lease.renew()
            assert (ended.value.lease, ended.value.ttl) == (lease.id, self.ttl)
            with pytest.raises(LeaseEnded):
                await store.put("a", b"3", lease=lease)
            assert await store.get("a") is None
            await lease.release()

        self.run(test)

    def test_a_lease_that_is_renewed_lives(self) -> None:
        """Longer than its time; another one beside it does not."""

        async def test(store: Store) -> None:
            lease, other = await store.lease(self.ttl), await store.lease(self.ttl)
            await store.put("a", b"1", lease=lease)
            await store.put("b", b"2", lease=other)
            for _ in range(3):
                await self.pass_time(self.ttl * 0.6)
                await lease.renew()
            assert list((await store.range()).entries) == ["a"]

        self.run(test)

    def test_a_lease_that_is_released_takes_its_keys_along(self) -> None:
        """At once, and at the end of a block, whatever ends it."""

        async def test(store: Store) -> None:
            lease = await store.lease(self.ttl)
            await store.put("a", b"1", lease=lease)
            await store.put("b", b"1", lease=lease)
            await lease.release()
            assert (await store.range()).entries == {}
            await lease.release()
            with pytest.raises(LeaseEnded):
                await lease.renew()
            with pytest.raises(KeyError):
                await _fail_within(await store.lease(self.ttl), store)
            assert (await store.range()).entries == {}

        self.run(test)

    def test_a_key_goes_with_the_lease_that_it_was_put_with_last(self) -> None:
        """One that was put without a lease stays; so does one that was deleted and put anew."""

        async def test(store: Store) -> None:
            lease, other = await store.lease(self.ttl), await store.lease(self.ttl)
            for key in ("freed", "moved", "anew"):
                await store.put(key, b"1", lease=lease)
            await store.put("freed", b"2")
            await store.put("moved", b"2", lease=other)
            await store.delete("anew")
            await store.put("anew", b"2")
            await lease.release()
            assert list((await store.range()).entries) == ["anew", "freed", "moved"]
            await other.release()
            assert list((await store.range()).entries) == ["anew", "freed"]

        self.run(test)

    def test_a_conflict_leaves_the_key_with_its_lease(self) -> None:
        """What was refused has changed nothing."""

        async def test(store: Store) -> None:
            lease = await store.lease(self.ttl)
            await store.put("a", b"1", lease=lease)
            with pytest.raises(StoreConflict):
                await store.put("a", b"2", expected=0)
            await lease.release()
            assert await store.get("a") is None

        self.run(test)

    @pytest.mark.parametrize("ttl", [0.0, -1.0, float("inf"), float("nan")])
    def test_a_lease_without_a_time_is_refused(self, ttl: float) -> None:
        """It would never begin, or never end."""

        async def test(store: Store) -> None:
            with pytest.raises(ValueError, match="positive number of seconds"):
                await store.lease(ttl)

        self.run(test)


async def _fail_within(lease: Lease, store: Store) -> None:
    async with lease:
        await store.put("c", b"1", lease=lease)
        raise KeyError
