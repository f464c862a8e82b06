"""A store that is slow, hangs or is away goes on being read, and nothing that was written is lost or hidden."""

import asyncio
import random
import threading
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import LeaseEnded, StoreConflict, Unavailable
from jackfield.model.keys import within
from jackfield.ports import Range, Stored
from jackfield.store import CachingStore, MemoryStore, update
from jackfield.store.known import Known
from jackfield.testing import FakeClock

PATIENCE = 30.0  # of the tests


class Weather(MemoryStore):
    """A store whose way is slow, hangs, or is cut off: what has been found may come late."""

    def __init__(self):
        super().__init__()
        self.delay = lambda verb: 0.0
        self.cut = False
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0

    async def _way(self, verb):
        if self.cut:
            raise Unavailable("store", "it is cut off", "store")
        await asyncio.sleep(self.delay(verb))
        await self.open.wait()
        if self.cut:
            raise Unavailable("store", "it was cut off", "store")

    async def range(self, prefix="", /):
        self.asked += 1
        found = await super().range(prefix)
        await self._way("range")
        return found

    async def put(self, key, value, /, *, expected=None, lease=None):
        await self._way("put")
        return await super().put(key, value, expected=expected, lease=lease)

    async def delete(self, key, /, *, expected=None):
        await self._way("delete")
        return await super().delete(key, expected=expected)

    def fail(self, how):
        self.cut = how == "cut off"
        if how == "hung":
            self.open.clear()

    def mend(self):
        self.cut = False
        self.open.set()


def run(test, **options):
    """Run a test with a store, the weather behind it, and the clock by which answers age."""

    async def body():
        clock, behind = FakeClock(), Weather()
        store = CachingStore(behind, clock=clock, **{"patience": 0.02, "staleness": 10.0} | options)
        async with asyncio.timeout(PATIENCE):
            await test(store, behind, clock)
            behind.mend()
            await store.close()
            await alone()

    asyncio.run(body())


async def alone():
    """Wait until nothing is left in the background."""
    while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.01)


async def fast_again(store, key, value):
    """Wait until a read gives a value: what was asked for in the background has come."""
    while (await store.get(key)) is None or store.stats().slow:  # noqa: ASYNC110  # it is for the reads
        await asyncio.sleep(0.01)
    assert (await store.get(key)).value == value


async def without_answer(verb, how):
    """What depends on the store alone fails with it."""
    if how == "cut off":
        with pytest.raises(Unavailable, match="cut off"):
            await verb
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(verb, 0.1)


# --- Row E5: slow by 200 to 800 ms, then cut off ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_store_that_is_slow_by_200_to_800_ms_is_read_and_written_and_loses_nothing():
    """Every read is answered, none goes back in time, and every counted update counts."""
    draw, keys = random.Random(1), [f"n/{number}" for number in range(20)]  # noqa: S311

    async def test(store, behind, clock):
        for key in keys:
            await store.put(key, b"0")
        behind.delay = lambda verb: draw.uniform(0.2, 0.8)
        written, reads, over = dict.fromkeys(keys, 0), 0, asyncio.Event()

        async def write(key):
            for _ in range(4):
                floor = int((await update(store, key, lambda old: b"%d" % (int(old) + 1))).value)
                written[key] += 1
                assert int((await store.get(key)).value) >= floor

        async def read():
            nonlocal reads
            newest = dict.fromkeys(keys, 0)
            while not over.is_set():
                key = draw.choice(keys)
                before = written[key]
                there = await store.get(key)
                assert newest[key] <= there.revision
                assert before <= int(there.value) <= 8
                newest[key] = there.revision
                reads += 1
                await asyncio.sleep(0.005)

        readers = [asyncio.ensure_future(read()) for _ in range(8)]
        # Two writers of each of three keys, so that they meet.
        await asyncio.gather(*map(write, keys[:3] * 2))
        over.set()
        await asyncio.gather(*readers)
        stats = store.stats()
        assert stats.slow
        assert reads > 200
        assert stats.stale > 0.9 * reads  # all but the first, and those of what was just written
        behind.fail("cut off")
        for key in keys:
            assert int((await store.get(key)).value) == written[key]
            with pytest.raises(Unavailable, match="cut off"):
                await update(store, key, lambda old: old)
        behind.mend()
        behind.delay = lambda verb: 0.0
        clock.advance(11.0)
        assert [int((await store.get(key)).value) for key in keys] == [8] * 3 + [0] * 17

    run(test)


