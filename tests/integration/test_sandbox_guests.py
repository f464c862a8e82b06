"""Guests that import, compute, read, write and connect as far as granted; and guests that would do harm."""

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest

from jackfield.sandbox.cgroups import Budget, find
from jackfield.sandbox.memory import Growth, Lines, Reader, Verdict
from jackfield.sandbox.port import Limits, Tier
from jackfield.sandbox.probing import probe, runtime_paths

if sys.platform != "linux":
    pytest.skip("sandboxes are Linux's", allow_module_level=True)

from jackfield.sandbox.scheduling import is_idle, make_idle
from jackfield.sandbox.starting import guest_of, seen
from jackfield.sandbox.tiers.oci import sweep
from support.guests import Guest
from support.nobody import as_nobody, interpreter_for_nobody

ENTER = "enter_stage_one(confinement); enter_stage_two(confinement)\n"
TRY = """
import errno
def tried(work):
    try:
        result = work()
    except OSError as error:
        return errno.errorcode.get(error.errno)
    except BaseException as error:
        return type(error).__name__
    return result if isinstance(result, (int, str)) else "done"
"""


@pytest.fixture(params=list(Tier), ids=str)
def tier(request):
    """Each tier that can be had here."""
    if reason := probe(request.param).reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def wait():
    """Wait until something holds: `wait(lambda: …)`."""

    def until(holds, within=20.0):
        end = monotonic() + within
        pause = socket.socketpair()
        with pause[0], pause[1]:
            pause[0].settimeout(0.005)
            while not holds():
                assert monotonic() < end, "it never held"
                with pytest.raises(TimeoutError):
                    pause[0].recv(1)

    return until


@pytest.mark.slow
def test_a_guest_works(tier):
    """It imports lazily, has threads, sleeps and reads its library in stage two; nothing of this system is its own."""
    code = ENTER + (
        "import colorsys, csv, decimal, threading, time, zoneinfo\n"
        "came = []\n"
        "threads = [threading.Thread(target=came.append, args=(number,)) for number in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "time.sleep(0.001)\n"
        "tell([sorted(came), str(zoneinfo.ZoneInfo('Europe/Berlin')), sorted(os.environ)])\n"
    )
    with Guest(tier, code) as guest:
        came, zone, variables = guest.hear()
        assert guest.wait() == 0
    assert came == list(range(8))
    assert zone == "Europe/Berlin"
    assert (
        {"LANG", "PATH", "OMP_NUM_THREADS"}
        <= set(variables)
        <= {
            "LANG",
            "LC_CTYPE",
            "PATH",
            "PWD",
            "HOME",
            "MALLOC_ARENA_MAX",
            *(f"{library}_NUM_THREADS" for library in ("MKL", "NUMEXPR", "OMP", "OPENBLAS")),
        }
    )


