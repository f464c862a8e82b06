"""The registry under real threads: readers never wait for a writer and never see half a transaction."""

import threading

import pytest

from jackfield import Host, hookimpl

pytestmark = pytest.mark.concurrency


def one():
    return 1


def test_readers_never_see_half_a_transaction():
    """Two functions that come and go in one transaction are always there together or not at all."""
    torn = []
    with Host(observers=()) as host:
        done = threading.Event()

        def read():
            while not done.is_set():
                functions = host.snapshot.functions
                if ("left" in functions) != ("right" in functions):
                    torn.append(dict(functions))

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for _ in range(100):
            with host.update() as tx:
                tx.register("left", one)
                tx.register("right", one)
            with host.update() as tx:
                tx.unregister("left")
                tx.unregister("right")
        done.set()
        for reader in readers:
            reader.join()
    assert torn == []


def test_nobody_waits_for_a_writer_that_is_held_up():
    """While a writer sits in the middle of a transaction, calls go on, and so do other writers."""
    entered, release = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def jackfield_register(self, function):
            if function.name == "slow":
                entered.set()
                release.wait(10)

    with Host(observers=()) as host:
        host.add_hooks(Slow())
        host.register("one", one)
        writer = threading.Thread(target=lambda: host.register("slow", one))
        writer.start()
        entered.wait(10)
        assert host.call("one") == 1
        host.register("quick", one)
        assert host.call("quick") == 1
        release.set()
        writer.join(10)
        assert {"quick", "slow"} <= host.snapshot.functions.keys()


def test_concurrent_writers_lose_no_registration():
    """Eight threads that register a hundred functions each end with eight hundred, one revision each."""
    with Host(observers=()) as host:
        first = host.snapshot.revision

        def write(number):
            for index in range(100):
                host.register(f"f{number}.g{index}", one)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(host.snapshot.functions) == 800
        assert host.snapshot.revision == first + 800
