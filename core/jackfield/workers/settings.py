"""How the workers of one plugin are kept."""

from typing import TYPE_CHECKING, Final

import attrs

from jackfield.config.apart import WorkerConfig
from jackfield.manifests.model import Probe

if TYPE_CHECKING:
    from jackfield.config import PluginConfig


@attrs.frozen
class WorkerSettings:
    """How the workers of one plugin are kept; what `[plugin.worker]` says.

    Attributes:
        min: how many are kept warm.
        max: how many there are at most.
        idle: seconds until one that is not needed ends.
        calls: after so many a worker is replaced; 0: never.
        start_timeout: seconds that import and start may take together.
        stop_timeout: seconds that a stop may take.
        health: the function or method that tells how it is; None: its `health`, if it has one.
        shutdown: the function or method that is called before `stop`.
    """

    min: int = 0
    max: int = 2
    idle: float = 60.0
    calls: int = 10_000
    start_timeout: float = 30.0
    stop_timeout: float = 10.0
    health: Probe | None = None
    shutdown: Probe | None = None


def settings_of(config: "PluginConfig") -> WorkerSettings:
    """Read them from a plugin's configuration."""
    said = config.worker or WorkerConfig()
    return WorkerSettings(said.min, said.max, said.idle, said.calls, config.start_timeout, config.stop_timeout)


PENDING: Final = 1000
"""How many calls may wait for a worker of one plugin."""

SHARED: Final = 100
"""How many async calls one worker runs at once."""

BREAKER: Final = 5
"""After so many starts in a row that fail, calls are refused for a while."""

BACKOFF: Final = 0.1
"""Seconds before a start is tried again; each further time twice as long."""

LONGEST: Final = 30.0
"""The longest of these, and how long calls are refused."""
