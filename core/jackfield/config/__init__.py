"""The file `jackfield.toml`: a typed, frozen model of it, read with every fault at once.

`load_config` reads a file into a `Configuration`, or raises one `ConfigError` that lists everything that is wrong with
it, each fault with its key, its line and what to do about it. Nothing here imports a plugin: whether a module or
distribution exists is found out when it is loaded.
"""

from jackfield.config.load import load_config, parse_config
from jackfield.config.model import (
    EXECUTORS,
    Configuration,
    LogsConfig,
    MetricsConfig,
    ObservabilityConfig,
    PluginConfig,
    RestartPolicy,
    RouteConfig,
    Source,
    TenantConfig,
)
from jackfield.config.schema import json_schema
from jackfield.config.secrets import Secret

__all__ = [
    "EXECUTORS",
    "Configuration",
    "LogsConfig",
    "MetricsConfig",
    "ObservabilityConfig",
    "PluginConfig",
    "RestartPolicy",
    "RouteConfig",
    "Secret",
    "Source",
    "TenantConfig",
    "json_schema",
    "load_config",
    "parse_config",
]
