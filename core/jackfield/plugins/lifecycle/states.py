"""The states of a plugin, and the one table of how it may go from one to the next."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


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


_S = PluginState

TRANSITIONS: Mapping[PluginState, frozenset[PluginState]] = MappingProxyType(
    {
        _S.DISCOVERED: frozenset({_S.REGISTERED, _S.DISABLED, _S.FAILED, _S.UNLOADED}),
        _S.REGISTERED: frozenset({_S.STARTING, _S.BLOCKED, _S.DISABLED, _S.FAILED, _S.UNLOADED}),
        _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.FAILED}),
        _S.RUNNING: frozenset({_S.STOPPING}),
        _S.STOPPING: frozenset({_S.STOPPED, _S.BLOCKED, _S.FAILED}),
        _S.STOPPED: frozenset({_S.STARTING, _S.BLOCKED, _S.DISABLED, _S.FAILED, _S.UNLOADED}),
        _S.BLOCKED: frozenset({_S.STARTING, _S.STOPPED, _S.DISABLED, _S.FAILED, _S.UNLOADED}),
        _S.FAILED: frozenset({_S.STARTING, _S.BLOCKED, _S.REGISTERED, _S.DISABLED, _S.UNLOADED}),
        _S.DISABLED: frozenset({_S.DISCOVERED, _S.REGISTERED, _S.UNLOADED}),
        _S.UNLOADED: frozenset({_S.DISCOVERED, _S.REGISTERED}),
    }
)
"""State → the states that may follow it. Nothing else ever happens."""

ACTIVE = frozenset({_S.STARTING, _S.RUNNING, _S.STOPPING})
"""The states in which there is a plugin object."""

STARTABLE = frozenset({_S.REGISTERED, _S.STOPPED, _S.BLOCKED, _S.FAILED})
"""The states that a start may be tried from."""