# --- What is served, and for how long ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut off", "hung"])
def test_what_was_read_is_served_until_it_is_too_old(how):
    """With its revision; what was never read, and what is written, depend on the store."""

    async def test(store, behind, clock):
        await behind.put("a/1", b"1")
        await behind.put("b", b"2")
        known = [await store.get("a/1"), await store.range("a/"), await store.get("nothing")]
        clock.advance(4.0)
        behind.fail(how)
        for _ in range(3):
            assert [await store.get("a/1"), await store.range("a/"), await store.get("nothing")] == known
        assert store.stats().oldest == 4.0
        await without_answer(store.get("b"), how)
        await without_answer(store.range(), how)
        await without_answer(store.put("a/1", b"3"), how)
        await without_answer(store.delete("a/1"), how)
        assert await store.get("a/1") == known[0]
        clock.advance(6.0)
        assert await store.get("a/1") == known[0]
        clock.advance(0.1)
        await without_answer(store.get("a/1"), how)
        await without_answer(store.range("a/"), how)
        behind.mend()
        assert await store.get("a/1") == known[0]
        assert await store.get("b") == Stored(b"2", 2)
        await fast_again(store, "b", b"2")

    run(test)


def test_while_the_store_answers_nothing_else_is_served():
    """What others write is seen at once."""

    async def test(store, behind, clock):
        for number in range(5):
            await behind.put("a", b"%d" % number)
            assert (await store.get("a")).value == b"%d" % number
        assert store.stats().stale == 0

    run(test, patience=PATIENCE)


def test_a_slow_store_is_asked_in_the_background_once_at_a_time_until_it_is_fast():
    """Then every read is its answer again."""

    async def test(store, behind, clock):
        await store.put("a", b"1")
        behind.fail("hung")
        assert (await store.get("a")).value == b"1"
        before = behind.asked
        for _ in range(100):
            assert (await store.get("a")).value == b"1"
        assert behind.asked == before
        await MemoryStore.put(behind, "a", b"2")
        behind.mend()
        await fast_again(store, "a", b"2")
        await behind.put("a", b"3")
        assert (await store.get("a")).value == b"3"

    run(test, patience=0.5)


def test_an_answer_that_comes_late_hides_no_write():
    """It was found before that: neither the key nor what is above it is served from it."""

    async def test(store, behind, clock):
        await store.put("a/1", b"1")
        await store.range("a/")
        behind.fail("hung")
        assert (await store.get("a/1")).value == b"1"
        assert len((await store.range("a/")).entries) == 1  # both are asked for, and what will be answered is old
        behind.open, late = asyncio.Event(), behind.open
        behind.open.set()
        await store.put("a/1", b"2")
        await store.put("a/2", b"2")
        assert (await store.get("a/1")).value == b"2"
        late.set()
        for _ in range(5):
            await asyncio.sleep(0.01)
            assert (await store.get("a/1")).value == b"2"
            assert [there.value for there in (await store.range("a/")).entries.values()] == [b"2", b"2"]

    run(test)


