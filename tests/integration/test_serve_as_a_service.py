"""`pluginctl serve` as a service: what ends it, what it needs of its streams, and what no plugin can take from it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from time import monotonic, sleep

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="control sockets are Unix sockets")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or speaks to systemd")

has_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")

PATIENCE = 60.0  # seconds that only a broken host uses up


class Service:
    """One `pluginctl serve` of one plugin, `plug`, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.short = tempfile.TemporaryDirectory(prefix="jf-")  # a socket's path may have a hundred bytes only
        self.env = {**os.environ, "JACKFIELD_CONTROL": f"{self.short.name}/c.sock", "NO_COLOR": "1"}
        self.process = None
        self.stderr = folder / "stderr"

    def plug(self, code, more="", import_in="thread"):
        (self.folder / "plug.py").write_text(textwrap.dedent(code), encoding="utf-8")
        config = f'[[plugin]]\nname = "plug"\npath = "./plug.py:P"\nimport_in = "{import_in}"\n{more}'
        (self.folder / "jackfield.toml").write_text(config, encoding="utf-8")
        return self

    def launch(self, *arguments, streams="2>stderr", **more):
        """Start it with redirections as a shell has them."""
        command = [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", *arguments]
        shell = ["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *command]
        self.process = subprocess.Popen(shell, cwd=self.folder, env=self.env, **more)
        return self

    def serves(self):
        """Wait until it answers and runs."""
        until(lambda: self.process.poll() is not None or self.state() == "running")
        assert self.process.poll() is None, self.said()
        return self

    def state(self):
        done = self.ctl("status", "--json")
        return json.loads(done.stdout)["state"] if done.returncode == 0 else None

    def ctl(self, *arguments, **more):
        command = [sys.executable, "-m", "jackfield", *arguments]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False, **more
        )

    def call(self, name, *arguments):
        done = self.ctl("call", name, *arguments, "--running")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        self.send(number)
        return self.process.wait(PATIENCE)

    def said(self):
        return self.stderr.read_text("utf-8", "replace") if self.stderr.exists() else ""

    def hears(self, text):
        """Wait until its stderr has a text."""
        until(lambda: text in self.said() or self.process.poll() is not None)
        assert text in self.said()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()
        self.short.cleanup()


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.close()


def until(condition):
    limit = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < limit, "it never came true"
        sleep(0.02)


STOPS = """
    import pathlib
    class P:
        def start(self): ...
        def stop(self): pathlib.Path("stopped").write_text("x")
"""

# --- signals ----------------------------------------------------------------------------------------------------------


def test_only_its_own_signals_end_it_whatever_a_plugin_installed(service, tmp_path):
    """A plugin's SIGUSR1 is the plugin's; the signals that it ignores, handles and reads end the host all the same."""
    service.plug(
        """
        import os, pathlib, signal, subprocess
        seen = pathlib.Path("seen")
        def note(number, frame):
            seen.write_text(seen.read_text() + f"{number} ")
        seen.write_text("")
        signal.signal(signal.SIGUSR1, note)
        signal.signal(signal.SIGWINCH, note)
        signal.signal(signal.SIGCHLD, note)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        class P:
            def start(self): subprocess.run(["true"], check=True)
            def stop(self): pathlib.Path("stopped").write_text("x")
        """,
        import_in="main",  # no other thread may set a handler
    )
    service.launch().serves()
    for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGUSR1):
        (tmp_path / "seen").write_text("")
        service.send(number)
        until(lambda number=number: str(int(number)) in (tmp_path / "seen").read_text())
    assert service.state() == "running"
    assert service.end() == 0
    assert (tmp_path / "stopped").exists()
    assert "SIGTERM: ending" in service.said()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF"])
def test_a_signal_that_nobody_handles_ends_nothing(service, name):
    """A timer that a plugin sets without a handler, or `kill -USR1` of a service that knows no such word."""
    service.plug("class P:\n    def start(self): ...\n").launch().serves()
    service.send(signal.Signals[name])
    assert service.state() == "running"
    assert service.end() == 0


def test_a_handler_of_a_plugin_that_raises_ends_nothing(service):
    """Python runs it in the main thread, which is told of it and goes on."""
    service.plug(
        """
        import signal, sys
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
        class P:
            def start(self): ...
        """,
        import_in="main",
    )
    service.launch().serves()
    service.send(signal.SIGUSR1)
    service.hears("a signal handler of a plugin raised SystemExit")
    assert service.state() == "running"
    assert service.end(signal.SIGINT) == 0


