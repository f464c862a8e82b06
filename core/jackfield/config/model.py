"""What `jackfield.toml` can say: frozen values, one class per table, one field per key.

The classes are the only list of keys there is: reading, the error messages' suggestions and the JSON Schema for editors
all follow from them. A field's line under "Attributes" is its description in the schema.
"""

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs

from jackfield.config.apart import EnvironmentsConfig, UpgradeConfig, WorkerConfig
from jackfield.config.auth import AuthConfig
from jackfield.config.doors import DoorsConfig
from jackfield.config.executors import ExecutorConfig, ExecutorSettings
from jackfield.config.flows import FlowConfig
from jackfield.config.leaves import (
    Attribute,
    Count,
    HostId,
    KeyDigest,
    Pattern,
    Port,
    Positive,
    RestartPolicy,
    Seconds,
    Share,
    StoreUrl,
    Text,
    Weight,
)
from jackfield.config.schedules import ScheduleConfig
from jackfield.config.webhooks import Delivery, DeliveryConfig, Webhook, WebhookConfig
from jackfield.model.flow import Flow
from jackfield.model.retry import RetryPolicy

EXECUTORS = ("inline", "thread", "worker", "ray")
"""The executors that a configuration may name unless the host says otherwise."""

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_REQUIREMENT = re.compile(rf"{_DISTRIBUTION.pattern}\s*(?:\[[^\]]*\]\s*)?(?:===?|[<>~!]=|[<>]|@\s)", re.ASCII)


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


@attrs.frozen
class Source:
    """Where a plugin's code is.

    Attributes:
        kind: `file` (a `.py` file), `folder` (a package), `module` (importable), `distribution` (installed), `name`:
            spelled so that it can be either of the last two, and whoever loads it looks which is there; or
            `requirement` (a distribution and its version, in an environment of its own).
        target: the path, the dotted module or the distribution's name.
        object: the attribute after the colon, "" when there is none.
    """

    kind: Literal["file", "folder", "module", "distribution", "name", "requirement"]
    target: str
    object: str = ""

    @classmethod
    def parse(cls, text: str) -> "Source | None":
        """Tell what a `path` is by its spelling alone.

        Args:
            text: the `path` as in the file.

        Returns:
            The source, or None when the text is none of the things a path can be.

        Examples:
            >>> Source.parse("billing.app:Billing")
            Source(kind='module', target='billing.app', object='Billing')
            >>> Source.parse("./plugins/audit.py").kind, Source.parse("my-billing").kind, Source.parse("billing").kind
            ('file', 'distribution', 'name')
        """
        if _REQUIREMENT.match(text):
            return cls("requirement", text)
        target, colon, attribute = text.rpartition(":")
        if not colon or "/" in attribute or "\\" in attribute:  # no colon, or a drive letter's
            target, attribute = text, ""
        elif not target or not _dotted(attribute):
            return None
        if "/" in target or "\\" in target or target.endswith(".py") or target in (".", ".."):
            return cls("file" if target.endswith(".py") else "folder", target, attribute)
        if attribute:
            return cls("module", target, attribute) if _dotted(target) else None
        if _dotted(target):
            return cls("name", target)
        return cls("distribution", target) if _DISTRIBUTION.fullmatch(target) else None


@attrs.frozen
class RetryConfig:
    """How often calls of one plugin are tried, where that is worth it.

    Attributes:
        attempts: how often a call is tried at most, the first time included.
        backoff: seconds before the second attempt; each further pause is twice as long, up to five seconds.
    """

    attempts: Positive = 5
    backoff: Seconds = 0.1


