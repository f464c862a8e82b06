"""What differs between two values of a configuration, as text; the value of an option is never shown."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from jackfield.config import (
    Configuration,
    PluginConfig,
    RetryConfig,
    RouteConfig,
    ScheduleConfig,
    TenantConfig,
    UpgradeConfig,
    WorkerConfig,
)
from jackfield.config.keys import keys
from jackfield.desired.plan import FieldChange
from jackfield.model.flow import Flow
from jackfield.model.permissions import DIGEST

SET = "(set)"
"""Stands for an option, whose value may be a secret."""

_SHOWN = len(DIGEST) + 8  # of a digest: enough to find it in a file
_NOTHING: Mapping[str, Any] = {}
_TABLES: Mapping[str, type[Any]] = {"retry": RetryConfig, "upgrade": UpgradeConfig, "worker": WorkerConfig}


def shown(value: Any) -> str:
    """Render a value as a configuration file would write it, roughly; "" for none."""
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {said}" for key, item in value.items() if (said := shown(item)))
    if isinstance(value, tuple):
        return ", ".join(shown(item) for item in value)
    if attrs.has(type(value)):
        return shown(attrs.asdict(value, recurse=False))
    text = str(value)
    return f"{text[:_SHOWN]}…" if text.startswith(DIGEST) else text


def alike(old: Any, new: Any) -> bool:
    """Compare two options as a plugin would see them: 1, 1.0 and true are equal in Python, and not the same option."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(alike(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return len(old) == len(new) and all(map(alike, old, new))
    return bool(old == new)


def same(old: PluginConfig, new: PluginConfig) -> bool:
    """Tell whether two configurations of a plugin say the same."""
    return old is new or (old == new and alike(old.options, new.options))


def plugin_changes(before: PluginConfig, after: PluginConfig) -> tuple[FieldChange, ...]:
    """Give what differs between two configurations of a plugin: of options the keys alone."""
    found: list[FieldChange] = []
    for name in _names(PluginConfig):
        old, new = getattr(before, name), getattr(after, name)
        if name == "options":
            found += _options(old, new)
        elif name in _TABLES:
            if (old is None) != (new is None):
                found.append(
                    FieldChange(name, "" if old is None else "configured", "" if new is None else "configured")
                )
            unsaid = _TABLES[name]()
            found += _differing(old or unsaid, new or unsaid, f"{name}.")
        elif old != new:
            found.append(FieldChange(name, shown(old), shown(new)))
    return tuple(found)


def _options(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    for key in dict.fromkeys((*old, *new)):
        if key not in new:
            yield FieldChange(f"options.{key}", SET, "")
        elif key not in old:
            yield FieldChange(f"options.{key}", "", SET)
        elif not alike(old[key], new[key]):
            yield FieldChange(f"options.{key}", SET, "(set anew)")


def route_changes(before: RouteConfig | None, after: RouteConfig | None) -> tuple[FieldChange, ...]:
    """Give what differs between two rules of a function."""
    return _differing(before or RouteConfig(), after or RouteConfig(), "")


def tenant_changes(
    before: Mapping[str, TenantConfig] | None, after: Mapping[str, TenantConfig] | None
) -> tuple[FieldChange, ...]:
    """Give what differs between two tables of tenants."""
    if before == after:
        return ()
    old, new = before or _NOTHING, after or _NOTHING
    found: list[FieldChange] = []
    if (before is None) != (after is None):
        found.append(
            FieldChange("tenants", "" if before is None else "configured", "configured" if before is None else "")
        )
    return (*found, *_differing_each(old, new))


def auth_changes(before: Configuration, after: Configuration) -> tuple[FieldChange, ...]:
    """Give what differs in how strangers say who they are."""
    old, new = before.auth.jwt, after.auth.jwt
    if old is None or new is None:
        return () if old is new else (FieldChange("auth.jwt", shown(old), shown(new)),)
    return _differing(old, new, "auth.jwt.")


def schedule_changes(
    before: Mapping[str, ScheduleConfig], after: Mapping[str, ScheduleConfig]
) -> tuple[FieldChange, ...]:
    """Give what differs between two sets of schedules."""
    return tuple(_differing_each(before, after)) if before != after else ()


def table_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Give what differs between two tables of tables; of secrets the references."""
    return tuple(_differing_each(before, after)) if before != after else ()


def _differing_each(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            yield FieldChange(name, shown(old[name]), "")
        elif name not in old:
            yield FieldChange(name, "", shown(new[name]))
        else:
            yield from _differing(old[name], new[name], f"{name}.")


def flow_changes(
    before: Mapping[str, tuple[Flow, ...]], after: Mapping[str, tuple[Flow, ...]]
) -> tuple[FieldChange, ...]:
    """Give what differs between two sets of flows: which versions, and their steps."""
    old, new = ({flow.key: flow for flows in each.values() for flow in flows} for each in (before, after))
    return tuple(
        FieldChange(key, _steps(old.get(key)), _steps(new.get(key)))
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    )


def _steps(flow: Flow | None) -> str:
    return "" if flow is None else "; ".join(f"{step.name} = {step.call}" for step in flow.steps)


def host_changes(before: Configuration, after: Configuration) -> tuple[FieldChange, ...]:
    """Give what differs between two configurations of what a running host cannot change."""
    found: list[FieldChange] = []
    for name in ("discover", "timeout", "strict", "lazy"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            found.append(FieldChange(name, shown(old), shown(new)))
    found += _differing(before.observability, after.observability, "observability.")
    found += _differing(before.environments, after.environments, "environments.")
    found += _differing(before.host, after.host, "host.")
    found += _differing(before.store, after.store, "store.")
    found += _differing(before.doors, after.doors, "doors.")
    found += _differing(before.durable, after.durable, "durable.")
    for change in _differing_each(before.executors, after.executors):
        found.append(FieldChange(f"executors.{change.field}", change.before, change.after))
    return tuple(found)


def _differing(before: Any, after: Any, prefix: str) -> tuple[FieldChange, ...]:
    pairs = ((key, getattr(before, name), getattr(after, name)) for key, name in keys(type(before)).items())
    return tuple(FieldChange(prefix + key, shown(old), shown(new)) for key, old, new in pairs if old != new)


def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(cls))