@only_linux
def test_signals_that_c_code_takes_are_taken_back(service):
    """C code may install a handler in any thread, behind Python's back."""
    service.plug(
        """
        import ctypes, signal
        class P:
            def start(self): ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))  # SIG_IGN
        """
    )
    service.launch().serves()

    def ignored():
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        mask = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
        return mask >> (signal.SIGTERM - 1) & 1

    until(lambda: not ignored())
    assert service.end() == 0


def test_children_of_plugins_get_signals_as_ever_and_pass_none_on(service):
    """Forked or executed, a child ends at its SIGTERM, and the host hears nothing of it."""
    service.plug(
        """
        import os, signal, subprocess, time, warnings
        class P:
            def start(self): ...
            def kill_a_fork(self) -> int:
                warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
                child = os.fork()
                if not child:
                    os.write(writer, b".")
                    time.sleep(600)
                os.read(reader, 1)
                os.kill(child, signal.SIGTERM)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            def kill_a_process(self) -> int:
                child = subprocess.Popen(["sleep", "600"])
                child.terminate()
                return child.wait()
        reader, writer = os.pipe()
        """,
        '[plugin.functions]\n"plug.fork" = "kill_a_fork"\n"plug.process" = "kill_a_process"\n',
    )
    service.launch().serves()
    assert service.call("plug.fork") == -signal.SIGTERM
    assert service.call("plug.process") == -signal.SIGTERM
    assert service.state() == "running"
    assert service.end() == 0


def test_sighup_reads_the_configuration_again_and_tells_its_faults(service, tmp_path):
    """A faulty file changes nothing, and neither does a sound one end anything."""
    service.plug(STOPS).launch().serves()
    (tmp_path / "jackfield.toml").write_text("[[plugin]]\nnmae = 3\n", encoding="utf-8")
    service.send(signal.SIGHUP)
    service.hears("SIGHUP: ")
    service.hears("nmae")
    assert service.state() == "running"
    assert service.end() == 0


def test_a_signal_ends_it_while_the_main_thread_imports(service, tmp_path):
    """Nothing has been started, so that nothing is waited for."""
    service.plug(
        """
        import pathlib, time
        pathlib.Path("importing").write_text("x")
        time.sleep(600)
        class P: ...
        """
    )
    service.launch()
    until((tmp_path / "importing").exists)
    assert service.end() == 0
    assert "SIGTERM: ended before anything was started" in service.said()


def test_a_second_signal_ends_it_at_once_with_a_code_of_its_own(service, tmp_path):
    """128 and the signal's number, though a plugin does not come to an end."""
    service.plug(
        """
        import pathlib, time
        class P:
            def start(self): ...
            def stop(self):
                pathlib.Path("stopping").write_text("x")
                time.sleep(600)
        """
    )
    service.launch("--drain", "600").serves()
    service.send(signal.SIGTERM)
    until((tmp_path / "stopping").exists)
    assert service.end(signal.SIGINT) == 128 + signal.SIGINT


def test_threads_that_a_plugin_leaves_behind_do_not_keep_it(service):
    """What is registered to be done at exit is done."""
    service.plug(
        """
        import atexit, pathlib, threading, time
        atexit.register(lambda: pathlib.Path("at_exit").write_text("x"))
        class P:
            def start(self): threading.Thread(target=time.sleep, args=(600,)).start()
        """
    )
    service.launch().serves()
    assert service.end() == 0
    assert (service.folder / "at_exit").exists()


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "streams",
    [
        "<&- >&- 2>&-",
        pytest.param(">/dev/full 2>/dev/full", marks=has_full),
    ],
    ids=["closed", "full"],
)
def test_it_serves_and_stops_without_streams(service, tmp_path, streams):
    """Closed from the beginning, or on a disk that is full: plugins print, start and stop."""
    service.plug(STOPS.replace("def start(self): ...", "def start(self): print('hello', flush=False)"))
    service.launch(streams=streams).serves()
    assert service.end() == 0
    assert (tmp_path / "stopped").exists()