def test_a_write_that_was_based_on_what_had_changed_is_refused_and_the_next_read_waits():
    """Otherwise who reads again and decides would read the same for ever."""

    async def test(store, behind, clock):
        stale = await store.put("a", b"1")
        await store.put("gone", b"1")
        await behind.put("a", b"2")
        await behind.delete("gone")
        behind.delay = lambda verb: 0.1 if verb == "range" else 0.0  # what is asked for comes later than the conflict
        assert (await store.get("a")).value == b"1"
        with pytest.raises(StoreConflict):
            await store.put("a", b"3", expected=stale)
        assert (await store.get("a")).value == b"2"
        assert (await store.get("gone")).value == b"1"
        with pytest.raises(StoreConflict):
            await store.delete("gone", expected=2)
        assert await store.get("gone") is None
        await behind.put("a", b"4")
        assert (await update(store, "a", lambda old: old + b"5")).value == b"45"

    run(test)


def test_deleting_what_others_have_deleted_tells_so():
    """And what was known of it is gone."""

    async def test(store, behind, clock):
        await store.put("a", b"1")
        await behind.delete("a")
        behind.delay = lambda verb: 0.1 if verb == "range" else 0.0
        assert (await store.get("a")).value == b"1"
        assert await store.delete("a") == 0
        assert await store.get("a") is None

    run(test)


def test_what_a_watch_has_told_is_not_hidden_afterwards():
    """Whoever follows a key and reads it then sees no earlier value."""

    async def test(store, behind, clock):
        since = await store.put("a/b", b"1")
        await store.range("a/")
        await behind.put("a/b", b"2")
        behind.delay = lambda verb: 0.1
        assert (await store.get("a/b")).value == b"1"
        async with aclosing(store.watch("a/", since=since)) as events:
            assert (await anext(events)).value == b"2"
        assert (await store.get("a/b")).value == b"2"
        assert (await store.range("a/")).entries["a/b"].value == b"2"

    run(test)


def test_a_lease_that_is_over_takes_what_is_known_along():
    """Of what was put with it here."""

    async def test(store, behind, clock):
        async with await store.lease(10.0) as lease:
            await store.put("a", b"1", lease=lease)
            behind.delay = lambda verb: 0.1
            assert (await store.get("a")).value == b"1"
        assert await store.get("a") is None

    run(test)


@pytest.mark.parametrize("verb", ["put", "renew"])
def test_who_hears_that_a_lease_is_over_sees_nothing_of_it(verb):
    """Nor does anybody else here: it had ended by time, without a word."""

    async def test(store, behind, clock):
        lease = await store.lease(10.0)
        await store.put("a", b"1", lease=lease)
        behind.delay = lambda verb: 0.1
        assert (await store.get("a")).value == b"1"
        await lease.behind.release()  # as time would
        with pytest.raises(LeaseEnded):
            await (store.put("b", b"2", lease=lease) if verb == "put" else lease.renew())
        assert await store.get("a") is None

    run(test)


def test_a_caller_who_leaves_takes_the_question_along():
    """Nothing goes on for nobody, and nothing is broken by it."""

    async def test(store, behind, clock):
        behind.fail("hung")
        asking = asyncio.ensure_future(store.get("a"))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await alone()
        behind.mend()
        assert await store.get("a") is None

    run(test)


@pytest.mark.parametrize("how", ["cut off", "hung"])
def test_a_closed_one_serves_nothing(how):
    """Not even what it knows; and whoever waits is told."""

    async def test(store, behind, clock):
        await store.put("a", b"1")
        behind.fail(how)
        assert await store.get("a")
        await store.close()
        for verb in (store.get("a"), store.range(), store.put("a", b"2"), store.delete("a"), store.lease(1.0)):
            with pytest.raises(Unavailable, match="closed"):
                await verb

    run(test)


