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

import attrs
import msgspec

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.sandbox.port import ENVIRONMENT
from jackfield.workers import messages
from jackfield.workers.messages import Described, End, Ended, Fork, Forked, Prepare
from jackfield.workers.outputs import Drain
from jackfield.workers.zygote import MESSAGE

LIBRARIES: Final = ("jackfield", "attr", "attrs", "msgspec", "pluggy", "packaging", "typing_extensions")
"""Top-level modules of the runtime of workers."""

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
        connection.setblocking(False)  # noqa: FBT003  # its only parameter
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


@attrs.frozen(eq=False)
class _Clean:
    """A zygote that has imported nothing of anybody else."""

    process: "subprocess.Popen[bytes]"
    line: Line

    async def kill(self, pid: int, patience: float = 5.0) -> None:
        """Kill a plugin's zygote and everything in its process group; wait until it is gone."""
        ended = self.line.ended(pid)
        both: list[asyncio.Future[Any]] = [ended, self.line.gone]
        with suppress(Unavailable):
            self.line.send(End(pid))
        await asyncio.wait(both, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        self.line.forget(pid)


class Nest:
    """The zygote of one plugin.

    Attributes:
        described: what its import gave.
        pid: of its process.
    """

    def __init__(self, clean: _Clean, line: Line, pid: int, drains: Sequence[Drain]) -> None:
        self._clean, self._line, self._drains = clean, line, drains
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
        ended = self._clean.line.ended(pid) if pid == self.pid else self._line.ended(pid)
        both: list[asyncio.Future[Any]] = [ended, self._line.gone]
        await asyncio.wait(both, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        self._line.forget(pid)
        return ended.result() if ended.done() else None

    async def end(self) -> None:
        """Kill it, with all that it has forked, and wait until it is gone."""
        self._line.close()
        await self._clean.kill(self.pid)
        for drain in self._drains:
            drain.close()


@attrs.frozen
class Source:
    """Where the zygotes of one plugin come from.

    Attributes:
        nursery: what makes them.
        runtime: where jackfield's runtime is imported from.
    """

    nursery: "Nursery"
    runtime: tuple[str, ...]

    async def open(self, prepare: Prepare, plugin: str, timeout: float) -> Nest:
        """Make one; as `Nursery.open`."""
        return await self.nursery.open(prepare, plugin, timeout, self.runtime)

    async def drop(self, nest: Nest) -> None:
        """Kill one, with all its workers."""
        await self.nursery.drop(nest)


class Nursery:
    """Makes the zygotes of plugins.

    Attributes:
        nests: those that are there.
    """

    def __init__(self) -> None:
        self._clean: dict[tuple[str, ...], _Clean] = {}  # by where their runtime is imported from
        self._starting = asyncio.Lock()
        self.nests: set[Nest] = set()

    @property
    def used(self) -> bool:
        """Whether there is anything to end."""
        return bool(self._clean)

    async def open(self, prepare: Prepare, plugin: str, timeout: float, runtime: tuple[str, ...] = ()) -> Nest:
        """Make the zygote of a plugin, and have it import the plugin.

        Args:
            prepare: which plugin, and how.
            plugin: its name.
            timeout: seconds that the import may take.
            runtime: where jackfield's runtime is imported from; the host's own by default. An environment with other
                versions of its libraries has its own.

        Returns:
            The zygote; `described` says what the import gave.

        Raises:
            TimeoutError: when it takes too long; it has been killed.
            Unavailable: when it could not be made, or ended.
        """
        loop = asyncio.get_running_loop()
        async with self._starting:
            clean = await self._cleanly(runtime or runtime_paths())
            line = clean.line
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
        nest = Nest(clean, Line(loop, mine, plugin), found.pid, drains)
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

    async def close(self) -> None:
        """Kill everything."""
        for nest in list(self.nests):
            await self.drop(nest)
        ending, self._clean = self._clean, {}
        for clean in ending.values():
            clean.line.close()  # it ends by itself then
        for clean in ending.values():
            await asyncio.get_running_loop().run_in_executor(None, _reap, clean.process)

    async def _cleanly(self, runtime: tuple[str, ...]) -> _Clean:
        """Give a clean zygote, and start one if there is none."""
        there = self._clean.get(runtime)
        if there is not None and not there.line.gone.done():
            return there
        if sys.platform != "linux":
            reason = f"workers need Linux, and this is {sys.platform}: run the plugin in the host, without `executor`"
            raise Unavailable("worker", reason, "start_failed", ran=False)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = f"import sys; library = tuple(sys.path); sys.path[:0] = {list(runtime)!r}; "
            code += f"from jackfield.workers.zygote import main; main({theirs.fileno()}, library)"
            argv = (sys.executable, "-I", "-S", "-X", "frozen_modules=on", "-c", code)
            process = subprocess.Popen(  # noqa: ASYNC220, S603  # our own interpreter and code; it returns at once
                argv,
                env=dict(ENVIRONMENT),
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # what a terminal sends to all of the host's group is for the host to act upon
            )
        made = self._clean[runtime] = _Clean(process, Line(asyncio.get_running_loop(), mine, "worker"))
        return made


def _reap(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def runtime_paths() -> tuple[str, ...]:
    """Give the folders that jackfield's runtime is imported from."""
    found = []
    for name in LIBRARIES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            found.append(str(folder.parent if spec.submodule_search_locations else folder))
    return tuple(dict.fromkeys(found))