def test_a_clean_up_that_hangs_does_not_keep_it(service):
    """What is injected is closed after the plugins; what does not end is named, and left behind."""
    service.plug(
        """
        import threading
        from collections.abc import Iterator
        from jackfield import provides
        class Thing: ...
        @provides(scope="singleton")
        def thing() -> Iterator[Thing]:
            yield Thing()
            threading.Event().wait()
        class P:
            def __init__(self, thing: Thing): ...
            def start(self): ...
        """
    )
    service.launch("--drain", "0.2").serves()
    assert service.end() == 0
    assert "its teardown has not ended in time, and is left behind" in service.said()


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_a_reader_of_stderr_that_is_gone_or_asleep_holds_up_nothing(service, tmp_path, reader):
    """Thousands of lines find no room in the pipe; calls, status and the end do not wait for it."""
    service.plug(
        """
        import pathlib
        from jackfield import Logger
        class P:
            def __init__(self, log: Logger): self.log = log
            def start(self): ...
            def stop(self): pathlib.Path("stopped").write_text("x")
            def chatter(self) -> int:
                for number in range(5_000):
                    self.log.info("a line of some length, so that a pipe is full soon", number=number)
                return 5_000
        """,
        '[plugin.functions]\n"plug.chatter" = "chatter"\n',
    )
    service.launch(streams="", stderr=subprocess.PIPE).serves()
    if reader == "gone":
        service.process.stderr.close()
    assert service.call("plug.chatter") == 5_000
    assert service.end() == 0
    assert (tmp_path / "stopped").exists()


def test_a_message_cannot_forge_a_line(service):
    """Line breaks and control characters of a plugin's text are escaped, in JSON and in text."""
    forged = "fine\\n12:00:00 ERROR forged \\x1b[2J"
    code = f"""
        from jackfield import Logger
        class P:
            def __init__(self, log: Logger): self.log = log
            def start(self): self.log.warning("{forged}")
    """
    for form in ("json", "text"):
        service.plug(code, f'[observability.logs]\nformat = "{form}"\n')
        service.launch().serves()
        assert service.end() == 0
        (line,) = [line for line in service.said().splitlines() if "forged" in line]
        assert "fine\\n" in line
        assert "\x1b" not in line
        assert not line.startswith("12:00:00 ERROR")


def test_a_stream_that_is_not_utf8_gets_what_it_can_show(service):
    """What it has no form for is escaped."""
    service.env["PYTHONIOENCODING"] = "ascii"
    service.plug(
        """
        from loguru import logger
        class P:
            def start(self): logger.warning("Grüße an 東京")
        """,
        '[observability.logs]\nformat = "text"\n',
    )
    service.launch().serves()
    assert service.end() == 0
    assert "Gr\\xfc\\xdfe an \\u6771\\u4eac" in service.said()


# --- what belongs to the process --------------------------------------------------------------------------------------


def test_what_plugins_do_to_loguru_does_not_reach_the_hosts_own_log(service, tmp_path):
    """Sinks removed, names disabled, one added that hangs: the host still says what it has to, and stops."""
    service.plug(
        """
        import pathlib, threading
        from loguru import logger
        class P:
            def start(self):
                logger.remove()
                logger.disable("jackfield")
                logger.add(lambda message: threading.Event().wait())
            def hang(self) -> None:
                pathlib.Path("hanging").write_text("x")
                threading.Event().wait()
        """,
        '[plugin.functions]\n"plug.hang" = "hang"\n',
    )
    service.launch("--drain", "0.2").serves()
    command = [sys.executable, "-m", "jackfield", "call", "plug.hang", "--running"]
    with subprocess.Popen(command, env=service.env, stderr=subprocess.DEVNULL) as caller:
        until((tmp_path / "hanging").exists)
        assert service.end() == 1
        assert caller.wait(PATIENCE) == 1
    rows = [json.loads(line) for line in service.said().splitlines() if line.startswith("{")]
    assert any("1 calls have not ended" in row["message"] for row in rows if row["event"] == "log"), service.said()
    assert "1 calls were left behind" in service.said()