@pytest.mark.slow
def test_a_guest_gets_its_descriptors_and_no_other(tier):
    """Whatever the host has open, inheritable even, a guest has its first three and those that are meant for it."""
    code = TRY + "null = os.stat(os.devnull).st_rdev\n"
    code += "is_null = lambda each: os.stat(each).st_rdev == null and 1\n"
    code += "tell([[each for each in range(3, 256) if tried(lambda: is_null(each)) == 1], tried(lambda: os.fstat(3))])"
    with ExitStack() as opened:
        for _ in range(20):
            os.set_inheritable(opened.enter_context(Path(os.devnull).open("rb")).fileno(), True)  # noqa: FBT003  # its only form
        with Guest(tier, code) as guest:
            assert guest.hear() == [[], "done"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not installed")
@pytest.mark.parametrize("eager", [False, True])
def test_numpy_is_imported_in_stage_one_and_computes_in_stage_two(tier, eager):
    """With the calls of each list, within 512 MiB, and with one thread, so that it can be forked from."""
    code = (
        "enter_stage_one(confinement)\n"
        "import numpy, numpy.fft, numpy.linalg, numpy.random\n"
        "from jackfield.sandbox.kernel import tasks\n"
        "tell(tasks())\n"
        "enter_stage_two(confinement)\n"
        "square = numpy.arange(250_000.0).reshape(500, 500)\n"
        "values = numpy.linalg.eigvals(square @ square.T + numpy.eye(500))\n"
        "tell([float(square.sum()), len(values), int(numpy.random.default_rng(1).integers(9))])\n"
        "tell(numpy.fft.fft(numpy.ones(8)).real.tolist())\n"
    )
    paths = runtime_paths(["numpy"])
    code = f"sys.path[:0] = {list(paths)!r}\n" + code
    with Guest(tier, code, environment=paths, eager=eager, limits=Limits(memory=1 << 29, open_files=64)) as guest:
        assert guest.hear() == 1
        total, count, _ = guest.hear()
        assert (total, count) == (250_000 * 249_999 / 2, 500)
        assert guest.hear() == [8.0, *[0.0] * 7]
        assert guest.wait() == 0


@pytest.mark.slow
def test_a_stage_is_entered_with_one_thread_only():
    """A thread that was there before would stay outside: it is refused, and told how many there are."""
    code = (
        "import threading\n"
        "from jackfield.errors import Unavailable\n"
        "event = threading.Event(); threading.Thread(target=event.wait).start()\n"
        "try: enter_stage_one(confinement)\n"
        "except Unavailable as error: tell(str(error))\n"
        "tell(open('/etc/passwd').readable())\n"
        "event.set()\n"
    )
    with Guest(Tier.SELF, code) as guest:
        assert "this process has 2 threads" in guest.hear()
        assert guest.hear() is True, "nothing was done to it"


@pytest.mark.slow
def test_the_stages_are_seen_from_outside(tier):
    """The kernel says how many filters a guest has, whatever the guest says."""
    code = "tell(0); channel.recv(1); enter_stage_one(confinement); tell(1); channel.recv(1)\n"
    code += "enter_stage_two(confinement); tell(2); channel.recv(1)\n"
    with Guest(tier, code) as guest:
        filters = []
        for stage in range(3):
            assert guest.hear() == stage
            filters.append(seen(guest_of(guest.pid, tier)))
            guest.answer()
        assert guest.wait() == 0
    around = filters[0].filters
    assert [each.filters - around for each in filters] == [0, 1, 2]
    assert filters[1].no_new_privileges
    assert filters[2].threads == 1


@pytest.mark.slow
def test_stage_two_needs_stage_one_and_is_entered_once():
    """A second time it is refused, in words."""
    code = ENTER + (
        "from jackfield.errors import Unavailable\n"
        "try: enter_stage_two(confinement)\n"
        "except Unavailable as error: tell(str(error))\n"
    )
    with Guest(Tier.SELF, code) as guest:
        assert "stage two has been entered" in guest.hear()


@pytest.mark.slow
def test_a_guest_that_is_stopped_goes_on(wait):
    """SIGSTOP amid a sleep, a lock or a poll: the kernel restarts these by a call of its own, which EPERM would break."""
    code = ENTER + (
        "import select, threading, time\n"
        "tell('in')\n"
        "lock = threading.Lock(); lock.acquire()\n"
        "def polled(): poll = select.poll(); poll.poll(300)\n"
        "for wait in (lambda: time.sleep(0.3), lambda: lock.acquire(timeout=0.3), polled, lambda: select.epoll().poll(0.3)):\n"
        "    wait()\n"
        "tell('out')\n"
    )
    with Guest(Tier.SELF, code) as guest:
        assert guest.hear() == "in"
        for _ in range(30):
            os.kill(guest.pid, signal.SIGSTOP)
            wait(lambda: state(guest.pid) in "TZ")
            os.kill(guest.pid, signal.SIGCONT)
            end = monotonic() + 0.05
            wait(lambda end=end: monotonic() > end)
        assert guest.hear() == "out"
        assert guest.wait() == 0


def state(pid):
    """Give the letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


@pytest.mark.slow
def test_a_network_is_the_ports_that_were_granted(tier):
    """TCP to those, and nothing else: no other port, no UDP, no other protocol, no connecting by sending, no listening."""
    code = (
        TRY
        + ENTER
        + (
            "tell(['ready']); granted, other = json.loads(channel.recv(100))\n"
            "def connected(port): socket.create_connection(('127.0.0.1', port), 5).close()\n"
            "def fast():\n"
            "    with socket.socket() as made: made.sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', other))\n"
            "def listening():\n"
            "    with socket.socket() as made: made.bind(('127.0.0.1', 0))\n"
            "tell([tried(lambda: connected(granted)), tried(lambda: connected(other)), tried(fast), tried(listening),\n"
            "      tried(lambda: socket.socket(type=socket.SOCK_DGRAM).close()),\n"
            "      tried(lambda: socket.socket(proto=262).close()), tried(lambda: socket.socket(socket.AF_UNIX).close())])\n"
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as granted, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (granted, other)]
        with Guest(tier, code, ports=ports[:1]) as guest:
            assert guest.confinement.ports == tuple(sorted((53, ports[0])))
            guest.hear()
            guest.answer(str(ports).encode())
            assert guest.hear() == ["done", "EACCES", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM"]
        with Guest(tier, code, ports=()) as guest:
            guest.hear()
            guest.answer(str(ports).encode())
            assert guest.hear() == ["done", "done", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM"]


@pytest.mark.slow
def test_a_grant_to_write_ends_at_its_folder(tier, tmp_path):
    """Files, folders and a database in there; outside neither writing nor emptying; and no modes anywhere."""
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    outside.mkdir()
    (outside / "file").write_text("kept", "utf-8")
    code = (
        TRY
        + ENTER
        + (
            f"outside = {str(outside)!r}\n"
            "import shutil, sqlite3, tempfile\n"
            "def files():\n"
            "    os.mkdir('folder'); open('folder/one', 'w').write('x' * 10); os.replace('folder/one', 'two')\n"
            "    assert open('two').read() == 'x' * 10\n"
            "    with tempfile.TemporaryFile() as file: file.write(b'y'); file.truncate(0)\n"
            "    shutil.rmtree('folder'); os.unlink('two')\n"
            "def database():\n"
            "    with sqlite3.connect('data.db') as made: made.execute('create table t (n)'); made.execute('insert into t values (1)')\n"
            "    return made.execute('select n from t').fetchone()[0]\n"
            "tell([tried(files), tried(database), tried(lambda: open(outside + '/new', 'w')), tried(lambda: open(outside + '/file', 'w')),\n"
            "      tried(lambda: os.open(outside + '/file', os.O_RDONLY | os.O_TRUNC)), tried(lambda: os.rename('data.db', outside + '/d')),\n"
            "      tried(lambda: os.chmod('data.db', 0o777)), tried(lambda: os.symlink('/etc', 'etc')), tried(lambda: os.mkfifo('fifo'))])\n"
        )
    )
    with Guest(tier, code, scratch=str(scratch)) as guest:
        *inside, new, written, emptied, moved, mode, link, fifo = guest.hear()
    assert inside == ["done", 1]
    assert {new, written, emptied} <= {"EACCES", "ENOENT"}
    assert moved in {"EACCES", "ENOENT", "EXDEV"}
    assert (mode, link, fifo) == ("EPERM", "EPERM", "EPERM")
    assert (outside / "file").read_text("utf-8") == "kept"
    assert list(outside.iterdir()) == [outside / "file"]
    assert (scratch / "data.db").exists()


@pytest.mark.slow
def test_a_grant_to_read_is_for_reading(tier, tmp_path):
    """What is granted can be read and listed, what is beside it not."""
    for name in ("granted", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, "utf-8")
    code = (
        TRY
        + ENTER
        + (
            f"folder = {str(tmp_path)!r}\n"
            "tell([open(folder + '/granted/file').read(), os.listdir(folder + '/granted'), tried(lambda: open(folder + '/beside/file')),\n"
            "      tried(lambda: open(folder + '/granted/file', 'w'))])\n"
        )
    )
    with Guest(tier, code, read=[str(tmp_path / "granted")]) as guest:
        read, listed, beside, written = guest.hear()
    assert (read, listed, written) == ("granted", ["file"], "EPERM")
    assert beside in {"EACCES", "ENOENT"}


@pytest.mark.slow
def test_memory_past_the_limit_is_a_memory_error(tier):
    """The guest lives on, and has what it had."""
    code = TRY + ENTER + "tell([tried(lambda: bytearray(1 << 30)), tried(lambda: len(bytearray(1 << 20)))])"
    with Guest(tier, code, limits=Limits(memory=1 << 28)) as guest:
        assert guest.hear() == ["MemoryError", 1 << 20]


@pytest.mark.slow
def test_where_there_is_no_tier_there_are_limits():
    """What macOS gets: rlimits, and a word on what nothing holds."""
    code = TRY + (
        "from jackfield.sandbox.enter import enter_limits\n"
        "notes = enter_limits(confinement.limits)\n"
        "tell([len(notes), notes[0], tried(lambda: bytearray(1 << 30))])\n"
    )
    with Guest(Tier.SELF, code, limits=Limits(memory=1 << 28)) as guest:
        count, note, allocated = guest.hear()
    assert (count, allocated) == (1, "MemoryError")
    assert "nothing holds files, network and system calls" in note


@pytest.mark.slow
def test_threads_without_end_are_refused_and_the_guest_lives_on(tier):
    """What its memory allows is the bound where no cgroup is."""
    code = (
        TRY
        + ENTER
        + (
            "import threading\n"
            "event, threads = threading.Event(), []\n"
            "def exhaust():\n"
            "    while True:\n"
            "        thread = threading.Thread(target=event.wait); thread.start(); threads.append(thread)\n"
            "tell(tried(exhaust)); event.set(); [thread.join() for thread in threads]; tell(len(threads) < 200)\n"
        )
    )
    with Guest(tier, code, limits=Limits(memory=1 << 28, pids=64)) as guest:
        assert guest.hear() in {"RuntimeError", "MemoryError"}
        assert guest.hear() is True
        assert guest.wait() == 0


@pytest.mark.slow
def test_a_zygote_forks_and_its_children_enter_stage_two():
    """It forks in stage one as often as it likes; its children cannot, and die with it."""
    code = TRY + (
        "enter_stage_one(confinement)\n"
        "import decimal\n"
        "from jackfield.sandbox.kernel import tasks\n"
        "assert tasks() == 1\n"
        "pids = []\n"
        "for _ in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        enter_stage_two(confinement)\n"
        "        tell([tried(os.fork), tried(lambda: open('/etc/passwd')), tried(lambda: os.kill(os.getppid(), 0)), os.getpid()])\n"
        "        channel.recv(1)\n"
        "        os._exit(0)\n"
        "    descriptor = os.pidfd_open(pid); os.close(descriptor); pids.append(pid)\n"
        "tell(pids)\n"
        "os.waitpid(pids[0], 0)\n"
    )
    with Guest(Tier.SELF, code, forks=True) as guest:
        heard = [guest.hear() for _ in range(4)]
        pids = next(each for each in heard if each and isinstance(each[0], int))
        assert sorted(each[3] for each in heard if each is not pids) == sorted(pids)
        assert all(each[:3] == ["EPERM", "EACCES", "EPERM"] for each in heard if each is not pids)
        os.kill(guest.pid, signal.SIGKILL)
        with pytest.raises(EOFError):
            guest.hear()  # the last that has the channel open is gone


@pytest.mark.slow
def test_a_bomb_of_forks_ends_with_its_group():
    """A zygote's import may fork: a cgroup bounds how often, and one signal ends all of it."""
    groups = find()
    if "pids" not in groups.homes:
        pytest.skip(groups.missing["pids"])
    code = (
        "tell('here'); channel.recv(1)\n"
        "enter_stage_one(confinement)\n"
        "import itertools\n"
        "def bomb():\n"
        "    for count in itertools.count():\n"
        "        try: os.fork()\n"
        "        except OSError as error: return error.errno\n"
        "tell(bomb())\n"
        "while True: channel.recv(1)\n"
    )
    group = groups.make(f"jackfield-test-{os.getpid()}", Budget(pids=50))
    try:
        with Guest(Tier.SELF, code, forks=True) as guest:
            guest.hear()
            group.add(guest.pid)
            guest.answer()
            assert guest.hear() == 11  # EAGAIN
            assert len(group.processes()) <= 50
            assert subprocess.run(["/bin/true"], check=False).returncode == 0
            os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()
    finally:
        group.remove()
    assert group.processes() == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    [
        "os.closerange(0, 256)",
        "os._exit(3)",
        "import ctypes; ctypes.string_at(0)",
        "os.abort()",
        "sys.stdout = None; channel.close(); os.close(1); os.close(2)",
    ],
)
def test_a_guest_that_ends_itself_is_seen_at_once(harm):
    """Its channel ends; whoever reads that needs no time limit."""
    with Guest(Tier.SELF, ENTER + "tell('in')\n" + harm) as guest:
        assert guest.hear() == "in"
        with pytest.raises(EOFError):
            guest.hear()


