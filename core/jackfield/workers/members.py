"""The plugins that live in the workers of a pool, and what its pools have in common."""

import attrs

from jackfield.model.record import WorkerTally
from jackfield.workers.messages import PROBE
from jackfield.workers.settings import WorkerSettings
from jackfield.workers.worker import Worker


@attrs.frozen
class Whose:
    """The calls that a pool is for.

    Attributes:
        tenant: whose alone; None: anybody's who has no pool of its own.
        low: whether they run only when nothing else wants the processor.
    """

    tenant: str | None = None
    low: bool = False


@attrs.define(eq=False)
class Member:
    """A plugin that lives in the workers of a pool.

    Attributes:
        plugin: its name.
        number: its place there: 0 for the first, and only, one.
        settings: how its part of a worker is started and stopped.
        state: what an earlier instance left.
        running: whether calls are let in.
    """

    plugin: str
    number: int
    settings: WorkerSettings
    state: bytes | None = None
    running: bool = False

    async def start(self, worker: Worker, timeout: float) -> None:
        """Start it in a worker."""
        await worker.method("start", timeout, self.state, member=self.number)

    async def stop(self, worker: Worker, timeout: float) -> None:
        """Have it end its work in a worker: as its manifest says, and by its `stop`."""
        shutdown = self.settings.shutdown
        try:
            if shutdown is not None:
                await worker.method(f"{PROBE}{shutdown.name}", shutdown.timeout, member=self.number)
        finally:
            if shutdown is None or shutdown.name != "stop":
                await worker.method("stop", timeout, member=self.number)


@attrs.define(eq=False)
class Common:
    """What all pools of one plugin, or of those that share processes, have in common.

    Attributes:
        members: these plugins.
        version: of the plugin.
        tier: the sandbox that its workers are in.
        tally: counts its workers; whoever wants the count to outlive the plugin gives another.
    """

    members: list[Member] = attrs.field(factory=list)
    version: str = "0"
    tier: str = ""
    tally: WorkerTally = attrs.field(factory=WorkerTally)