def test_what_plugins_do_to_the_process_does_not_reach_the_host(service, tmp_path):
    """Time-out of sockets, working directory, umask, locale, streams, warnings, hooks, SIGPIPE: it answers and ends."""
    service.plug(
        """
        import locale, logging, os, pathlib, signal, socket, sys, threading, warnings
        socket.setdefaulttimeout(0.3)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.umask(0o777)
        os.chdir("/")
        locale.setlocale(locale.LC_ALL, "C")
        warnings.simplefilter("error")
        sys.excepthook = threading.excepthook = lambda *_: None
        logging.disable(logging.CRITICAL)
        sys.stdout = sys.stderr = None
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        class P:
            def start(self): ...
            def nap(self) -> str:
                threading.Event().wait(1.0)  # longer than that time-out
                return "rested"
        """,
        '[plugin.functions]\n"plug.nap" = "nap"\n',
        import_in="main",
    )
    service.launch().serves()
    assert service.call("plug.nap") == "rested"
    watching = [sys.executable, "-m", "jackfield", "events", "--follow"]
    with subprocess.Popen(watching, env=service.env, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout.readline()
        follower.kill()
    (tmp_path / "jackfield.toml").write_text("[[plugin]]\nnmae = 3\n", encoding="utf-8")
    service.send(signal.SIGHUP)
    service.hears("nmae")
    assert service.state() == "running"
    assert service.end() == 0
    assert service.said().endswith("ended\n")


# --- the service manager ----------------------------------------------------------------------------------------------


@only_linux
@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_systemd_is_told_how_it_gets_on(service, kind):
    """Ready, alive, reloading and ready again, stopping: in that order, each datagram whole."""
    address = f"{service.short.name}/notify" if kind == "file" else f"\0jackfield-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE)
        service.env |= {"NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "400000"}

        def hears(what):
            while True:
                lines = manager.recv(4096).decode().splitlines()
                if what in lines:
                    return lines

        service.plug(STOPS).launch()
        assert any(line.startswith("STATUS=serving jackfield.toml: 1 of 1") for line in hears("READY=1"))
        hears("WATCHDOG=1")
        hears("WATCHDOG=1")
        service.send(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in hears("RELOADING=1"))
        hears("READY=1")
        service.send(signal.SIGTERM)
        hears("STOPPING=1")
        assert service.process.wait(PATIENCE) == 0


@only_linux
def test_a_watchdog_of_another_process_gets_nothing(service):
    """`WATCHDOG_PID` says whose it is; a manager that is gone is no fault."""
    service.env |= {"NOTIFY_SOCKET": f"{service.short.name}/nobody", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    service.plug(STOPS).launch().serves()
    assert service.end() == 0
    assert "Traceback" not in service.said()


# --- the other verbs --------------------------------------------------------------------------------------------------


def test_a_watch_whose_reader_goes_ends_quietly(service):
    """With the code of a process that SIGPIPE has ended, and without a word."""
    service.plug(STOPS).launch().serves()
    for arguments in (["status", "--watch", "--json"], ["status", "--watch"]):
        command = [sys.executable, "-m", "jackfield", *arguments]
        with subprocess.Popen(command, env=service.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
            if "--json" in arguments:
                assert watch.stdout.readline()
            watch.stdout.close()
            said = watch.stderr.read().decode()
        assert (watch.returncode, said) == (128 + signal.SIGPIPE, "")
    assert service.end() == 0


@pytest.fixture
def advertised(tmp_path):
    """An installed distribution of one function, for verbs in a shell."""
    folder = tmp_path / "shut-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shut\nVersion: 1\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[jackfield.functions]\nshut.hi = shutting:hi\n", encoding="utf-8")
    (tmp_path / "shutting.py").write_text("def hi() -> str:\n    print('printed')\n    return 'hi'\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "JACKFIELD_NO_CACHE": "1", "NO_COLOR": "1"}

    def run(arguments, streams):
        command = ["/bin/sh", "-c", f'exec "$0" -m jackfield {arguments} {streams}', sys.executable]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path
        )

    return run


def test_a_result_comes_out_though_stderr_is_closed(advertised):
    """What the function prints goes nowhere, and neither into the result nor into a socket."""
    done = advertised("call shut.hi", "2>&-")
    assert (done.returncode, done.stdout) == (0, '"hi"\n')
    assert advertised("call shut.hi", "<&- 2>&-").stdout == '"hi"\n'
    assert advertised("call shut.nowhere", "2>&-").returncode == 1


@pytest.mark.parametrize("arguments", ["call shut.hi", "list", "list --json", "info shut.hi", "doctor --json"])
@pytest.mark.parametrize(
    "stdout",
    [">&-", pytest.param(">/dev/full", marks=has_full)],
)
def test_a_result_that_cannot_be_written_is_an_error_of_one_line(advertised, arguments, stdout):
    """Never a traceback, never a success."""
    done = advertised(arguments, stdout)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line != "printed"]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: the result cannot be written to stdout: ")


def test_a_listing_whose_reader_goes_ends_quietly(advertised):
    """As `| head` does."""
    assert advertised("list", "| true").stderr == ""