@attrs.frozen
class PluginConfig:
    """One declared plugin.

    Attributes:
        name: its unique name, which others depend on and operators use.
        path: where its code is: `module:Object`, a module, an installed distribution, a `.py` file or a package folder,
            relative to the configuration file's folder. (A loaded configuration has files and folders absolute.)
        depends_on: names of the plugins that must be running before this one starts.
        auto_start: whether it starts with the host; else when an operator starts it.
        version: the version of its functions; by default the distribution's, else `0`.
        executor: where its functions run, whatever they say themselves; by default where each of them says.
        timeout: seconds that one call of its functions may take, whatever they say themselves; by default what each of
            them says.
        functions: function name → attribute of what `path` names; by default everything marked `@function`.
        options: what the plugin itself wants to know, in any shape. Secrets only by reference: `env:NAME` or
            `file:/path`.
        restart: when to start it again after it has stopped by itself; by default what its manifest says, else `never`.
        restart_limit: how many restarts in a row `on-failure` tries before it is left failed; `always` is `on-failure`
            without a limit.
        restart_backoff: seconds before the first restart; each further one waits twice as long.
        start_timeout: seconds that its start may take.
        stop_timeout: seconds that its stop may take.
        import_in: `thread`, for at most `start_timeout`; or `main`, for a module that only the main thread can import,
            without a limit.
        worker: how it runs apart, with `executor = "worker"`.
        retry: how calls of its functions are tried again, within their deadline: those marked idempotent, and what
            provably did not start; by default they are not.
        upgrade: how an apply brings another version of it, with `executor = "worker"`; by default all calls move at
            once.
    """

    name: Text
    path: Text
    depends_on: tuple[Text, ...] = ()
    auto_start: bool = True
    version: Text | None = None
    executor: Text | None = None
    timeout: Seconds | None = None
    functions: Mapping[str, Attribute] = attrs.field(factory=dict)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    restart: RestartPolicy | None = None
    restart_limit: Count = 5
    restart_backoff: Seconds = 0.5
    start_timeout: Seconds = 30.0
    stop_timeout: Seconds = 10.0
    import_in: Literal["thread", "main"] = "thread"
    worker: WorkerConfig | None = None
    retry: RetryConfig | None = None
    # No part of what a plugin is: where nothing else differs there is nothing to do.
    upgrade: UpgradeConfig | None = attrs.field(default=None, eq=False)

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """What `retry` comes to."""
        return None if self.retry is None else RetryPolicy(self.retry.attempts, self.retry.backoff)

    @property
    def source(self) -> Source:
        """What `path` says, taken apart."""
        found = Source.parse(self.path)
        if found is None:
            raise ValueError(f"not the path of a plugin: {self.path!r}")
        return found


@attrs.frozen
class RouteConfig:
    """Which version of one function is called; a plain string stands for `default` alone.

    Attributes:
        default: the version that calls go to when no rule says otherwise.
        shares: version → share of the calls, from 0 to 1; the default version gets what is left.
        tenants: tenant → version that its calls go to.
        labels: what a tenant must have for its calls to be among the shares; then nobody else's are.
    """

    default: Text | None = None
    shares: Mapping[str, Share] = attrs.field(factory=dict)
    tenants: Mapping[str, Text] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class TenantConfig:
    """Who a call can be for.

    Attributes:
        keys: the digests of the keys that say at a door that a call is its; several while one is replaced.
        subjects: the subjects of the client certificates that say so, the common name first, as in `CN=billing,O=Acme`.
        operator: whether it may see metrics and every tenant's calls at doors.
        trace: whether the sampled flag of its requests counts; else the host's own sampler decides.
        versions: whether its calls may pick a version with the header `x-version`.
        weight: its share of the host against other tenants' weights.
        sla: its weight is so many times that.
        seats: how many of its calls run whatever the others do; never lent.
        concurrency: how many of its calls may be inside at once, those that wait included; None for no bound.
        rate: its calls a second, and how many may come at once; None for no bound.
        priority: with `low` its calls of plugins with workers run when nothing else wants the processor, in workers of
            their own.
        labels: what it can be matched by.
        permissions: patterns of the functions it may call, as in `text.*`; by default all, and none for an empty list.
    """

    keys: tuple[KeyDigest, ...] = attrs.field(default=(), repr=False)
    subjects: tuple[Text, ...] = ()
    operator: bool = False
    trace: bool = False
    versions: bool = False
    weight: Weight = 1.0
    sla: Weight = 1.0
    seats: Count = 0
    concurrency: Positive | None = None
    rate: Weight | None = None
    priority: Literal["normal", "low"] = "normal"
    labels: Mapping[str, str] = attrs.field(factory=dict)
    permissions: tuple[Pattern, ...] | None = None


