"""Who a host is: one id, one live process."""

import asyncio
import threading

import pytest

from jackfield.store import MemoryStore, claim_host_id
from jackfield.testing import FakeClock

PATIENCE = 30.0


def run(test):
    async def body():
        clock = FakeClock()
        await test(MemoryStore(clock), clock)

    asyncio.run(body())


def test_an_id_is_made_once_and_found_again():
    """The process after this one has it; a second live one has another, and that is kept, too."""

    async def test(store, clock):
        first = await claim_host_id(store)
        second = await claim_host_id(store)
        assert first.id != second.id
        await first.lease.release()
        await second.lease.release()
        assert (await claim_host_id(store)).id == first.id
        assert (await claim_host_id(store)).id == second.id

    run(test)


def test_the_id_of_a_process_that_died_is_free_when_its_lease_ends():
    """Not before; what it kept for itself stays for the next."""

    async def test(store, clock):
        dead = await claim_host_id(store, ttl=10.0)
        await store.put(f"{dead.prefix}state/billing/1.0", b"kept")
        await store.put(f"{dead.prefix}presence", b"gone", lease=dead.lease)
        clock.advance(9.0)
        other = await claim_host_id(store, ttl=10.0)
        assert other.id != dead.id
        clock.advance(1.0)
        heir = await claim_host_id(store)
        assert heir.id == dead.id
        assert list((await store.range(heir.prefix)).entries) == [
            f"{heir.prefix}{each}" for each in ("claim", "identity", "state/billing/1.0")
        ]

    run(test)


def test_an_id_that_an_operator_names_is_taken_by_those_that_ask_for_it():
    """The next free number while it is taken; a host without a name does not take it."""

    async def test(store, clock):
        first = await claim_host_id(store, "blue")
        second = await claim_host_id(store, "blue")
        third = await claim_host_id(store, "blue")
        assert (first.id, second.id, third.id) == ("blue", "blue-2", "blue-3")
        for identity in (first, second, third):
            await identity.lease.release()
        assert (await claim_host_id(store)).id not in {"blue", "blue-2", "blue-3"}
        assert (await claim_host_id(store, "blue")).id == "blue"

    run(test)


@pytest.mark.parametrize("wanted", ["", "a/b", "..", "a\n", "a" * 65])
def test_what_is_no_segment_of_a_key_is_no_id(wanted):
    """And claims nothing."""

    async def test(store, clock):
        with pytest.raises(ValueError, match="is no"):
            await claim_host_id(store, wanted)
        assert (await store.range()).entries == {}

    run(test)


def test_of_many_that_claim_at_once_each_has_an_id_of_its_own():
    """From threads with loops of their own."""
    store = MemoryStore()
    ids = []
    together = threading.Barrier(8)

    def claim(wanted):
        together.wait(PATIENCE)
        ids.append(asyncio.run(claim_host_id(store, wanted)).id)

    threads = [threading.Thread(target=claim, args=(wanted,)) for wanted in [None, "blue"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(ids)) == 8
    assert {"blue", "blue-2", "blue-3", "blue-4"} < set(ids)
