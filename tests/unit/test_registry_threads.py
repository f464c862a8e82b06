"""The registry under real threads: readers never wait for a writer and never see half a transaction."""

import threading

import pytest

from jackfield import Host
from jackfield.registry.registry import RWLock

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


def test_readers_do_not_wait_for_a_writer_that_is_held_up():
    """While a writer sits in the middle of a transaction, look-ups and calls go on."""
    with Host(observers=()) as host:
        host.register("one", one)
        answers = []
        with host._registry.writing():
            reader = threading.Thread(target=lambda: answers.append(host.call("one")))
            reader.start()
            reader.join(10)
        assert answers == [1]


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


def test_a_waiting_writer_comes_before_new_readers():
    """A stream of multi-step readers cannot starve a writer."""
    lock = RWLock()
    order = []
    reading, release = threading.Event(), threading.Event()

    def first_reader():
        with lock.read():
            reading.set()
            release.wait(10)

    def writer():
        with lock.write():
            order.append("writer")

    def late_reader():
        with lock.read():
            order.append("reader")

    threads = [threading.Thread(target=first_reader)]
    threads[0].start()
    reading.wait(10)
    threads.append(threading.Thread(target=writer))
    threads[1].start()
    while not lock._waiting:
        pass
    threads.append(threading.Thread(target=late_reader))
    threads[2].start()
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["writer", "reader"]


def test_writing_inside_the_read_side_alone_is_refused():
    """It would wait for itself."""
    lock = RWLock()
    with lock.read(), pytest.raises(RuntimeError, match="release it"), lock.write():
        pass
    with lock.write(), lock.read(), lock.write():
        pass
