"""Which of several processes of one configuration file a host is, and what of the file that gives it."""

from collections.abc import Mapping

import attrs

from jackfield.config.model import TenantConfig


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

    def due(self, tenants: Mapping[str, TenantConfig] | None) -> Mapping[str, TenantConfig] | None:
        """Give what tenants are due in this process: an equal part of their quotas and seats, and at least one call.

        Args:
            tenants: what they are due of all.

        Examples:
            >>> Part(1, 4).due({"acme": TenantConfig(rate=100.0, concurrency=10, seats=2)})["acme"]
            TenantConfig(... seats=1, concurrency=3, rate=25.0, ...)
        """
        if tenants is None:
            return None
        return {name: self._of_one(tenant) for name, tenant in tenants.items()}

    def _of_one(self, tenant: TenantConfig) -> TenantConfig:
        return attrs.evolve(
            tenant,
            seats=_part(tenant.seats, self.of),
            concurrency=None if tenant.concurrency is None else _part(tenant.concurrency, self.of),
            rate=None if tenant.rate is None else tenant.rate / self.of,
        )


def _part(whole: int, of: int) -> int:
    """Divide, and give the remainder to everybody."""
    return -(-whole // of)
