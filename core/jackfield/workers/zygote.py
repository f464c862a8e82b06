"""The processes that workers are forked from: a clean one, and below it one for each plugin.

The clean one is started by the host with nothing but jackfield's runtime imported and no thread running. It is trusted,
and forks a zygote for each plugin: that one enters stage one of its sandbox, imports the plugin, says what it found,
and from then on forks workers, which enter stage two. What it says is not trusted: it has run the plugin's code.

A plugin's zygote leads a process group, which nothing in it can leave (the sandbox forbids `setsid` and `setpgid`), so
that one `killpg` ends all that it has forked. The clean one ends when its host does: it watches that process and its
own control socket; all others die with their parents.
"""

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

import msgspec

from jackfield.strangers import Broken
from jackfield.workers import messages
from jackfield.workers.messages import Described, End, Ended, FaultFact, Fork, Forked, Prepare, Spawn

MESSAGE: Final = 8 * 1024 * 1024
"""The most bytes of one control message."""

INTERRUPT: Final = signal.SIGALRM
"""What the host sends to the zygote of a plugin in which the import of a further one hangs."""

_DESCRIPTORS: Final = 3  # of a plugin's zygote: its control socket, standard output and error
_SHARED: Final = 3  # of a worker: its two channels, and the memory
_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.Decoder(messages.ToZygote).decode


def main(descriptor: int, library: tuple[str, ...]) -> NoReturn:
    """Be the clean zygote of the host that started this process.

    Args:
        descriptor: of the control socket.
        library: what is on `sys.path` of Python's own.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    with suppress(OSError):
        os.chdir("/")
    with suppress(OSError):
        _adopt_orphans()
    from jackfield.workers.inside import runtime  # noqa: F401, PLC0415  # all that workers need, before anything is forked

    gc.collect()
    gc.freeze()  # so that no collection in a child writes to the pages of this one
    _Clean(control, library).serve()
    os._exit(0)


def _adopt_orphans() -> None:
    """Become the parent of what a plugin leaves behind, to reap it."""
    from jackfield.sandbox import kernel  # noqa: PLC0415  # Linux alone has it

    kernel.prctl(_SUBREAPER, 1)


class _Reaper:
    """Wakes the loop of a zygote when a child has ended."""

    def __init__(self) -> None:
        self.wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = write
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def ended(self) -> list[tuple[int, int]]:
        """Give number and exit code of each child that has ended."""
        with suppress(BlockingIOError):
            os.read(self.wake, 512)
        found: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if not pid:
                return found
            found.append((pid, os.waitstatus_to_exitcode(status)))

    def close(self) -> None:
        """Be no reaper any more: for a child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self.wake)
        os.close(self._write)