@attrs.frozen
class DurableConfig:
    """How submitted calls are run.

    Attributes:
        concurrency: how many this host runs at once.
        attempts: how often one is tried: those of functions marked idempotent, and what provably did not start.
        keep: seconds that a call is kept after it has ended, with its result.
    """

    concurrency: Count = 16
    attempts: Positive = 3
    keep: Seconds = 86_400.0


@attrs.frozen
class LogsConfig:
    """Call records as a stream.

    Attributes:
        stream: where they go.
        format: one JSON object a line, readable text, or (`auto`) text on a terminal and JSON elsewhere.
        successes: whether calls that went well are recorded too; failed ones always are.
        messages: whether the host's own messages and the plugins' go to the same stream.
        error_messages: whether they have what exceptions say, too, which may be a secret.
    """

    stream: Literal["stderr", "stdout"] = "stderr"
    format: Literal["auto", "json", "text"] = "auto"
    successes: bool = True
    messages: bool = True
    error_messages: bool = False


@attrs.frozen
class MetricsConfig:
    """Metrics over HTTP.

    Attributes:
        port: the loopback port of `/metrics`.
    """

    port: Port = 0


@attrs.frozen
class ObservabilityConfig:
    """What is seen of the calls.

    Attributes:
        traces: whether calls make spans.
        logs: call records as a stream; without this table, what whoever runs the host prefers.
        metrics: metrics over HTTP; without this table, what whoever runs the host prefers.
    """

    traces: bool = True
    logs: LogsConfig | None = None
    metrics: MetricsConfig | None = None


@attrs.frozen
class HostConfig:
    """The host itself.

    Attributes:
        id: under which it keeps what is its own in the store; by default one that is made once and kept there. While
            another live process has it, the next free one of ID-2, ID-3, … .
    """

    id: HostId | None = None


@attrs.frozen
class StoreConfig:
    """Where the host keeps what must outlive it.

    Attributes:
        url: `memory:`, which lives as long as the process; `sqlite:FILE`, relative to the configuration file's folder;
            others come from adapters.
    """

    url: StoreUrl = "memory:"


@attrs.frozen
class Document:
    """The configuration of a jackfield host.

    Attributes:
        plugin: the declared plugins, one `[[plugin]]` each.
        schedule: what is submitted at planned times, one `[[schedule]]` each.
        routes: function name → version, or a table of rules.
        tenants: tenant → what it may do; once there is such a table, only tenants with `versions = true` may pick
            versions.
        flows: function name → the steps that it consists of, or one table for each version.
        observability: what is seen of the calls.
        host: the host itself.
        store: where the host keeps what must outlive it.
        environments: where plugins that run apart get their packages from.
        durable: how submitted calls are run.
        doors: where calls come in over a network.
        auth: how strangers say who they are, beside the keys of tenants.
        webhooks: what others POST, signed, and which function that is a call of, one table each.
        deliveries: where the results of submitted calls are sent, one table each.
        executors: name → a further place where functions run.
        discover: whether installed plugins that are not declared here load too.
        timeout: seconds that a call may take when neither caller, function nor plugin says otherwise.
        strict: whether any fault at all keeps the host from starting.
        lazy: whether a function's module is imported at its first use.
    """

    plugin: tuple[PluginConfig, ...] = ()
    schedule: tuple[ScheduleConfig, ...] = ()
    routes: Mapping[str, RouteConfig] = attrs.field(factory=dict)
    tenants: Mapping[str, TenantConfig] | None = None
    flows: Mapping[str, FlowConfig | tuple[FlowConfig, ...]] = attrs.field(factory=dict)
    observability: ObservabilityConfig = attrs.field(factory=ObservabilityConfig)
    host: HostConfig = attrs.field(factory=HostConfig)
    store: StoreConfig = attrs.field(factory=StoreConfig)
    environments: EnvironmentsConfig = attrs.field(factory=EnvironmentsConfig)
    durable: DurableConfig = attrs.field(factory=DurableConfig)
    doors: DoorsConfig = attrs.field(factory=DoorsConfig)
    auth: AuthConfig = attrs.field(factory=AuthConfig)
    webhooks: Mapping[str, WebhookConfig] = attrs.field(factory=dict)
    deliveries: Mapping[str, DeliveryConfig] = attrs.field(factory=dict)
    executors: Mapping[str, ExecutorConfig] = attrs.field(factory=dict)
    discover: bool = False
    timeout: Seconds | None = None
    strict: bool = False
    lazy: bool = False


