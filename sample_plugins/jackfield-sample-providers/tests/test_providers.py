"""What other people's functions get, when this package is installed."""

import threading

import pytest
from dogpile.cache import CacheRegion
from jackfield_sample_providers import cache
from loguru import logger

from jackfield import Host, Logger, inject


@pytest.fixture
def host():
    with Host.discover() as host:
        yield host


def test_all_functions_share_one_cache(host):
    """What one function stores another one finds, from any thread."""

    def put(key: str, *, cache: CacheRegion = inject()) -> None:
        cache.set(key, "stored")

    def find(key: str, *, cache: CacheRegion = inject()) -> str:
        return cache.get(key)

    host.register("demo.put", put)
    host.register("demo.find", find)
    thread = threading.Thread(target=host.call, args=("demo.put", "a"))
    thread.start()
    thread.join()
    assert host.call("demo.find", "a") == "stored"


def test_two_hosts_share_nothing():
    """A singleton belongs to its host."""

    def identity(*, cache: CacheRegion = inject()) -> CacheRegion:
        return cache

    regions = []
    for _ in range(2):
        with Host.discover() as host:
            host.register("demo.identity", identity)
            regions.append(host.call("demo.identity"))
    assert regions[0] is not regions[1]


def test_one_of_many_callers_computes_a_missing_value():
    """Sixteen threads that miss at once cost one computation."""
    region, together, computed = cache(), threading.Barrier(16), []

    def compute():
        computed.append(1)
        return "value"

    def look_up():
        together.wait(10)
        assert region.get_or_create("key", compute) == "value"

    threads = [threading.Thread(target=look_up) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computed == [1]


def test_the_application_s_logger_says_where_it_runs(host, monkeypatch):
    """The record has the environment, and the function that wrote it."""
    monkeypatch.setenv("JACKFIELD_SAMPLE_ENVIRONMENT", "staging")

    def greet(name: str, *, log: Logger = inject(name="app-logger")) -> None:
        log.info("greeted", name=name)

    records = []
    sink = logger.add(
        lambda message: records.append(message.record), filter=lambda record: record["message"] == "greeted"
    )
    try:
        host.register("demo.greet", greet)
        host.call("demo.greet", "Ada")
    finally:
        logger.remove(sink)
    assert [(record["extra"]["environment"], record["extra"]["func_name"]) for record in records] == [
        ("staging", "demo.greet")
    ]


def test_the_unnamed_logger_remains_the_host_s_own(host):
    """A named provider takes nothing from those who ask without a name."""

    def plain(*, log: Logger = inject()) -> str:
        return repr(log)

    host.register("demo.plain", plain)
    assert "sample-providers" not in host.call("demo.plain")
