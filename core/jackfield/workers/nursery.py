"""The host's side of the zygotes: it starts the clean one, has it fork those of plugins, and those fork workers.

Everything here belongs to the control loop.
"""

import asyncio
import os
import select
import signal
import socket
import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import attrs
import msgspec

from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield.runtime.control import at_the_latest
from jackfield.sandbox.cgroups import Group
from jackfield.sandbox.port import Confinement, Launch, Tier
from jackfield.sandbox.probing import guest_command
from jackfield.sandbox.selinux import Label
from jackfield.sandbox.starting import FIRST, finish, start
from jackfield.sandbox.tiers import confiner
from jackfield.workers import messages
from jackfield.workers.credentials import ask_for, sender
from jackfield.workers.limits import Allowance, remove
from jackfield.workers.messages import Described, End, Ended, Fork, Forked, Prepare, Spawn
from jackfield.workers.outputs import Drain
from jackfield.workers.zygote import INTERRUPT, MESSAGE

AT_ONCE: Final = 2 * (os.cpu_count() or 1)
"""How many processes may be starting at once: more of them are all slower, and none is sooner."""

_STARTS: Final = 20.0  # seconds that the clean zygote may take
_ENDS: Final = 5.0  # the same when it is to end
_ALONE: Final = Confinement((), b"", b"")

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
        self._shut = weakref.finalize(self, connection.close)  # also where a host is dropped that nobody has stopped
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
            end = self._ends.get(message.pid)
            if end is not None and not end.done():  # else it is what the plugin has started itself
                end.set_result(message.status)
        elif self._questions:
            question = self._questions.popleft()
            if not question.done():
                if isinstance(message, Forked) and message.pid:
                    self.ended(message.pid)  # whose end may be told before anybody asks
                question.set_result(message)

    def close(self) -> None:
        """Close the socket; the zygote ends then, if it is not hanging."""
        if self.gone.done():
            return
        self._loop.remove_reader(self._socket)
        self._shut()
        self.gone.set_result(None)
        while self._questions:
            question = self._questions.popleft()
            if not question.done():
                question.set_exception(self._away())
                question.exception()  # somebody may have left


