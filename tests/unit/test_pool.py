"""The elastic pool: whatever is started begins at once, once, alone in its context, and leaves no trace."""

import asyncio
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from jackfield.errors import ResourceExhausted
from jackfield.runtime.pool import Pool
from jackfield.testing import no_leaks

PATIENCE = 30.0  # seconds that only a broken pool uses up

colour: ContextVar[str] = ContextVar("colour", default="none")


def _together(pool, count):
    together = threading.Barrier(count + 1)
    for _ in range(count):
        pool.start("together", lambda: together.wait(PATIENCE))
    together.wait(PATIENCE)


def test_whatever_hangs_holds_up_nobody():
    """There is no bound: a hundred that wait for one another all have a thread; those that idle as well as new ones."""
    pool = Pool()
    for count in (100, 100, 20, 150):
        _together(pool, count)


def test_a_job_for_which_there_is_no_thread_is_not_begun(monkeypatch):
    """Whoever starts it hears that, and those that were started before and are after it go on."""
    pool, ran, free = Pool(), [], threading.Event()

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    pool.start("held", lambda: free.wait(PATIENCE))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ResourceExhausted, match="can't start new thread"):
            pool.start("refused", lambda: ran.append("refused"))
    _together(pool, 3)
    free.set()
    _together(pool, 4)
    assert not ran


def test_each_job_runs_exactly_once_whoever_starts_it():
    """Threads that start, end and are used again at the same time lose nothing and repeat nothing."""
    pool, lock, ran, ended = Pool(), threading.Lock(), [], threading.Semaphore(0)

    def job(number):
        with lock:
            ran.append(number)
        ended.release()

    def begin(author):
        for n in range(200):
            pool.start("job", lambda number=(author, n): job(number))

    authors = [threading.Thread(target=begin, args=(author,)) for author in range(8)]
    for author in authors:
        author.start()
    for author in authors:
        author.join()
    for _ in range(1600):
        assert ended.acquire(timeout=PATIENCE)
    assert sorted(ran) == [(author, n) for author in range(8) for n in range(200)]


def test_a_thread_is_used_again_and_nothing_of_the_last_job_is_left():
    """Neither its name nor its context variables."""
    pool = Pool()

    def look():
        seen = threading.get_ident(), threading.current_thread().name, colour.get()
        colour.set("red")
        return seen

    async def main():
        return [await pool.run(name, look) for name in ("first", "second")]

    token = colour.set("blue")
    try:
        (first, *of_first), (second, *of_second) = asyncio.run(main())
    finally:
        colour.reset(token)
    assert of_first == ["first", "none"]
    assert of_second == ["second", "none"]
    assert isinstance(first, int)
    assert isinstance(second, int)


def test_what_a_job_raises_reaches_whoever_awaits_it():
    """SystemExit included; the thread goes on serving."""
    pool = Pool()

    def leave():
        raise SystemExit(3)

    async def main():
        try:
            await pool.run("leave", leave)
        except SystemExit as error:
            return error.code, await pool.run("stay", lambda: "here")
        return None

    assert asyncio.run(main()) == (3, "here")


@pytest.mark.parametrize("count", [1, 20])
def test_idle_threads_end(count):
    """A pool that has nothing to do has no threads."""
    with no_leaks():
        pool = Pool()
        for _ in range(count):
            pool.start("soon", int)


def test_nothing_that_hangs_keeps_the_interpreter_from_ending():
    """A call that is stuck in a thread, one in a coroutine, and idle threads: the script ends when it is through."""
    script = """
import asyncio, threading
from jackfield import DeadlineExceeded, Host, function
begun = threading.Semaphore(0)

@function(executor="thread")
def stuck() -> None:
    begun.release()
    threading.Event().wait()

async def astuck() -> None:
    begun.release()
    await asyncio.Event().wait()

host = Host(observers=())
host.start()
for each in (stuck, astuck):
    host.register(each.__name__, each)
    threading.Thread(target=host.call, args=(each.__name__,), daemon=True).start()
    assert begun.acquire(timeout=30)
host.register("quick", function(executor="thread")(lambda: 1))
assert host.call("quick") == 1
"""
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", script], timeout=100, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
