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
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3_000_000, resource.RLIM_INFINITY))
errors = [attempt(lambda: host.call(name, n)) for n in range(45) for name in ("threaded", "awaited")]
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

print({type(error).__name__ for error in errors}, ran)
print(sorted({str(error).partition(":")[0] for error in errors}))
stats = host.executors["thread"]
print(stats.enqueued, stats.rejected, stats.pending, stats.busy)
print(host.call("threaded", 1), host.call("awaited", 2), asyncio.run(host.acall("threaded", 3)), ran)
host.stop()
"""


PLUGIN = """
import pathlib, resource, signal, sys, tempfile, threading
from jackfield import Host, PluginError
from loguru import logger
logger.remove()

folder = pathlib.Path(tempfile.mkdtemp())
source = "class P:\\n    def stop(self): print('stopped')\\n    def f(self): return 1\\n"
(folder / "p.py").write_text(source)
config = '[[plugin]]\\nname = "p"\\npath = "./p.py:P"\\nstop_timeout = %s\\n' % sys.argv[1]
config += '[plugin.functions]\\n"p.f" = "f"\\n'
(folder / "jackfield.toml").write_text(config)
host = Host.from_config(folder / "jackfield.toml", observers=())
host.start()
host.call("p.f")
while any(thread.name == "jackfield-idle" for thread in threading.enumerate()):
    threading.Event().wait(0.01)

def free(*_):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

signal.signal(signal.SIGALRM, free)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3_000_000, resource.RLIM_INFINITY))
try:
    while True:  # the stacks of threads that have ended are used again
        threading.Thread(target=threading.Event().wait, daemon=True).start()
except (RuntimeError, MemoryError):
    pass
if sys.argv[2] == "soon":
    signal.setitimer(signal.ITIMER_REAL, 0.5)
print(host.stop_plugin("p").state)
free()
print(host.start_plugin("p").state, host.call("p.f"))
host.stop()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize(
    ("stop_timeout", "threads", "said"),
    [
        ("60", "soon", ["stopped", "stopped", "running 1", "stopped"]),
        ("0.3", "late", ["failed", "stopped", "running 1", "stopped"]),
    ],
)
def test_a_stop_waits_for_a_thread_and_is_made_up_for_by_the_next_start(stop_timeout, threads, said):
    """Within its time; else the plugin has failed, and its old object is stopped before a new one starts."""
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", PLUGIN, stop_timeout, threads], timeout=100, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == said


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
