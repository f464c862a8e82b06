"""The file `jackfield.toml`: a typed, frozen model of it, read with every fault at once.

`load_config` reads a file into a `Configuration`, or raises one `ConfigError` that lists everything that is wrong with
it, each fault with its key, its line and what to do about it. Nothing here imports a plugin: whether a module or
distribution exists is found out when it is loaded.

The model is imported with every host; what reads a file (cattrs, tomllib) when it is first asked for.
"""

from typing import TYPE_CHECKING, Final

from jackfield.config.apart import EnvironmentsConfig, UpgradeConfig, WorkerConfig
from jackfield.config.auth import AuthConfig, JwtConfig
from jackfield.config.doors import DoorsConfig, GrpcDoorConfig, HttpDoorConfig
from jackfield.config.executors import ExecutorConfig, ExecutorSettings
from jackfield.config.flows import FlowConfig, StepConfig
from jackfield.config.leaves import RestartPolicy
from jackfield.config.model import (
    EXECUTORS,
    Configuration,
    DurableConfig,
    HostConfig,
    LogsConfig,
    MetricsConfig,
    ObservabilityConfig,
    PluginConfig,
    RetryConfig,
    RouteConfig,
    Source,
    StoreConfig,
    TenantConfig,
)
from jackfield.config.schedules import ScheduleConfig
from jackfield.config.secrets import Secret
from jackfield.config.webhooks import Delivery, DeliveryConfig, Webhook, WebhookConfig
from jackfield.lazy import imported_from

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
    "AuthConfig",
    "Configuration",
    "Delivery",
    "DeliveryConfig",
    "DoorsConfig",
    "DurableConfig",
    "EnvironmentsConfig",
    "ExecutorConfig",
    "ExecutorSettings",
    "FlowConfig",
    "GrpcDoorConfig",
    "HostConfig",
    "HttpDoorConfig",
    "JwtConfig",
    "LogsConfig",
    "MetricsConfig",
    "ObservabilityConfig",
    "PluginConfig",
    "RestartPolicy",
    "RetryConfig",
    "RouteConfig",
    "ScheduleConfig",
    "Secret",
    "Source",
    "StepConfig",
    "StoreConfig",
    "TenantConfig",
    "UpgradeConfig",
    "Webhook",
    "WebhookConfig",
    "WorkerConfig",
    "json_schema",
    "load_config",
    "parse_config",
]

__getattr__ = imported_from(_HOMES, __name__)  # most processes read no configuration