def _read_only(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class Configuration:
    """A whole configuration file, checked.

    Names are good and unique, dependencies exist and have an order, files are there and secrets can be read.

    Attributes:
        file: where it was read.
        plugins: name → plugin, in the file's order, read-only.
        schedules: name → what is submitted at planned times, read-only.
        routes: function name → which version is called, read-only.
        tenants: tenant → what it may do, read-only; None when the file has no `[tenants]`.
        flows: function name → its versions that are flows, read-only.
        observability: what is seen of the calls.
        host: the host itself.
        store: where the host keeps what must outlive it; files absolute.
        environments: where plugins that run apart get their packages from; folders absolute.
        durable: how submitted calls are run.
        doors: where calls come in over a network.
        auth: how strangers say who they are, beside the keys of tenants.
        webhooks: name → what others POST, signed, and which function that is a call of, read-only.
        deliveries: name → where the results of submitted calls are sent, read-only.
        executors: name → a further place where functions run, read-only.
        discover: whether installed plugins that are not declared load too.
        timeout: seconds that a call may take when nothing else says so, or None.
        strict: whether any fault keeps the host from starting.
        lazy: whether modules are imported at their first use.
        lines: plugin → the line of its `[[plugin]]`.
        digest: sha256 of the file's content, in hexadecimal; "" when it was not read from one.
        content: what the file says.
    """

    file: Path
    plugins: Mapping[str, PluginConfig] = attrs.field(factory=dict, converter=_read_only)
    schedules: Mapping[str, ScheduleConfig] = attrs.field(factory=dict, converter=_read_only)
    routes: Mapping[str, RouteConfig] = attrs.field(factory=dict, converter=_read_only)
    tenants: Mapping[str, TenantConfig] | None = attrs.field(
        default=None, converter=attrs.converters.optional(_read_only)
    )
    flows: Mapping[str, tuple[Flow, ...]] = attrs.field(factory=dict, converter=_read_only)
    observability: ObservabilityConfig = attrs.field(factory=ObservabilityConfig)
    host: HostConfig = attrs.field(factory=HostConfig)
    store: StoreConfig = attrs.field(factory=StoreConfig)
    environments: EnvironmentsConfig = attrs.field(factory=EnvironmentsConfig)
    durable: DurableConfig = attrs.field(factory=DurableConfig)
    doors: DoorsConfig = attrs.field(factory=DoorsConfig)
    auth: AuthConfig = attrs.field(factory=AuthConfig)
    webhooks: Mapping[str, Webhook] = attrs.field(factory=dict, converter=_read_only)
    deliveries: Mapping[str, Delivery] = attrs.field(factory=dict, converter=_read_only)
    executors: Mapping[str, ExecutorSettings] = attrs.field(factory=dict, converter=_read_only)
    discover: bool = False
    timeout: float | None = None
    strict: bool = False
    lazy: bool = False
    lines: Mapping[str, int] = attrs.field(factory=dict, eq=False, repr=False)
    digest: str = attrs.field(default="", eq=False)
    content: bytes = attrs.field(default=b"", eq=False, repr=False)

    def order(self) -> tuple[tuple[str, ...], ...]:
        """Sort the plugins into levels: each depends on earlier levels only, so a level can start together.

        Returns:
            The levels, the first to start first, each sorted by name; stop them in reverse.
        """
        sorter = TopologicalSorter({name: plugin.depends_on for name, plugin in self.plugins.items()})
        sorter.prepare()
        levels = []
        while sorter.is_active():
            ready = sorter.get_ready()
            levels.append(tuple(sorted(ready)))
            sorter.done(*ready)
        return tuple(levels)

    def may_pick_version(self, tenant: str | None) -> bool:
        """Tell whether a caller's `x-version` is honoured: always without `[tenants]`, else by the tenant's `versions`.

        Args:
            tenant: who the call is for, or None.
        """
        if self.tenants is None:
            return True
        found = self.tenants.get(tenant) if tenant is not None else None
        return found is not None and found.versions
