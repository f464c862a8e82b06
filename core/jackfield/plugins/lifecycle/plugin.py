"""What a lifecycle is told about a plugin, and what it tells: definition and record."""

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from jackfield.model.record import RestartPolicy


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
