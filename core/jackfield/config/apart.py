"""What `jackfield.toml` says of plugins that run apart: their workers, and where their packages come from."""

from collections.abc import Mapping
from typing import Annotated, Literal

import attrs
from msgspec import Meta

from jackfield.config.leaves import Count, Cpu, Positive, Seconds, Share, Size, Text
from jackfield.model.grants import Resources, cores, size

ALL = "all"
"""In `allow`: whatever the manifest asks for."""

_CAPABILITY = (
    r"network:outbound(:.+:\d+)?|storage:(readonly|scratch)|storage:(readonly:)?(/|[A-Za-z]:).*"
    r"|(calls|publish|subscribe):[A-Za-z0-9_*.-]+"
)
# Editors follow the pattern; whoever reads the file says more precisely what is wrong.
Capability = Annotated[
    str,
    Meta(
        min_length=1,
        description="a capability as in 'network:outbound' or 'calls:text.*'",
        extra_json_schema={"pattern": f"^({_CAPABILITY})$"},
    ),
]
Allowed = Annotated[
    str,
    Meta(
        min_length=1,
        description="a capability as in 'network:outbound' or 'calls:text.*', or 'all'",
        extra_json_schema={"pattern": f"^({ALL}|{_CAPABILITY})$"},
    ),
]


@attrs.frozen
class WorkerConfig:
    """How one plugin runs apart from the host, in processes of its own.

    Attributes:
        allow: the capabilities that it gets of those that its manifest asks for; without a manifest those that it gets;
            `all` is whatever the manifest asks for.
        with_: further requirements of its environment, that may advertise providers and hooks there.
        min: how many are kept warm.
        max: how many there may be at once.
        idle: seconds until a spare one ends.
        calls: after so many calls a worker is replaced; 0 is never.
        cpu: cores that it may use, narrower than its manifest asks for.
        memory: bytes that it may use, narrower than its manifest asks for.
        pids: processes and threads that it may have, fewer than its manifest asks for.
        open_files: files that it may have open, fewer than its manifest asks for.
        tier: the least that its sandbox must be, or it does not start.
        enforce: whether a limit that cannot be enforced here keeps it from starting.
        share: whether it may live in one process with others of the same environment, tier and grants.
        per_tenant: whether the calls of a tenant have workers of their own.
    """

    allow: tuple[Allowed, ...] = ()
    with_: tuple[Text, ...] = attrs.field(default=(), metadata={"key": "with"})
    min: Count = 0
    max: Positive = 2
    idle: Seconds = 60.0
    calls: Count = 10_000
    cpu: Cpu | None = None
    memory: Size | None = None
    pids: Positive | None = None
    open_files: Positive | None = None
    tier: Literal["self", "namespaces", "oci"] = "self"
    enforce: bool = False
    share: bool = False
    per_tenant: bool = False

    @property
    def resources(self) -> Resources:
        """What `cpu`, `memory`, `pids` and `open_files` come to."""
        return resources_of(self)


@attrs.frozen
class UpgradeConfig:
    """Who tries a new version of one plugin that runs apart, before it takes the place of the running one.

    Attributes:
        share: the part of the tenants, and of the calls without tenant, that try it first; when nobody is to, the calls
            move at once.
        tenants: tenants that try it first in any case.
        labels: what a tenant must have to be among the share, and nobody else is; without a share all that have them
            try it.
        analyse: whether the versions are compared, so that the new one is promoted in steps, or aborted when it does
            worse.
    """

    share: Share | None = None
    tenants: tuple[Text, ...] = ()
    labels: Mapping[str, str] = attrs.field(factory=dict)
    analyse: bool = False

    @property
    def tried(self) -> bool:
        """Whether anybody tries it first."""
        return self.share is not None or bool(self.tenants or self.labels) or self.analyse


@attrs.frozen
class EnvironmentsConfig:
    """Where plugins that run apart get their packages from.

    Attributes:
        find_links: folders, or addresses of pages, with wheels, beside whatever index pip and uv are configured for.
        offline: whether no index is asked.
        build: whether source distributions are built, inside the sandbox; else only wheels are taken.
        size: how large the cache may grow; what was not used for longest goes first.
    """

    find_links: tuple[Text, ...] = ()
    offline: bool = False
    build: bool = False
    size: Size = "4GiB"

    @property
    def size_in_bytes(self) -> int:
        """What `size` comes to."""
        return size(self.size) or 0


def resources_of(table: object) -> Resources:
    """Read the resources of a table that has their four keys."""
    cpu, memory = getattr(table, "cpu", None), getattr(table, "memory", None)
    return Resources(
        cpu=None if cpu is None else cores(cpu),
        memory=None if memory is None else size(memory),
        pids=getattr(table, "pids", None),
        open_files=getattr(table, "open_files", None),
    )
