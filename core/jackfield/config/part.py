"""Which of several processes of one configuration file a host is, and what of the file that gives it."""

from collections.abc import Mapping
from typing import Protocol

import attrs

from jackfield.config.model import TenantConfig


class Quotas(Protocol):
    """What a process has of a tenant's quotas on lease."""

    @property
    def rate(self) -> float | None:
        """Calls a second; None for no bound."""
        ...

    @property
    def concurrency(self) -> int | None:
        """How many calls may be inside at once; None for no bound."""
        ...


@attrs.frozen
class Part:
    """One host of several that `pluginctl serve` runs of one file, each in a process of its own.

    Attributes:
        number: of the process; 0 is the one that keeps the others, and that alone follows the schedules.
        of: how many there are beside that one.
    """

    number: int
    of: int

    @property
    def follows_schedules(self) -> bool:
        """Whether this is the one that submits what is planned."""
        return self.number == 0

    def due(
        self, tenants: Mapping[str, TenantConfig] | None, leases: Mapping[str, Quotas]
    ) -> Mapping[str, TenantConfig] | None:
        """Give what tenants are due in this process: what it has on lease of their quotas, else an equal part.

        Args:
            tenants: what they are due of all.
            leases: tenant → what this process has of it now.

        Examples:
            >>> Part(1, 4).due({"acme": TenantConfig(rate=100.0, concurrency=10, seats=2)}, {})["acme"]
            TenantConfig(... seats=1, concurrency=2, rate=20.0, ...)
        """
        if tenants is None:
            return None
        return {name: self._of_one(tenant, leases.get(name)) for name, tenant in tenants.items()}

    def _of_one(self, tenant: TenantConfig, lease: Quotas | None) -> TenantConfig:
        rate, concurrency = tenant.rate, tenant.concurrency
        all_of_them = self.of + 1
        return attrs.evolve(
            tenant,
            seats=-(-tenant.seats // self.of),
            concurrency=lease.concurrency if lease else concurrency and max(concurrency // all_of_them, 1),
            rate=lease.rate if lease else rate and rate / all_of_them,
        )
