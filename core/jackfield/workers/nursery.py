"""The host's side of the zygotes: it starts the clean one, has it fork those of plugins, and those fork workers.

Everything here belongs to the control loop.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.workers import messages
from jackfield.workers.messages import Described, End, Ended, Fork, Forked, Prepare
from jackfield.workers.outputs import Drain
from jackfield.workers.zygote import MESSAGE

ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "MALLOC_ARENA_MAX": "1",  # each thread would get an arena of 64 MiB of address space
    "MKL_NUM_THREADS": "1",  # an import that starts threads cannot be forked from
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""All variables of zygotes and workers."""

_LIBRARIES: Final = ("jackfield", "attr", "attrs", "msgspec", "pluggy", "packaging", "typing_extensions")
_STARTS: Final = 20.0  # seconds that the clean zygote may take

_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.Decoder(messages.FromZygote).decode


class Line:
    """The control socket of one zygote: questions are answered in order, and ends are told in between.

    Args:
        loop: the control loop.
        connection: the host's end; this object closes it.
        what: whose it is, for errors.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, what: str) -> None:
        connection.setblocking(False)
        self._loop, self._socket, self._what = loop, connection, what
        self._questions: deque[asyncio.Future[Any]] = deque()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self.gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection, self._read)

    def expect(self) -> "asyncio.Future[Any]":
        """Give what the next answer settles."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._questions.append(future)
        if self.gone.done():
            future.set_exception(self._away())
        return future

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a message.

        Raises:
            Unavailable: if the zygote is gone, or does not read.
        """
        try:
            socket.send_fds(self._socket, [_encode(message)], list(descriptors))
        except OSError as error:
            raise self._away() from error

    def ended(self, pid: int) -> "asyncio.Future[int]":
        """Give what is settled with the exit code of a child, when that is told."""
        found = self._ends.get(pid)
        if found is None:
            found = self._ends[pid] = self._loop.create_future()
        return found

    def forget(self, pid: int) -> None:
        """Let go of the end of a child, which has been told."""
        self._ends.pop(pid, None)

    def _away(self) -> Unavailable:
        return Unavailable(self._what, "the process that its workers come from has ended", "start_failed", ran=False)

    def _read(self) -> None:
        try:
            data = self._socket.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            message = _decode(data) if data else None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            host_log("ERROR", f"{self._what}: the process that its workers come from sent what is no message")
            message = None
        if message is None:
            self.close()
        elif isinstance(message, Ended):
            end = self.ended(message.pid)
            if not end.done():
                end.set_result(message.status)
        elif self._questions:
            question = self._questions.popleft()
            if not question.done():
                question.set_result(message)

    def close(self) -> None:
        """Close the socket; the zygote ends then, if it is not hanging."""
        if self.gone.done():
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self.gone.set_result(None)
        while self._questions:
            question = self._questions.popleft()
            if not question.done():
                question.set_exception(self._away())
                question.exception()  # somebody may have left


class Nest:
    """The zygote of one plugin.

    Attributes:
        described: what its import gave.
        pid: of its process.
    """

    def __init__(self, nursery: "Nursery", line: Line, pid: int, drains: Sequence[Drain]) -> None:
        self._nursery, self._line, self._drains = nursery, line, drains
        self._forking = asyncio.Lock()
        self.pid = pid
        self.described = Described()
        self.used = False

    @property
    def alive(self) -> bool:
        """Whether its process is there, as far as is known."""
        return not self._line.gone.done()

    @property
    def forks(self) -> bool:
        """Whether workers can be forked from it, or it can only become one."""
        return self.described.threads == 1

    async def describe(self) -> Described:
        """Wait for what its import gives."""
        found = await self._line.expect()
        if not isinstance(found, Described):
            raise Unavailable("worker", "the plugin broke the protocol", "protocol", ran=False)
        self.described = found
        return found

    async def fork(self, descriptors: Sequence[int], *, low: bool = False) -> int:
        """Make a worker.

        Args:
            descriptors: its ends of two channels.
            low: whether it runs only when nothing else wants to.

        Returns:
            Its number, as the zygote says; the zygote's own if it cannot be forked.

        Raises:
            Unavailable: if it cannot be made.
        """
        async with self._forking:
            if not self.forks:
                self.used = True
                self._line.send(Fork(here=True, low=low), descriptors)
                return self.pid
            answer = self._line.expect()
            self._line.send(Fork(low=low), descriptors)
            found = await asyncio.wait_for(answer, _STARTS)
        if not isinstance(found, Forked) or not found.pid:
            reason = found.reason if isinstance(found, Forked) else "the plugin broke the protocol"
            raise Unavailable("worker", reason, "start_failed", ran=False)
        return found.pid

    async def status(self, pid: int, patience: float = 0.5) -> int | None:
        """Give the exit code of a worker that has ended, or None if nobody says it soon."""
        ended = self._nursery.ended(pid) if pid == self.pid else self._line.ended(pid)
        await asyncio.wait([ended, self._line.gone], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        self._line.forget(pid)
        return ended.result() if ended.done() else None

    async def end(self) -> None:
        """Kill it, with all that it has forked, and wait until it is gone."""
        self._line.close()
        await self._nursery.kill(self.pid)
        for drain in self._drains:
            drain.close()


class Nursery:
    """Makes the zygotes of plugins.

    Attributes:
        nests: those that are there.
    """

    def __init__(self) -> None:
        self._clean: tuple[subprocess.Popen[bytes], Line] | None = None
        self._starting = asyncio.Lock()
        self.nests: set[Nest] = set()

    @property
    def used(self) -> bool:
        """Whether there is anything to end."""
        return self._clean is not None

    async def open(self, prepare: Prepare, plugin: str, timeout: float) -> Nest:
        """Make the zygote of a plugin, and have it import the plugin.

        Args:
            prepare: which plugin, and how.
            plugin: its name.
            timeout: seconds that the import may take.

        Returns:
            The zygote; `described` says what the import gave.

        Raises:
            TimeoutError: when it takes too long; it has been killed.
            Unavailable: when it could not be made, or ended.
        """
        loop = asyncio.get_running_loop()
        async with self._starting:
            line = await self._cleanly()
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            out, err = os.pipe(), os.pipe()
            try:
                answer = line.expect()
                line.send(prepare, (theirs.fileno(), out[1], err[1]))
                found = await asyncio.wait_for(answer, _STARTS)
            except BaseException:
                mine.close()
                os.close(out[0])
                os.close(err[0])
                raise
            finally:
                theirs.close()
                os.close(out[1])
                os.close(err[1])
        drains = [Drain(loop, out[0], plugin, "INFO"), Drain(loop, err[0], plugin, "WARNING")]
        if not isinstance(found, Forked) or not found.pid:
            mine.close()
            raise Unavailable(plugin, getattr(found, "reason", "no process"), "start_failed", ran=False)
        nest = Nest(self, Line(loop, mine, plugin), found.pid, drains)
        self.nests.add(nest)
        try:
            await asyncio.wait_for(nest.describe(), timeout)
        except BaseException:
            await self.drop(nest)
            raise
        return nest

    async def drop(self, nest: Nest) -> None:
        """Kill a plugin's zygote with all its workers."""
        self.nests.discard(nest)
        await nest.end()

    def ended(self, pid: int) -> "asyncio.Future[int]":
        """Give what is settled when a plugin's zygote has ended."""
        if self._clean is None:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            done.set_result(-9)
            return done
        return self._clean[1].ended(pid)

    async def kill(self, pid: int, patience: float = 5.0) -> None:
        """Kill a plugin's zygote and everything in its process group; wait until it is gone."""
        if self._clean is None:
            return
        line = self._clean[1]
        ended = line.ended(pid)
        with suppress(Unavailable):
            line.send(End(pid))
        await asyncio.wait([ended, line.gone], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        line.forget(pid)

    async def close(self) -> None:
        """Kill everything."""
        for nest in list(self.nests):
            await self.drop(nest)
        clean, self._clean = self._clean, None
        if clean is not None:
            process, line = clean
            line.close()  # it ends by itself then
            await asyncio.get_running_loop().run_in_executor(None, _reap, process)

    async def _cleanly(self) -> Line:
        """Give the control socket of the clean zygote, and start that if there is none."""
        if self._clean is not None and not self._clean[1].gone.done():
            return self._clean[1]
        if sys.platform != "linux":
            reason = f"workers need Linux, and this is {sys.platform}: run the plugin in the host, without `executor`"
            raise Unavailable("worker", reason, "start_failed", ran=False)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = f"import sys; sys.path[:0] = {list(runtime_paths())!r}; "
            code += f"from jackfield.workers.zygote import main; main({theirs.fileno()})"
            argv = (sys.executable, "-I", "-S", "-X", "frozen_modules=on", "-c", code)
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and code
                argv, env=ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
            )
        self._clean = process, Line(asyncio.get_running_loop(), mine, "worker")
        return self._clean[1]


def _reap(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def runtime_paths() -> tuple[str, ...]:
    """Give the folders that jackfield's runtime is imported from."""
    found = []
    for name in _LIBRARIES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            found.append(str(folder.parent if spec.submodule_search_locations else folder))
    return tuple(dict.fromkeys(found))
