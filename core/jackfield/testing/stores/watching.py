"""Watching: every write once and in order, or a word that it cannot be."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from jackfield.errors import StoreCompacted
from jackfield.model.keys import VALUE_LIMIT
from jackfield.ports import Store, StoreEvent
from jackfield.testing.stores.harness import THREADS, WRITES, Harness, value_of
from jackfield.testing.stores.model import take


class Watching(Harness):
    """Those who watch."""

    def test_a_watch_tells_what_was_and_what_comes(self) -> None:
        """From a revision on, below a path, each write with its value; deletions have none."""

        async def test(store: Store) -> None:
            first = await store.put("a/x", b"1")
            second = await store.put("a/x", b"2")
            await store.put("b", b"3")
            below, one, all_of_it = (store.watch(prefix, since=first) for prefix in ("a/", "b", ""))
            async with aclosing(below), aclosing(one), aclosing(all_of_it):
                coming = asyncio.ensure_future(take(below, 3))
                await asyncio.sleep(0)
                third = await store.put("a/y", b"4")
                gone = await store.delete("a/x")
                assert await coming == [
                    StoreEvent("a/x", second, b"2"),
                    StoreEvent("a/y", third, b"4"),
                    StoreEvent("a/x", gone, None),
                ]
                assert [event.value for event in await take(one, 1)] == [b"3"]
                assert [event.key for event in await take(all_of_it, 4)] == ["a/x", "b", "a/y", "a/x"]

        self.run(test)

    def test_a_watch_from_a_range_goes_on_where_that_ended(self) -> None:
        """Together they are all there is."""

        async def test(store: Store) -> None:
            await store.put("a", b"1")
            there = await store.range()
            async with aclosing(store.watch(since=there.revision)) as events:
                await store.put("a", b"2")
                assert (await anext(events)).value == b"2"

        self.run(test)

    def test_a_watch_at_rest_gets_the_largest_value(self) -> None:
        """However little the store keeps of what was."""

        async def test(store: Store) -> None:
            async with aclosing(store.watch("a", since=0)) as events:
                coming = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                await store.put("a", bytes(VALUE_LIMIT))
                assert (await coming).value == bytes(VALUE_LIMIT)

        self.run(test)

    def test_a_watch_that_is_left_disturbs_nobody(self) -> None:
        """Cancelled while it waits, or closed between two events."""

        async def test(store: Store) -> None:
            left = asyncio.ensure_future(take(store.watch(since=0), 1))
            async with aclosing(store.watch(since=0)) as other:
                await asyncio.sleep(0)
                left.cancel()
                await asyncio.wait([left])
                assert left.cancelled()
                await store.put("a", b"1")
                assert (await anext(other)).value == b"1"
            await store.put("a", b"2")
            assert await value_of(store, "a") == b"2"

        self.run(test)

    def test_watches_on_many_loops_see_everything_in_one_order(self) -> None:
        """While as many threads write: none left out, none twice."""

        async def test(store: Store) -> None:
            seen: list[list[StoreEvent]] = []

            async def look() -> None:
                async with aclosing(store.watch("n/", since=0)) as events:
                    seen.append(await take(events, THREADS * WRITES))

            async def write() -> None:
                me = threading.get_ident()
                for number in range(WRITES):
                    await store.put(f"n/{number}", f"{me} {number}".encode())
                    await store.put(f"other/{me}", b"")

            await self.in_threads([look] * THREADS + [write] * THREADS)
            revisions = [event.revision for event in seen[0]]
            assert revisions == sorted(set(revisions))
            assert len({event.value for event in seen[0]}) == THREADS * WRITES
            assert all(each == seen[0] for each in seen)

        self.run(test)

    def test_a_watch_from_a_revision_that_is_not_there_is_refused(self) -> None:
        """The store has forgotten it, or is not the one that gave it: the reader starts over."""

        async def test(store: Store) -> None:
            newest = await store.put("a", b"1")
            with pytest.raises(StoreCompacted) as refused:
                await anext(store.watch(since=newest + 1))
            assert (refused.value.since, refused.value.newest) == (newest + 1, newest)
            if self.kept is not None:
                for _ in range(self.kept):
                    await store.put("a", b"2")
                with pytest.raises(StoreCompacted) as compacted:
                    await anext(store.watch(since=0))
                oldest, newest = compacted.value.oldest, compacted.value.newest
                assert 0 < oldest < newest
                async with aclosing(store.watch(since=oldest)) as events:
                    assert len(await take(events, newest - oldest)) == newest - oldest

        self.run(test)

    def test_a_watch_that_is_too_slow_is_told(self) -> None:
        """It never passes over a write in silence; one that has nothing to hear is never too slow."""
        if self.kept is None:
            pytest.skip("it cannot be told when this store forgets")
        writes = self.kept

        async def test(store: Store) -> None:
            async with aclosing(store.watch("a", since=0)) as slow, aclosing(store.watch("b", since=0)) as other:
                patient = asyncio.ensure_future(anext(other))
                await asyncio.sleep(0)
                await store.put("a", b"1")
                assert (await anext(slow)).value == b"1"
                for _ in range(writes + 1):
                    await store.put("a", b"2")
                await store.put("b", b"3")
                assert (await patient).value == b"3"
                with pytest.raises(StoreCompacted):
                    await take(slow, writes + 1)

        self.run(test)