@pytest.mark.slow
def test_a_guest_that_ignores_every_signal_is_killed(tier, wait):
    """It has switched off what it can; SIGKILL to its group ends it."""
    code = ENTER + (
        "import signal\n"
        "for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try: signal.signal(each, signal.SIG_IGN)\n"
        "    except OSError: pass\n"
        "tell('in')\n"
        "while True: pass\n"
    )
    with Guest(tier, code) as guest:
        assert guest.hear() == "in"
        inside = guest_of(guest.pid, tier)
        os.killpg(guest.pid, signal.SIGKILL)
        assert guest.wait() == -signal.SIGKILL
        with pytest.raises(EOFError):
            guest.hear()
        wait(lambda: not Path(f"/proc/{inside}").exists() or state(inside) == "Z")


@pytest.mark.slow
def test_a_guest_dies_with_the_thread_that_started_it(tier, tmp_path, monkeypatch):
    """Nobody is left when the host is killed, however busy the guest."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = ENTER + "tell('in')\nwhile True: pass\n"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            guest = Guest(tier, code)
            guest.hear()
            os.write(writer, f"{guest_of(guest.pid, tier)} {guest.launch.argv[-1]}\n".encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        number, name = told.readline().decode().split(" ", 1)
        inside, name = int(number), name.strip()
        descriptor = os.pidfd_open(inside)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(20_000), "it lives on"
        os.close(descriptor)
    if tier is Tier.OCI:
        assert sweep(older=0) >= 1, "what it left is found by the next host"
        assert sweep(older=0) == 0
        assert not [each for each in Path("/sys/fs/cgroup").glob("*/jackfield-*") if name in each.name]


@pytest.mark.slow
def test_a_sweep_leaves_what_runs(tmp_path, monkeypatch):
    """A container that runs keeps its bundle, however old."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if reason := probe(Tier.OCI).reason:
        pytest.skip(reason)
    with Guest(Tier.OCI, ENTER + "tell('in'); channel.recv(1); tell('out')") as guest:
        guest.hear()
        sweep(older=0)
        assert Path(guest.launch.folder).exists()
        guest.answer()
        assert guest.hear() == "out"
        guest.wait()
    assert not Path(guest.launch.folder).exists()


