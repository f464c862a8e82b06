"""Plain data → the model where nothing is wrong: msgspec alone, in a fraction of the time that every fault takes."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from jackfield.config.apart import EnvironmentsConfig, UpgradeConfig, WorkerConfig
from jackfield.config.auth import AuthConfig, JwtConfig
from jackfield.config.doors import DoorsConfig, GrpcDoorConfig, HttpDoorConfig
from jackfield.config.executors import ExecutorConfig
from jackfield.config.flows import FlowConfig, StepConfig
from jackfield.config.keys import keys
from jackfield.config.model import (
    Document,
    DurableConfig,
    HostConfig,
    LogsConfig,
    MetricsConfig,
    ObservabilityConfig,
    PluginConfig,
    RetryConfig,
    RouteConfig,
    StoreConfig,
    TenantConfig,
)
from jackfield.config.schedules import ScheduleConfig
from jackfield.config.webhooks import DeliveryConfig, WebhookConfig

_KEYS: Final[Mapping[type, frozenset[str]]] = {
    cls: frozenset(keys(cls))
    for cls in (
        Document,
        AuthConfig,
        JwtConfig,
        DurableConfig,
        DoorsConfig,
        HttpDoorConfig,
        GrpcDoorConfig,
        ExecutorConfig,
        PluginConfig,
        ScheduleConfig,
        WorkerConfig,
        RetryConfig,
        UpgradeConfig,
        RouteConfig,
        TenantConfig,
        ObservabilityConfig,
        LogsConfig,
        MetricsConfig,
        EnvironmentsConfig,
        HostConfig,
        StoreConfig,
        FlowConfig,
        StepConfig,
        WebhookConfig,
        DeliveryConfig,
    )
}


def structure_quickly(raw: Mapping[str, Any]) -> Document | None:
    """Convert a document, if all of it is good.

    Args:
        raw: what `tomllib` read; it is not changed.

    Returns:
        What `structure` would make of it; None when anything is wrong, which that finds out.
    """
    routes = raw.get("routes")
    if isinstance(routes, dict):
        rules = {name: {"default": rule} if isinstance(rule, str) else rule for name, rule in routes.items()}
        raw = {**raw, "routes": rules}
    try:
        document = msgspec.convert(_renamed(raw), Document)
    except msgspec.ValidationError:
        return None
    # Now every table is one: what is left is to see that none has a key that nobody knows.
    return document if all(keys <= _KEYS[cls] for cls, keys in _tables(raw)) else None


def _renamed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Call what Python has a word for (`with`) as the model calls it."""
    if isinstance(flows := raw.get("flows"), dict):
        raw = {**raw, "flows": {name: _renamed_flow(flow) for name, flow in flows.items()}}
    plugins = raw.get("plugin")
    if not isinstance(plugins, list) or not any(isinstance(one, dict) and "worker" in one for one in plugins):
        return raw
    renamed = []
    for plugin in plugins:
        worker = plugin.get("worker") if isinstance(plugin, dict) else None
        if isinstance(worker, dict):
            names = keys(WorkerConfig)
            plugin = {**plugin, "worker": {names.get(key, key): value for key, value in worker.items()}}  # noqa: PLW2901  # the same, as the model names it
        renamed.append(plugin)
    return {**raw, "plugin": renamed}


def _renamed_flow(flow: Any) -> Any:
    if isinstance(flow, list):
        return [_renamed_flow(version) for version in flow]
    steps, names = flow.get("steps") if isinstance(flow, dict) else None, keys(StepConfig)
    if not isinstance(steps, dict):
        return flow
    renamed = {
        name: {names.get(key, key): value for key, value in step.items()} if isinstance(step, dict) else step
        for name, step in steps.items()
    }
    return {**flow, "steps": renamed}


def _tables(raw: Mapping[str, Any]) -> Iterator[tuple[type, AbstractSet[str]]]:
    yield Document, raw.keys()
    for cls, tables in (
        (PluginConfig, raw.get("plugin", ())),
        (ScheduleConfig, raw.get("schedule", ())),
        (RouteConfig, raw.get("routes", {}).values()),
        (TenantConfig, raw.get("tenants", {}).values()),
        (WebhookConfig, raw.get("webhooks", {}).values()),
        (DeliveryConfig, raw.get("deliveries", {}).values()),
        (ExecutorConfig, raw.get("executors", {}).values()),
    ):
        yield from ((cls, table.keys()) for table in tables)
    for plugin in raw.get("plugin", ()):
        yield WorkerConfig, plugin.get("worker", {}).keys()
        yield RetryConfig, plugin.get("retry", {}).keys()
        yield UpgradeConfig, plugin.get("upgrade", {}).keys()
    for said in raw.get("flows", {}).values():
        for flow in said if isinstance(said, list) else [said]:
            yield FlowConfig, flow.keys()
            yield from ((StepConfig, step.keys()) for step in flow.get("steps", {}).values())
    yield EnvironmentsConfig, raw.get("environments", {}).keys()
    yield DurableConfig, raw.get("durable", {}).keys()
    doors = raw.get("doors", {})
    yield DoorsConfig, doors.keys()
    yield HttpDoorConfig, doors.get("http", {}).keys()
    yield GrpcDoorConfig, doors.get("grpc", {}).keys()
    auth = raw.get("auth", {})
    yield AuthConfig, auth.keys()
    yield JwtConfig, auth.get("jwt", {}).keys()
    yield HostConfig, raw.get("host", {}).keys()
    yield StoreConfig, raw.get("store", {}).keys()
    seen = raw.get("observability", {})
    yield ObservabilityConfig, seen.keys()
    yield LogsConfig, seen.get("logs", {}).keys()
    yield MetricsConfig, seen.get("metrics", {}).keys()
