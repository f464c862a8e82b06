"""The file `jackfield.toml`: a typed, frozen model of it, read with every fault at once.

`load_config` reads a file into a `Configuration`, or raises one `ConfigError` that lists everything that is wrong with
it, each fault with its key, its line and what to do about it. Nothing here imports a plugin: whether a module or
distribution exists is found out when it is loaded.

The model is imported with every host; what reads a file (cattrs, tomllib) when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from jackfield.config.apart import EnvironmentsConfig, WorkerConfig
from jackfield.config.leaves import RestartPolicy
from jackfield.config.model import (
    EXECUTORS,
    Configuration,
    LogsConfig,
    MetricsConfig,
    ObservabilityConfig,
    PluginConfig,
    RouteConfig,
    Source,
    TenantConfig,
)
from jackfield.config.secrets import Secret

if TYPE_CHECKING:
    from jackfield.config.load import load_config, parse_config
    from jackfield.config.schema import json_schema

_HOMES: Final = {
    "json_schema": "jackfield.config.schema",
    "load_config": "jackfield.config.load",
    "parse_config": "jackfield.config.load",
}

__all__ = [
    "EXECUTORS",
    "Configuration",
    "EnvironmentsConfig",
    "LogsConfig",
    "MetricsConfig",
    "ObservabilityConfig",
    "PluginConfig",
    "RestartPolicy",
    "RouteConfig",
    "Secret",
    "Source",
    "TenantConfig",
    "WorkerConfig",
    "json_schema",
    "load_config",
    "parse_config",
]


def __getattr__(name: str) -> Any:
    """Import what reads a configuration at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
