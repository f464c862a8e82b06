"""Plain data → the model where nothing is wrong: msgspec alone, in a fraction of the time that every fault takes."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs
import msgspec

from jackfield.config.model import (
    Document,
    LogsConfig,
    MetricsConfig,
    ObservabilityConfig,
    PluginConfig,
    RouteConfig,
    TenantConfig,
)

_KEYS: Final[Mapping[type, frozenset[str]]] = {
    cls: frozenset(field.name for field in attrs.fields(cls))
    for cls in (Document, PluginConfig, RouteConfig, TenantConfig, ObservabilityConfig, LogsConfig, MetricsConfig)
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
        document = msgspec.convert(raw, Document)
    except msgspec.ValidationError:
        return None
    # Now every table is one: what is left is to see that none has a key that nobody knows.
    return document if all(keys <= _KEYS[cls] for cls, keys in _tables(raw)) else None


def _tables(raw: Mapping[str, Any]) -> Iterator[tuple[type, AbstractSet[str]]]:
    yield Document, raw.keys()
    for cls, tables in (
        (PluginConfig, raw.get("plugin", ())),
        (RouteConfig, raw.get("routes", {}).values()),
        (TenantConfig, raw.get("tenants", {}).values()),
    ):
        yield from ((cls, table.keys()) for table in tables)
    seen = raw.get("observability", {})
    yield ObservabilityConfig, seen.keys()
    yield LogsConfig, seen.get("logs", {}).keys()
    yield MetricsConfig, seen.get("metrics", {}).keys()
