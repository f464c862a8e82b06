"""What a lifecycle is told about a plugin, and what it tells: definition and record."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import attrs

from jackfield.errors import Fault
from jackfield.plugins.lifecycle.states import PluginState

RestartPolicy = Literal["never", "on-failure", "always"]
"""Whether a plugin that fails is started again: not at all, up to a limit, or until it runs."""


def _no_functions(_target: Any) -> tuple[str, ...]:
    return ()


def _nothing() -> None:
    return None


@attrs.frozen
class PluginDefinition:
    """One plugin as its host knows how to handle it.

    Attributes:
        name: its unique name.
        version: its version.
        depends_on: names of the plugins that must be running before it starts.
        auto_start: whether `start_all` starts it.
        location: where its code is, for people.
        make: gives the plugin object, with its dependencies injected; called at each start, in a thread. None when the
            plugin has no object; the object itself may be None, too.
        activate: makes the plugin's functions callable, once it has started, and gives their names; it gets the plugin
            object. It does all of it or raises.
        deactivate: takes the functions away again, before the plugin stops.
        start_timeout: seconds that `make`, the object's `start` and `activate` may take together.
        stop_timeout: seconds that `deactivate`, the object's `stop` and the end of its background work may take.
        restart: whether it is started again when its start or its health check fails: `never`, `on-failure` (at most
            `restart_limit` times in a row) or `always` (however often).
        restart_limit: how many restarts in a row are tried before it is left failed.
        restart_backoff: seconds before the first restart; each further one in a row waits twice as long, at most five
            minutes.
    """

    name: str
    version: str = "0"
    depends_on: tuple[str, ...] = ()
    auto_start: bool = True
    location: str = ""
    make: Callable[[], object | None] | None = None
    activate: Callable[[Any], Iterable[str]] = _no_functions
    deactivate: Callable[[], object] = _nothing
    start_timeout: float = 30.0
    stop_timeout: float = 10.0
    restart: RestartPolicy = "never"
    restart_limit: int = 5
    restart_backoff: float = 0.5


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
    fault: Fault | None = None
    since: float = 0.0
    restarts: int = 0
    restart_at: float | None = None


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