@pytest.mark.slow
def test_a_leak_is_seen_before_it_ends_in_a_kill():
    """The watcher's lines, on what a real process uses: first no new work, then the end."""
    code = ENTER + (
        "tell('in')\nkept = []\nwhile channel.recv(1):\n    kept.append(b'x' * (8 << 20)); tell(len(kept))\n"
    )
    with Guest(Tier.SELF, code) as guest, Reader(guest.pid) as reader:
        guest.hear()
        growth, verdicts = Growth(Lines.of(128 << 20)), []
        for second in range(20):
            verdicts.append(growth.judge(second, reader.resident()))
            guest.answer(b"x")
            guest.hear()
        changes = list(dict.fromkeys(verdicts))
        assert changes == [Verdict.FINE, Verdict.SOFT, Verdict.HARD]
        guest.mine.shutdown(socket.SHUT_WR)
        guest.wait()
        assert reader.resident() is None


@pytest.mark.slow
def test_memory_past_a_group_s_limit_ends_that_guest_alone():
    """What rlimits do not count, memory that is shared, the group does."""
    groups = find()
    if "memory" not in groups.homes:
        pytest.skip(groups.missing["memory"])
    code = (
        "tell('here'); channel.recv(1)\n" + ENTER + "import mmap\nkept = mmap.mmap(-1, 1 << 28)\ntell('mapped')\n"
        "for place in range(0, 1 << 28, 4096): kept[place] = 1\n"
        "tell('filled')\n"
    )
    group = groups.make(f"jackfield-test-{os.getpid()}", Budget(memory=1 << 26, cpu=0.5))
    try:
        with Guest(Tier.SELF, code, limits=Limits(memory=1 << 27)) as guest:
            guest.hear()
            group.add(guest.pid)
            guest.answer()
            assert guest.hear() == "mapped"
            with pytest.raises(EOFError):
                guest.hear()
            assert guest.wait() == -signal.SIGKILL
            assert group.killed() == 1
    finally:
        group.remove()


