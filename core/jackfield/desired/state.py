"""What is desired of a host and was carried out, and what is there: the two that a plan compares."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from jackfield.config import (
    Configuration,
    Delivery,
    PluginConfig,
    RouteConfig,
    ScheduleConfig,
    TenantConfig,
    Webhook,
)
from jackfield.desired.ownership import FieldKey, Ownership
from jackfield.model.canary import CanaryStatus
from jackfield.model.flow import Flow
from jackfield.model.record import PluginRecord

EMPTY = Configuration(Path())
"""What a host says that was made without a file: nothing."""


Proposal = tuple[PluginConfig, str]
"""A version of a plugin: by what it is loaded, and the digest of its content; that is "" where it has none."""


@attrs.frozen
class Refusal:
    """A version that a file asked for, and that somebody aborted while it was on trial.

    Attributes:
        proposal: the version.
        reason: why.
        by: who did it.
        at: when, in seconds since the epoch.
    """

    proposal: Proposal
    reason: str
    by: str
    at: float


@attrs.frozen
class Tried:
    """A version on trial, as it is to be begun again.

    Attributes:
        name: the function or plugin that the trial was made for.
        version: what is tried.
        share: as of `Host.canary`, at this moment.
        tenants: as there.
        labels: as there.
        analysis: the fields of the `Analysis`; None without one.
        config: of an upgrade, by what the plugin is loaded.
        by: who began it: "file", or somebody else.
    """

    name: str
    version: str
    share: float
    tenants: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    analysis: Mapping[str, Any] | None = None
    config: PluginConfig | None = None
    by: str = "operator"


def _frozen(found: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(found))


@attrs.frozen
class Desired:
    """What a host is meant to be, and what of it has been carried out.

    `applied` is written before the first step of an apply, the rest with each step: whatever ends an apply half-way,
    the next one sees what is missing.

    Attributes:
        applied: the last applied configuration.
        booted: the configuration that the host was made of.
        ownership: what belongs to somebody else than the file.
        deployed: plugin → the configuration that it was loaded by, be it in vain.
        routes: function → the rule that was carried out.
        tenants: the tenants that were carried out.
        flows: the flows that were carried out.
        schedules: the schedules that were carried out.
        webhooks: the webhooks that were carried out.
        deliveries: the deliveries that were carried out.
        refused: plugin → the version that the file asks for and that is not tried again.
        offered: digest of the last file that the host was made of or that was applied, be it undone since.
        trials: name → what is on trial, or was when the host ended.
    """

    applied: Configuration = EMPTY
    booted: Configuration = EMPTY
    ownership: Ownership = attrs.field(factory=Ownership)
    deployed: Mapping[str, PluginConfig] = attrs.field(factory=dict, converter=_frozen)
    routes: Mapping[str, RouteConfig] = attrs.field(factory=dict, converter=_frozen)
    tenants: Mapping[str, TenantConfig] | None = None
    flows: Mapping[str, tuple[Flow, ...]] = attrs.field(factory=dict, converter=_frozen)
    schedules: Mapping[str, ScheduleConfig] = attrs.field(factory=dict, converter=_frozen)
    webhooks: Mapping[str, Webhook] = attrs.field(factory=dict, converter=_frozen)
    deliveries: Mapping[str, Delivery] = attrs.field(factory=dict, converter=_frozen)
    refused: Mapping[str, Refusal] = attrs.field(factory=dict, converter=_frozen)
    offered: str = ""
    trials: Mapping[str, Tried] = attrs.field(factory=dict, converter=_frozen)

    def base(self, field: FieldKey) -> Any:
        """Give what the last applied file says of a field."""
        return file_says(self.applied, field)

    def says(self, field: FieldKey) -> Any:
        """Give what is wanted of a field, by whoever wrote it last; None for nothing."""
        written = self.ownership.fields.get(field)
        return self.base(field) if written is None else written.value

    def loaded(self, plugin: PluginConfig) -> "Desired":
        """Give the state after a plugin was loaded."""
        return attrs.evolve(
            self, deployed={**self.deployed, plugin.name: plugin}, refused=_without(self.refused, plugin.name)
        )

    def unloaded(self, name: str) -> "Desired":
        """Give the state after a plugin was unloaded."""
        return attrs.evolve(self, deployed=_without(self.deployed, name), refused=_without(self.refused, name))


def _without(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != name}


def file_says(configuration: Configuration, field: FieldKey) -> Any:
    """Give what a configuration says of a field that a verb can write; None when it says nothing."""
    kind, name, key = field
    if kind == "route":
        rule = configuration.routes.get(name)
        return rule.default if rule is not None else None
    plugin = configuration.plugins.get(name)
    return plugin.auto_start if plugin is not None and key == "running" else plugin


@attrs.frozen
class Actual:
    """What is there, at one moment.

    Attributes:
        running: whether the host runs, so that plugins can be started.
        records: plugin → its record.
        loaded: the plugins whose code could be loaded.
        canaries: the trials that are under way.
        changed: of some plugins, tells which have another file or folder now than the one that is loaded, and their
            digests: before, and now ("" when it cannot be read).
        digest: gives the digest of what a plugin would be loaded from now; "" when it has none, or cannot be read.
        rolling: plugin → the version that the file has asked for and that is on trial.
    """

    running: bool = False
    records: Mapping[str, PluginRecord] = attrs.field(factory=dict)
    loaded: Collection[str] = frozenset()
    canaries: tuple[CanaryStatus, ...] = ()
    changed: Callable[[Collection[str]], Mapping[str, tuple[str, str]]] = lambda _: {}
    digest: Callable[[PluginConfig], str] = lambda _: ""
    rolling: Mapping[str, Proposal] = attrs.field(factory=dict)