def test_a_loop_that_ended_with_a_question_under_way_keeps_nobody_from_asking():
    """A store is used by several, and each may go at any time."""
    behind, clock = Weather(), FakeClock()
    store = CachingStore(behind, clock=clock, patience=0.0, staleness=1e6)

    async def ask():
        return (await store.get("a")).value

    asyncio.run(store.put("a", b"1"))
    behind.delay = lambda verb: 3600.0
    ended = []
    threads = [threading.Thread(target=lambda: ended.append(asyncio.run(ask()))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert ended == [b"1"] * 9
    behind.delay = lambda verb: 0.0
    asyncio.run(MemoryStore.put(behind, "a", b"2"))

    async def renewed():
        while (await store.get("a")).value != b"2":  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(renewed(), PATIENCE))
    asyncio.run(store.close())


@pytest.mark.parametrize(
    "wrong", [{"staleness": -1.0}, {"patience": float("nan")}, {"size": -5}, {"patience": float("inf")}]
)
def test_numbers_that_cannot_be_are_refused(wrong):
    """By their names."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is a number from 0 on"):
        CachingStore(MemoryStore(), **wrong)


# --- What is kept -----------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes_first():
    """As many as fit into the bytes; what does not fit at all is not kept, and is read from the store."""

    async def test(store, behind, clock):
        for key in ("a", "b", "c", "d"):
            await behind.put(key, bytes(1_000))
            await store.get(key)
            await store.get("a")
        await behind.put("large", bytes(10_000))
        assert len((await store.get("large")).value) == 10_000
        assert store.stats().size <= 4_500
        behind.fail("cut off")
        for key in ("a", "c", "d"):
            assert len((await store.get(key)).value) == 1_000
        for key in ("b", "large"):
            with pytest.raises(Unavailable):
                await store.get(key)

    run(test, size=4_500)


_KEYS = st.sampled_from(["a", "a/b", "a/b/c", "b"])
_PREFIXES = st.sampled_from(["", "a/", "a/b/", "a", "a/b", "a/b/c", "b"])


@settings(deadline=None)
@given(st.data())
def test_no_answer_that_is_kept_is_older_than_what_was_written_under_it(data):
    """Whatever comes first: questions, their answers, writes."""
    size = data.draw(st.sampled_from([2_000, 1_000_000]))
    known, revision, asked, truth, newest = Known(size), 0, [], {}, {}
    for _ in range(data.draw(st.integers(1, 30))):
        step = data.draw(st.sampled_from(["ask", "answer", "write", "lose"]))
        if step == "ask":
            revision += 1  # elsewhere
            prefix = data.draw(_PREFIXES)
            held = {key: there for key, there in truth.items() if within(key, prefix)}
            asked.append((known.ask(prefix, 0.0), Range(held, revision)))
        elif step == "write":
            key, revision = data.draw(_KEYS), revision + 1
            truth[key] = Stored(bytes(data.draw(st.integers(0, 900))), revision)
            known.changed(key, revision)
        elif asked:
            question, found = asked.pop(data.draw(st.integers(0, len(asked) - 1)))
            known.answered(question, found if step == "answer" else None)
        assert 0 <= known.size <= size
        for prefix in ("", "a/", "a/b/", "a", "a/b", "a/b/c", "b"):
            answer = known.find(prefix)
            if answer is not None and size > 2_000:  # else a later one may have had to go
                assert newest.get(prefix, 0) <= answer.found.revision
                newest[prefix] = answer.found.revision
            for key, there in truth.items():
                if answer is not None and within(key, prefix):
                    assert answer.found.entries[key] == there


# --- Optimistic writing -----------------------------------------------------------------------------------------------


def test_updates_of_many_threads_all_count():
    """Whoever meets another reads again."""
    store = CachingStore(MemoryStore())

    async def add():
        await asyncio.gather(
            *(update(store, "n", lambda old: b"%d" % (int(old or 0) + 1)) for _ in range(20)),
        )

    threads = [threading.Thread(target=lambda: asyncio.run(add())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert asyncio.run(store.get("n")).value == b"80"
    asyncio.run(store.close())


def test_what_a_change_raises_is_raised_and_nothing_is_written():
    """It is the caller's."""

    async def test(store, behind, clock):
        def refuse(old):
            raise LookupError(old)

        with pytest.raises(LookupError):
            await update(store, "a", refuse)
        assert await store.get("a") is None

    run(test)