@attrs.frozen(eq=False)
class _Clean:
    """A zygote that has imported nothing of anybody else.

    Attributes:
        pid: of it, or of the program that a tier puts around it.
        launch: how it was started.
        line: to it.
        drain: of what it says.
        shared: whether it is for whoever comes; else for those of one tier, confinement and tenant, and ends with
            the last.
        forget: has it no longer ended with the control loop.
    """

    pid: int
    launch: Launch
    line: Line
    drain: Drain
    shared: bool
    forget: Callable[[], object]

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
        pid: of its process, as the clean one sees it.
        clean: what it was forked from.
    """

    def __init__(self, clean: _Clean, line: Line, pid: int, drains: Sequence[Drain]) -> None:
        self.clean, self._line, self._drains = clean, line, drains
        self._forking = asyncio.Lock()
        self._group: Group | None = None
        self._pidfd = -1
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

    async def hold(self, pid: int, allowance: Allowance) -> None:
        """Wait until it is there, and put it where what it uses is bounded."""
        await self._line.expect()
        with suppress(OSError):  # it has ended, which is seen soon
            self._pidfd = os.pidfd_open(pid)
        if allowance.holds:
            self._group = await asyncio.get_running_loop().run_in_executor(None, allowance.hold, pid)

    async def describe(self, prepare: Prepare) -> Described:
        """Have it import its plugin, and wait for what that gives."""
        answer = self._line.expect()
        self._line.send(prepare)
        found = await answer
        if not isinstance(found, Described):
            raise Unavailable("worker", "the plugin broke the protocol", "protocol", ran=False)
        self.described = found
        return found

    async def join(self, prepare: Prepare) -> Described:
        """Have it import a further plugin, and wait for what that gives."""
        async with self._forking:
            before = self.described
            found = await self.describe(prepare)
            self.described = msgspec.structs.replace(before, threads=max(before.threads, found.threads))
        return found

    def interrupt(self) -> None:
        """End an import that takes too long, if it can be interrupted: it is a fault then."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, INTERRUPT)

    async def fork(self, descriptors: Sequence[int]) -> int:
        """Make a worker.

        Args:
            descriptors: its ends of two channels.

        Returns:
            Its number, as the zygote says; the zygote's own if it cannot be forked.

        Raises:
            Unavailable: if it cannot be made.
        """
        async with self._forking:
            if not self.forks:
                self.used = True
                self._line.send(Fork(here=True), descriptors)
                return self.pid
            answer = self._line.expect()
            self._line.send(Fork(), descriptors)
            found = await asyncio.wait_for(answer, _STARTS)
        if not isinstance(found, Forked) or not found.pid:
            reason = found.reason if isinstance(found, Forked) else "the plugin broke the protocol"
            raise Unavailable("worker", reason, "start_failed", ran=False)
        return found.pid

    async def status(self, pid: int, patience: float = 0.5) -> int | None:
        """Give the exit code of a worker that has ended, or None if nobody says it soon."""
        ended = self.clean.line.ended(pid) if pid == self.pid else self._line.ended(pid)
        both: list[asyncio.Future[Any]] = [ended, self._line.gone]
        await asyncio.wait(both, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        self._line.forget(pid)
        return ended.result() if ended.done() else None

    async def end(self) -> None:
        """Kill it, with all that it has forked, and wait until it is gone."""
        self._line.close()
        await self.clean.kill(self.pid)
        for drain in self._drains:
            drain.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        group, self._group = self._group, None
        if group is not None:
            await asyncio.get_running_loop().run_in_executor(None, remove, group)


@attrs.frozen
class Source:
    """Where the zygotes of one plugin come from.

    Attributes:
        nursery: what makes them.
        runtime: where jackfield's runtime is imported from; an environment with other versions of its libraries than
            the host's has its own.
        confinement: what they may, and the tier that is around them.
        allowance: what they may use.
        tenant: whose they are alone; None: anybody's.
        label: the SELinux label of that tenant.
    """

    nursery: "Nursery"
    runtime: tuple[str, ...]
    confinement: Confinement = _ALONE
    allowance: Allowance = attrs.field(factory=Allowance)
    tenant: str | None = None
    label: Label | None = None

    @property
    def starts(self) -> asyncio.Semaphore:
        """What whoever starts a process holds meanwhile."""
        return self.nursery.starts

    async def open(self, prepare: Prepare, plugin: str, timeout: float) -> Nest:
        """Make one; as `Nursery.open`."""
        return await self.nursery.open(self, prepare, plugin, timeout)

    async def drop(self, nest: Nest) -> None:
        """Kill one, with all its workers."""
        await self.nursery.drop(nest)


class Nursery:
    """Makes the zygotes of plugins.

    Attributes:
        nests: those that are there.
        starts: whoever starts a process holds it meanwhile.
    """

    def __init__(self) -> None:
        # Tier `self` is what each applies to itself, so all can come from one; a view of files is around all of them.
        # A label comes with what is executed, so a tenant that has one has a clean one of its own, too.
        self._clean: dict[tuple[tuple[str, ...], Confinement, str | None, Label | None], _Clean] = {}
        self.nests: set[Nest] = set()
        self._begin()

    def _begin(self) -> None:
        """Begin a life: each start of the host has an event loop of its own, to which its locks belong."""
        self._starting = asyncio.Lock()
        self.starts = asyncio.Semaphore(AT_ONCE)

    @property
    def used(self) -> bool:
        """Whether there is anything to end."""
        return bool(self._clean)

    async def open(self, source: Source, prepare: Prepare, plugin: str, timeout: float) -> Nest:
        """Make the zygote of a plugin, and have it import the plugin.

        Args:
            source: where it comes from.
            prepare: which plugin, and how.
            plugin: its name.
            timeout: seconds that the import may take.

        Returns:
            The zygote; `described` says what the import gave.

        Raises:
            TimeoutError: when it takes too long; it has been killed.
            Unavailable: when it could not be made, or ended.
        """
        async with self._starting:
            nest, pid = await self._forked(source, plugin)
        try:
            await asyncio.wait_for(nest.hold(pid, source.allowance), _STARTS)
            await asyncio.wait_for(nest.describe(prepare), timeout)
        except BaseException:
            await self.drop(nest)
            raise
        return nest

    async def _forked(self, source: Source, plugin: str) -> tuple[Nest, int]:
        """Have a zygote forked that waits to be told which plugin it is for; give it, and its process."""
        loop = asyncio.get_running_loop()
        clean = await self._cleanly(source)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ask_for(mine)
        mine.setblocking(False)  # noqa: FBT003  # its only parameter
        out, err = os.pipe(), os.pipe()
        drains = [Drain(loop, out[0], plugin, "INFO"), Drain(loop, err[0], plugin, "WARNING")]
        try:
            answer = clean.line.expect()
            clean.line.send(Spawn(), (theirs.fileno(), out[1], err[1]))
            found = await asyncio.wait_for(answer, _STARTS)
            if not isinstance(found, Forked) or not found.pid:
                reason = getattr(found, "reason", "no process")
                raise Unavailable(plugin, reason, "start_failed", ran=False)  # noqa: TRY301  # cleaned up after like the rest
            pid = await asyncio.wait_for(sender(loop, mine), _STARTS)
            if not pid:
                raise Unavailable(plugin, "its process ended before it was there", "start_failed", ran=False)  # noqa: TRY301  # as above
        except BaseException:
            mine.close()  # it ends by that, if it is there
            for drain in drains:
                drain.close()
            raise
        finally:
            theirs.close()
            os.close(out[1])
            os.close(err[1])
        nest = Nest(clean, Line(loop, mine, plugin), found.pid, drains)
        self.nests.add(nest)
        return nest, pid

    async def drop(self, nest: Nest) -> None:
        """Kill a plugin's zygote with all its workers; and what it came from, if that was for such as this alone."""
        if nest not in self.nests:  # it has gone already, and with a host that has stopped its event loop, too
            return
        self.nests.discard(nest)
        await nest.end()
        clean = nest.clean
        if clean.shared:
            return
        async with self._starting:
            ends = not any(each.clean is clean for each in self.nests) and clean in self._clean.values()
            if ends:
                self._clean = {key: each for key, each in self._clean.items() if each is not clean}
        if ends:
            await self._end(clean)

    async def close(self) -> None:
        """Kill everything."""
        for nest in list(self.nests):
            await self.drop(nest)
        ending, self._clean = self._clean, {}
        for clean in ending.values():
            clean.line.close()  # it ends by itself then
        for clean in ending.values():
            await self._end(clean)
        self._begin()

    async def _end(self, clean: _Clean) -> None:
        clean.forget()
        clean.line.close()
        await asyncio.get_running_loop().run_in_executor(None, _reap, clean.pid, clean.launch)
        clean.drain.close()

    async def _cleanly(self, source: Source) -> _Clean:
        """Give a clean zygote, and start one if there is none."""
        if sys.platform != "linux":
            reason = f"workers need Linux, and this is {sys.platform}: run the plugin in the host, without `executor`"
            raise Unavailable("worker", reason, "start_failed", ran=False)
        runtime = source.runtime
        alone, label = source.confinement.tier is Tier.SELF, source.label
        around = _ALONE if alone else source.confinement
        shared = alone and label is None
        key = (runtime, around, None if shared else source.tenant, label)
        there = self._clean.get(key)
        if there is not None and not there.line.gone.done():
            return there
        if there is not None:
            await self._end(there)
        command = guest_command(f"from jackfield.workers.zygote import main; main({FIRST}, library)", paths=runtime)
        loop = asyncio.get_running_loop()
        launch = confiner(around.tier).launch(command, around, label=None if label is None else label.text)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read, write = os.pipe()
        try:
            pid = start(launch, descriptors=[theirs.fileno()], stderr=write)
        except BaseException:
            mine.close()
            os.close(read)
            raise
        finally:
            theirs.close()
            os.close(write)
        drain = Drain(loop, read, "worker", "WARNING")
        forget = at_the_latest(partial(_leave, mine, pid, launch))
        made = _Clean(pid, launch, Line(loop, mine, "worker"), drain, shared, forget)
        self._clean[key] = made
        return made


def _leave(connection: socket.socket, pid: int, launch: Launch) -> None:
    """End the clean zygote of a host that nobody has stopped."""
    connection.close()
    _reap(pid, launch)


def _reap(pid: int, launch: Launch) -> None:
    """Wait until a clean zygote has ended, and kill it if it does not."""
    with suppress(OSError):
        watched = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            if not poll.poll(_ENDS * 1000):
                os.killpg(pid, signal.SIGKILL)
        finally:
            os.close(watched)
    with suppress(ChildProcessError):  # where the program at hand ignores SIGCHLD
        os.waitpid(pid, 0)
    finish(launch)
