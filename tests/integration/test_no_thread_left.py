"""A system that gives no more threads: an error that says so, nothing that runs later, and all is well when it does."""

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, resource, threading
from jackfield import Host, ResourceExhausted, function
from loguru import logger
logger.remove()

ran, handled = [], threading.Event()
class Event: ...

@function(executor="thread")
def threaded(number: int) -> int:
    ran.append(number)
    return number

async def awaited(number: int) -> int:
    ran.append(number)
    return number

def attempt(body):
    try:
        body()
    except BaseException as error:
        return error

host = Host(observers=())
host.start()
for each in (threaded, awaited):
    host.register(each.__name__, each)

pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3_000_000, -1))
errors = [attempt(lambda: host.call(name, n)) for n in range(45) for name in ("threaded", "awaited")]
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

print({type(error).__name__ for error in errors}, ran)
print(sorted({str(error).partition(":")[0] for error in errors}))
stats = host.executors["thread"]
print(stats.enqueued, stats.rejected, stats.pending, stats.busy)
print(host.call("threaded", 1), host.call("awaited", 2), asyncio.run(host.acall("threaded", 3)), ran)
host.stop()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_calls_get_resource_exhausted_never_run_later_and_work_again():
    """Threads of the pool and that of the home loop; the counts stay right though 45 of each could not be had."""
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", SCRIPT], timeout=100, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "{'ResourceExhausted'} []",
        "['awaited', 'threaded']",
        "0 45 0 0",
        "1 2 3 [1, 2, 3]",
    ]
