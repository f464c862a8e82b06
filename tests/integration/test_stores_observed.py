"""Metrics of stores: how long a slow one behind the port takes, what fails, and how old reads from its cache are."""

import asyncio
import random

import pytest
from prometheus_client import CollectorRegistry

from jackfield import Host, Metrics, StoreConflict, Unavailable
from jackfield.store import CachingStore, MemoryStore, SQLiteStore, urls
from jackfield.store.timed import TimedStore

PATIENCE = 30.0  # of the tests


class Faraway(MemoryStore):
    """A store over a way that takes its time, or is cut off."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self._draw = random.Random(seed)  # noqa: S311
        self.slow = self.cut = False

    async def _way(self) -> None:
        if self.slow:
            await asyncio.sleep(self._draw.uniform(0.2, 0.8))
        if self.cut:
            raise Unavailable("store", "it is cut off", "store")

    async def get(self, key, /):
        await self._way()
        return await super().get(key)

    async def range(self, prefix="", /):
        await self._way()
        return await super().range(prefix)

    async def put(self, key, value, /, *, expected=None, lease=None):
        await self._way()
        return await super().put(key, value, expected=expected, lease=lease)


def watched(store):
    registry = CollectorRegistry()
    Metrics(registry).watch_store(store.counts)
    return registry


def value(registry, name, **labels):
    return registry.get_sample_value(f"jackfield_store_{name}", labels) or 0


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.slow
def test_a_store_that_is_slow_and_then_cut_off_is_seen_in_its_metrics():
    """Writes take what they take; reads come from the cache, are counted with their age, and the store is slow."""

    async def body():
        behind = Faraway()
        store = TimedStore(CachingStore(behind))
        registry = watched(store)
        await store.put("a", b"1")
        assert (await store.get("a")).value == b"1"
        assert value(registry, "slow") == 0
        behind.slow = True
        await store.put("a", b"2")
        assert value(registry, "seconds_bucket", operation="put", le="0.1") == 1
        assert value(registry, "seconds_count", operation="put") == 2
        assert value(registry, "seconds_sum", operation="put") > 0.2
        for _ in range(5):
            assert (await store.get("a")).value == b"2"
        assert value(registry, "slow") == 1
        assert value(registry, "stale_read_seconds_count") == 5
        assert value(registry, "stale_read_seconds_sum") > 0
        assert value(registry, "seconds_count", operation="get") == 6
        behind.cut = True
        with pytest.raises(Unavailable):
            await store.put("a", b"3")
        assert value(registry, "errors_total", operation="put") == 1
        assert (await store.get("a")).value == b"2"
        assert value(registry, "errors_total", operation="get") == 0
        behind.slow = behind.cut = False
        await until(lambda: not behind.slow)
        while value(registry, "slow"):
            await store.get("a")
            await asyncio.sleep(0.01)
        await store.close()

    asyncio.run(asyncio.wait_for(body(), PATIENCE))


def test_a_conflict_is_an_answer_and_what_is_not_waited_for_is_a_failure():
    """The first is how stores work; the second is what a host sees of one that hangs."""

    class Hanging(MemoryStore):
        async def range(self, prefix="", /):
            await asyncio.Event().wait()

    async def body():
        store = TimedStore(Hanging())
        registry = watched(store)
        await store.put("a", b"1")
        with pytest.raises(StoreConflict):
            await store.put("a", b"2", expected=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.range("a/"), 0.01)
        assert value(registry, "errors_total", operation="put") == 0
        assert value(registry, "errors_total", operation="range") == 1
        assert value(registry, "seconds_count", operation="range") == 1

    asyncio.run(body())


def test_a_host_with_a_store_that_lasts_shows_it_from_start_to_start_without_counting_twice(tmp_path):
    """Counters only grow; one without has no such series."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    store = SQLiteStore(tmp_path / "jackfield.db")
    host = Host(observers=[metrics], store=store)
    host.register("text.shout", str.upper)
    seen = []
    for _ in range(3):
        with host:
            assert host.submit("text.shout", "a").result(20) == "A"
            seen.append(value(registry, "seconds_count", operation="put"))
        after = value(registry, "seconds_count", operation="put")
        assert after >= seen[-1]
        assert value(registry, "seconds_count", operation="put") == after
        seen.append(after)
    asyncio.run(store.close())
    assert seen == sorted(seen)
    assert seen[-1] < 3 * seen[1] + 20  # nothing of an earlier start was added again
    assert value(registry, "errors_total", operation="put") == 0
    bare = CollectorRegistry()
    with Host(observers=[Metrics(bare)]):
        pass
    assert bare.get_sample_value("jackfield_store_slow") is None


def test_a_store_that_an_adapter_opens_is_read_through_a_cache_and_sqlite_and_memory_are_not(tmp_path, monkeypatch):
    """One that has a cache of its own gets no second one."""
    opened = {"far": Faraway(), "near": CachingStore(Faraway())}
    monkeypatch.setattr(
        urls,
        "entry_points",
        lambda group, name: [
            type("Point", (), {"load": staticmethod(lambda: lambda url: opened[url.partition(":")[0]])})
        ],
    )
    assert isinstance(urls.store_of("far://x")(), CachingStore)
    assert urls.store_of("near://x")() is opened["near"]
    made = urls.store_of(f"sqlite:{tmp_path / 'jackfield.db'}")()
    assert type(made) is SQLiteStore
    asyncio.run(made.close())
    assert urls.store_of("memory:") is None


def test_a_slow_store_of_a_host_holds_up_no_call_and_is_seen():
    """Calls never wait for it."""
    behind = Faraway()
    registry = CollectorRegistry()
    with Host(observers=[Metrics(registry)], store=CachingStore(behind)) as host:
        host.register("text.shout", str.upper)
        assert host.submit("text.shout", "first").result(PATIENCE) == "FIRST"  # the host has read what there was
        behind.slow = True
        handle = host.submit("text.shout", "a")
        assert host.call("text.shout", "b") == "B"
        assert handle.result(PATIENCE) == "A"
        assert value(registry, "seconds_sum", operation="put") > 0.2
        behind.slow = False