@pytest.mark.slow
def test_low_priority_cannot_be_left():
    """A guest that is made idle stays so, whatever it asks for, and so do its threads."""
    code = ENTER + "tell('in'); channel.recv(1); tell('out')"
    with Guest(Tier.SELF, code) as guest:
        guest.hear()
        assert not is_idle(guest.pid)
        make_idle(guest.pid)
        assert is_idle(guest.pid)
        guest.answer()
        assert guest.hear() == "out"


BOMB = """
import resource
enter_stage_one(confinement)
def bomb():
    for count in range(60):
        try:
            if os.fork() == 0: channel.recv(1); os._exit(0)
        except OSError as error: return [error.errno, count]
    return [0, count]
tell([*bomb(), resource.getrlimit(resource.RLIMIT_NPROC)[0]])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_tasks_are_bounded_without_a_cgroup_by_the_user_s_limit():
    """In a user namespace of its own a guest may have as many as it was given; in none, its share above what all have."""
    code = "import sys\nfrom support.guests import Guest, Tier\nfrom jackfield.sandbox.port import Limits\n"
    code += "from jackfield.sandbox.probing import probe\n"
    code += "tier = Tier(sys.argv[1])\nif probe(tier).reason: print([0, 0, 0]); sys.exit()\n"
    code += f"with Guest(tier, {BOMB!r}, forks=True, limits=Limits(pids=20)) as guest: print(guest.hear())\n"
    python = interpreter_for_nobody()
    told = {tier: json.loads(as_nobody(python, "-c", code, tier.value)) for tier in Tier}
    if any(told[Tier.NAMESPACES]):
        assert told[Tier.NAMESPACES] == [errno.EAGAIN, 19, 20]
    assert told[Tier.SELF][:2] == [0, 59]
    assert told[Tier.SELF][2] > 532
