"""The states of a plugin, and the one table of how it may go from one to the next."""

from collections.abc import Mapping
from types import MappingProxyType

from jackfield.model.record import PluginState

_S = PluginState

TRANSITIONS: Mapping[PluginState, frozenset[PluginState]] = MappingProxyType(
    {
        _S.DISCOVERED: frozenset({_S.REGISTERED, _S.DISABLED, _S.FAILED, _S.UNLOADED}),
        _S.REGISTERED: frozenset({_S.STARTING, _S.BLOCKED, _S.FAILED, _S.UNLOADED}),
        _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.FAILED}),
        _S.RUNNING: frozenset({_S.STOPPING}),
        _S.STOPPING: frozenset({_S.STOPPED, _S.BLOCKED, _S.FAILED}),
        _S.STOPPED: frozenset({_S.STARTING, _S.BLOCKED, _S.FAILED, _S.UNLOADED}),
        _S.BLOCKED: frozenset({_S.STARTING, _S.STOPPED, _S.FAILED, _S.UNLOADED}),
        _S.FAILED: frozenset({_S.STARTING, _S.BLOCKED, _S.REGISTERED, _S.UNLOADED}),
        _S.DISABLED: frozenset({_S.UNLOADED}),
        _S.UNLOADED: frozenset({_S.DISCOVERED, _S.REGISTERED}),
    }
)
"""State → the states that may follow it. Nothing else ever happens."""

ACTIVE = frozenset({_S.STARTING, _S.RUNNING, _S.STOPPING})
"""The states in which there is a plugin object."""

STARTABLE = frozenset({_S.REGISTERED, _S.STOPPED, _S.BLOCKED, _S.FAILED})
"""The states that a start may be tried from."""
