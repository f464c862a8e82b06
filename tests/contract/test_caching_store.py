"""The caching store passes the suite that every store passes: in front of others, fast ones and slow ones."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.model.keys import within
from jackfield.store import CachingStore, MemoryStore, SQLiteStore
from jackfield.store.history import EVENTS
from jackfield.testing import FakeClock
from jackfield.testing.stores import StoreConformance

LONG = 60.0


class TestInFrontOfMemory(StoreConformance):
    """What answers is what is read."""

    kept = EVENTS

    async def open_store(self):
        self.clock = FakeClock()
        return CachingStore(MemoryStore(self.clock), patience=LONG, clock=self.clock)

    async def pass_time(self, seconds):
        self.clock.advance(seconds)


class TestInFrontOfSQLite(TestInFrontOfMemory):
    """With a thread behind it."""

    async def open_store(self):
        self.clock = FakeClock()
        behind = SQLiteStore(Path(tempfile.mkdtemp(), "jackfield.db"), self.clock)
        return CachingStore(behind, patience=LONG, clock=self.clock)


class Tardy(MemoryStore):
    """Answers later than anybody waits."""

    async def range(self, prefix="", /):
        found = await super().range(prefix)
        for _ in range(5):
            await asyncio.sleep(0)
        return found


class TestWithoutPatience(TestInFrontOfMemory):
    """All that can be is served without the store: whoever uses this one alone sees no difference.

    Leases end by time alone, of which nothing here can know; it has passed when that happens, and so has every answer.
    """

    async def open_store(self):
        self.clock = FakeClock()
        return CachingStore(Tardy(self.clock), patience=0.0, staleness=1e-9, clock=self.clock)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "delete", "get", "range"]),
                st.sampled_from(["a", "a/b", "a/c/d", "ab"]),
                st.binary(max_size=2),
            )
        )
    )
    def test_it_does_what_a_model_does(self, verbs):
        """But for the revision of a range: that may be an earlier one, if nothing under it has changed since."""

        async def test(store):
            values, writes = {}, []
            for verb, key, value in verbs:
                if verb == "put":
                    writes.append((key, await store.put(key, value), value))
                    values[key] = value
                elif verb == "delete":
                    revision = await store.delete(key)
                    assert bool(revision) == (key in values)
                    if values.pop(key, None) is not None:
                        writes.append((key, revision, None))
                elif verb == "get":
                    there = await store.get(key)
                    assert (there and there.value) == values.get(key)
                else:
                    for prefix in ("", key, f"{key}/"):
                        found = await store.range(prefix)
                        below = {each: values[each] for each in sorted(values) if within(each, prefix)}
                        assert {each: there.value for each, there in found.entries.items()} == below
                        later = [write for write in writes if write[1] > found.revision]
                        assert not any(within(each, prefix) for each, _, _ in later)
                        async with aclosing(store.watch(since=found.revision)) as events:
                            seen = [await anext(events) for _ in later]
                        assert [(event.key, event.revision, event.value) for event in seen] == later

        self.run(test)