class _Clean:
    """The loop of the clean zygote."""

    def __init__(self, control: socket.socket, library: tuple[str, ...]) -> None:
        self._control, self._library = control, library
        self._reaper = _Reaper()
        self._children: set[int] = set()

    def serve(self) -> None:
        """Do what the host says, until it has ended."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._reaper.wake, select.POLLIN)
        host = _watch_parent()
        if host is not None:
            poll.register(host, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if host is not None and host in ready:
                break
            if self._reaper.wake in ready:
                for pid, status in self._reaper.ended():
                    if pid in self._children:
                        self._children.discard(pid)
                        with suppress(OSError):
                            os.killpg(pid, signal.SIGKILL)  # whatever it has left behind
                        _say(self._control, Ended(pid, status))
            if self._control.fileno() in ready and not self._obey():
                break
        for pid in self._children:
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        """Do the next thing that the host wants; give whether it is still there."""
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, _DESCRIPTORS)
        if not data:
            return False
        message = _decode(data)
        if isinstance(message, End):
            if message.pid in self._children:  # not reaped yet, so the number is nobody else's
                with suppress(OSError):
                    os.killpg(message.pid, signal.SIGKILL)
                with suppress(OSError):
                    os.kill(message.pid, signal.SIGKILL)
        elif isinstance(message, Spawn):
            self._fork(descriptors)
            return True
        for each in descriptors:
            os.close(each)
        return True

    def _fork(self, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            _say(self._control, Forked(0, f"the system gives no process: {error.strerror}"))
            pid = -1
        if pid == 0:
            _contained(lambda: self._become(descriptors))
        for each in descriptors:
            os.close(each)
        if pid > 0:
            with suppress(OSError):
                os.setpgid(pid, pid)  # here as well: whoever comes first
            self._children.add(pid)
            _say(self._control, Forked(pid))

    def _become(self, descriptors: list[int]) -> None:
        self._reaper.close()
        self._control.close()
        os.setpgid(0, 0)
        number, out, err = descriptors
        _stand_in(out, err)
        control = socket.socket(fileno=number)
        # The kernel says with it which process this is; what holds it is around it before anything is imported.
        _say(control, Forked(os.getpid()))
        data = control.recv(MESSAGE)
        message = _decode(data) if data else None
        if isinstance(message, Prepare):
            PluginZygote(control, message, self._library).serve()


class PluginZygote:
    """The loop of the zygote of one plugin.

    Args:
        control: to the host.
        message: what to become.
        library: what is on `sys.path` of Python's own.
    """

    def __init__(self, control: socket.socket, message: Prepare, library: tuple[str, ...]) -> None:
        from jackfield.workers.inside.runtime import Runtime  # noqa: PLC0415  # imported by the clean one

        self._control = control
        self._reaper = _Reaper()
        self._runtime = Runtime(message, library)
        self._joining = False
        signal.signal(INTERRUPT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        """End the import of a plugin that shares this process, if it can be interrupted; the host sends that."""
        if self._joining:
            raise Broken("importing it took too long")

    def serve(self) -> None:
        """Import the plugin, say what it gave, and fork workers until the host has ended."""
        try:
            described = self._runtime.prepare()
        except Exception as error:  # noqa: BLE001  # ours: the sandbox refused
            described = Described(fault=FaultFact("sandbox", "", "", f"{type(error).__name__}: {error}"))
        _say(self._control, described)
        if described.fault is not None:
            return
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._reaper.wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._reaper.wake in ready:
                for pid, status in self._reaper.ended():
                    _say(self._control, Ended(pid, status))
            if self._control.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE, _DESCRIPTORS)
        if not data:
            return False
        message = _decode(data)
        if isinstance(message, Prepare):  # a plugin that shares this process
            self._joining = True
            try:
                found = self._runtime.join(message)
            except Broken as late:  # just before or after that import
                found = Described(fault=FaultFact("import", "", "", late.reason))
            finally:
                self._joining = False
            _say(self._control, found)
            return True
        if not isinstance(message, Fork) or len(descriptors) != _SHARED:
            return False
        if message.here:
            self._work(descriptors)
        threads = self._runtime.threads()
        if threads > 1:
            _say(self._control, Forked(0, f"importing it has left {threads - 1} threads"))
        else:
            self._fork(descriptors)
        for each in descriptors:
            os.close(each)
        return True

    def _fork(self, descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            _say(self._control, Forked(0, f"the system gives no process: {error.strerror}"))
            return
        if pid == 0:
            _contained(lambda: self._work(descriptors))
        _say(self._control, Forked(pid))

    def _work(self, descriptors: list[int]) -> NoReturn:
        """Be a worker."""
        signal.signal(INTERRUPT, signal.SIG_DFL)
        self._reaper.close()
        self._control.close()
        calls, side, memory = descriptors
        self._runtime.work(socket.socket(fileno=calls), socket.socket(fileno=side), memory)
        os._exit(0)


def _watch_parent() -> int | None:
    """Give what becomes readable when the host ends, even if somebody else still holds its end of the socket."""
    with suppress(AttributeError, OSError):
        return os.pidfd_open(os.getppid())
    return None


def _say(control: socket.socket, message: Any) -> None:
    with suppress(OSError):  # the host has ended, which the loop sees next
        control.send(_encode(message))


def _stand_in(out: int, err: int) -> None:
    """Make two descriptors the standard output and error, and nothing the standard input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # as on a terminal: somebody reads it


def _contained(body: Callable[[], object]) -> NoReturn:
    """Be a child: whatever happens, the parent's code after the fork is not for it."""
    try:
        body()
    except ConnectionError:  # the host has closed its end, and is about to kill it
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # the standard error is the host's log
        with suppress(OSError):
            os.write(2, f"jackfield worker: {type(error).__name__}: {error}\n".encode(errors="replace"))
        os._exit(70)
    os._exit(0)
