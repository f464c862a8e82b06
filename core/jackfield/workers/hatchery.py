"""Where the workers of one plugin come from: its zygote, made anew whenever it is gone, and what that forks."""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from jackfield.errors import Unavailable
from jackfield.sandbox.starting import seen
from jackfield.workers import arena
from jackfield.workers.answers import Services
from jackfield.workers.credentials import ask_for
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.messages import Described, Prepare
from jackfield.workers.nursery import Nest, Source
from jackfield.workers.worker import Worker

OnDeath = Callable[[Nest, int, Worker, ChannelBroken], object]

_PATIENCE: Final = 1.0  # seconds after which an import that should have ended by itself is ended
_STAGES: Final = 2  # filters of a worker beside those that the host has itself


class Hatchery:
    """Makes the workers of one plugin; on the control loop.

    Args:
        plugin: its name.
        prepare: what its zygote is made of.
        source: where that comes from.
        services: what workers may ask.
        post: has something done on the control loop.
    """

    def __init__(
        self, plugin: str, prepare: Prepare, source: Source, services: Services, post: Callable[..., None]
    ) -> None:
        self._plugin, self._prepare, self._source = plugin, prepare, source
        self._services, self._post = services, post
        self._nest: Nest | None = None
        self.joined: list[Prepare] = []  # plugins that share its processes
        self.begin()

    def begin(self) -> None:
        """Begin a life: each start of the host has an event loop of its own, to which a lock belongs."""
        self._opening = asyncio.Lock()

    async def describe(self, timeout: float) -> Described:
        """Have the plugin imported, and give what that gave; errors as for `Source.open`."""
        async with self._source.starts:
            self._nest = await self._source.open(self._prepare, self._plugin, timeout)
        return self._nest.described

    async def join(self, prepare: Prepare, timeout: float) -> Described:
        """Have a further plugin imported by the zygote, and give what that gave; errors as for `Source.open`.

        An import that leaves threads ends the zygote, with all of its workers; so does one that hangs, and cannot be
        interrupted.
        """
        async with self._source.starts:
            nest = await self._parent(timeout)
            found = await self._joined(nest, prepare, timeout)
        if not nest.forks:
            await self._source.drop(nest)
        elif found.fault is None:
            self.joined.append(prepare)
        return found

    async def hatch(self, timeout: float, on_death: OnDeath) -> Worker:
        """Make a worker; the plugin is not started in it yet.

        Args:
            timeout: seconds that each step may take: an import anew, and its greeting.
            on_death: called once when it is gone, with its zygote and its number there.

        Raises:
            TimeoutError: when it takes too long.
            Unavailable: when it cannot be made.
        """
        # The place is given back before the plugin's `start` is awaited, which may call others that have to be started.
        async with self._source.starts:
            nest = await self._parent(timeout)
            try:
                return await self._forked(nest, timeout, on_death)
            except Unavailable:
                if nest.alive or nest.used:
                    raise
            return await self._forked(await self._parent(timeout), timeout, on_death)  # it has ended in this moment

    async def bury(self, nest: Nest) -> None:
        """Take away the zygote of a worker that has ended, if it was that worker itself."""
        if nest.used:
            await self._source.drop(nest)

    async def close(self) -> None:
        """Kill the zygote, and all that it has forked."""
        nest, self._nest = self._nest, None
        if nest is not None:
            await self._source.drop(nest)

    async def _parent(self, timeout: float) -> Nest:
        """Give the zygote of the plugin, made anew if the last one is gone or cannot be forked."""
        async with self._opening:
            nest = self._nest
            if nest is None or not nest.alive or (nest.used and not nest.forks):
                if nest is not None and not nest.used:
                    await self._source.drop(nest)
                self._nest = nest = await self._source.open(self._prepare, self._plugin, timeout)
                if nest.described.fault is not None:
                    raise Unavailable(self._plugin, nest.described.fault.reason, "start_failed", ran=False)
                for each in self.joined:  # what cannot be imported any more is missing there, and said by its start
                    await self._joined(nest, each, timeout)
            if not nest.forks:
                nest.used = True
            return nest

    async def _joined(self, nest: Nest, prepare: Prepare, timeout: float) -> Described:
        """Have a zygote import a further plugin; one in which that hangs for good is not used again."""
        joining = asyncio.ensure_future(nest.join(prepare))
        try:
            done, _ = await asyncio.wait((joining,), timeout=timeout)
            if not done:
                nest.interrupt()
                found = await asyncio.wait_for(joining, _PATIENCE)
                if found.fault is not None:
                    reason = f"importing it took longer than {timeout:g} s, and was interrupted"
                    fix = "let it do less when it is imported, or raise start_timeout"
                    fault = msgspec.structs.replace(found.fault, reason=reason, fix=fix)
                    return msgspec.structs.replace(found, fault=fault)
            return await joining
        except BaseException:
            joining.cancel()
            if self._nest is nest:
                self._nest = None
            await self._source.drop(nest)
            raise

    async def _forked(self, nest: Nest, timeout: float, on_death: OnDeath) -> Worker:
        memory = arena.make()
        calls, side = socket.socketpair(), socket.socketpair()
        ask_for(side[0])
        shared = arena.Arena(memory, host=True)
        worker = Worker(self._plugin, calls[0], side[0], shared, self._services, self._post)
        try:
            try:
                number = await nest.fork((calls[1].fileno(), side[1].fileno(), memory))
            finally:
                calls[1].close()
                side[1].close()
                os.close(memory)
            worker.on_death = partial(on_death, nest, number)
            await worker.meet(timeout)
            self._check_confined(worker.pid)
        except BaseException:
            worker.kill("it did not start")
            worker.end(Unavailable(self._plugin, "its worker did not start", "start_failed", ran=False))
            raise
        return worker

    def _check_confined(self, pid: int) -> None:
        """Look from outside whether a worker has entered its sandbox: code that was imported may have kept it from it.

        Raises:
            Unavailable: if it has not.
        """
        if self._prepare.confinement and seen(pid).filters < seen(os.getpid()).filters + _STAGES:
            raise Unavailable(self._plugin, "its worker has not entered its sandbox", "protocol", ran=False)
