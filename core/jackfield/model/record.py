"""What there is to know of a plugin at one moment: its state, its record, its health."""

from collections import Counter
from enum import StrEnum
from typing import Any, Literal

import attrs

from jackfield.errors import Fault

RestartPolicy = Literal["never", "on-failure", "always"]
"""Whether a plugin that fails is started again: not at all, up to a limit, or until it runs."""


class PluginState(StrEnum):
    """Where a plugin is in its life.

    Attributes:
        DISCOVERED: known by name; nothing of it is loaded.
        REGISTERED: it can be started.
        STARTING: its start is under way.
        RUNNING: it has started, and its functions can be called.
        STOPPING: its stop is under way.
        STOPPED: somebody stopped it.
        UNLOADED: all that it had acquired is released; only its record is left.
        DISABLED: it is not to be started until it is enabled.
        BLOCKED: it is meant to run, and starts by itself as soon as what it depends on runs.
        FAILED: its record's `fault` says what happened.
    """

    DISCOVERED = "discovered"
    REGISTERED = "registered"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNLOADED = "unloaded"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    FAILED = "failed"


@attrs.frozen
class PluginRecord:
    """What there is to know of a plugin at one moment.

    Attributes:
        name: its name.
        version: its version.
        state: where it is in its life.
        depends_on: the plugins that it needs.
        auto_start: whether it starts with the host.
        location: where its code is.
        functions: the names of its functions that can be called.
        advertised: the names of those that it has while it runs.
        fault: what keeps it from running, when it is failed or blocked.
        since: when it came to this state, in seconds since the epoch.
        restarts: how often it was restarted by itself since it was added.
        restart_at: when it will be restarted by itself, in seconds since the epoch, or None.
    """

    name: str
    version: str = "0"
    state: PluginState = PluginState.DISCOVERED
    depends_on: tuple[str, ...] = ()
    auto_start: bool = True
    location: str = ""
    functions: tuple[str, ...] = ()
    advertised: tuple[str, ...] = ()
    fault: Fault | None = None
    since: float = 0.0
    restarts: int = 0
    restart_at: float | None = None


class WorkerState(StrEnum):
    """What a worker is doing.

    Attributes:
        BUSY: it runs at least one call.
        IDLE: it waits for one.
    """

    BUSY = "busy"
    IDLE = "idle"


@attrs.frozen
class WorkerRecord:
    """What there is to know of a worker at one moment: a process that runs one plugin.

    Attributes:
        plugin: the plugin.
        version: the plugin's version.
        pid: the process.
        state: whether it is at work.
        tier: the sandbox that it is in, as `pluginctl sandbox` names it.
        calls: how many it has been given.
        memory: bytes that it has in memory, those that it shares with its siblings included; None where the system
            does not say.
        tenant: whose calls alone it runs; None: anybody's.
        low: whether it runs only when nothing else wants the processor.
    """

    plugin: str
    version: str
    pid: int
    state: WorkerState
    tier: str
    calls: int
    memory: int | None
    tenant: str | None = None
    low: bool = False


@attrs.frozen
class BuildRecord:
    """How far the environment of a plugin has come that is being built.

    Attributes:
        plugin: the plugin.
        requirement: what it is built for.
        phase: what is being done now: "waiting", "resolving", "building" (a source distribution), "installing",
            "compiling", "checking".
        text: with what.
        done: how many steps are done.
        total: how many there are.
    """

    plugin: str
    requirement: str
    phase: str
    text: str
    done: int
    total: int


@attrs.define(eq=False)
class WorkerTally:
    """What became of a plugin's workers since its host was made; a count never falls.

    Attributes:
        starts: how many have started.
        deaths: cause (that of `Unavailable`) → how many have died although somebody wanted them.
    """

    starts: int = 0
    deaths: Counter[str] = attrs.field(factory=Counter)


@attrs.frozen
class Health:
    """What a health check found.

    Attributes:
        plugin: its name.
        healthy: whether it runs, and its `health` neither raised nor gave False, nor took too long.
        reason: why it is not healthy; "" when it is.
        details: what `health` gave, when that was neither None nor a bool.
    """

    plugin: str
    healthy: bool
    reason: str = ""
    details: Any = None
