"""Quotas of tenants that several processes serve: who asks how much of whom, and what each has on lease for that."""

import threading
from collections.abc import Iterator, Mapping
from typing import Final

from jackfield.admission.leases import Lease, divide
from jackfield.config import TenantConfig
from jackfield.host import Host

ROUND: Final = 0.5
"""Seconds between two divisions."""

_FADES: Final = 0.5  # what is left, after each round, of what was asked before
_AGAIN: Final = 10  # rounds until all are told what they have, whether it differs or not
_NONE: Final = 0.01  # calls; what is less is forgotten

Asked = Mapping[str, tuple[int, int]]


class Demand:
    """What tenants with quotas ask of one host.

    Args:
        host: it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before: dict[str, tuple[int, int]] = {}

    def asked(self) -> dict[str, tuple[int, int]]:
        """Give tenant → how many calls have come since the last time, and are inside or wait; of whom that differs."""
        names = [name for name, _ in limited(self._host)]
        stats = self._host.admission if names else None
        found: dict[str, tuple[int, int]] = {}
        for name in names:
            tenant = None if stats is None else stats.tenants.get(name)
            if tenant is not None:
                came = tenant.admitted + tenant.left + tenant.waiting + sum(tenant.refused.values())
                inside = tenant.inside + tenant.waiting
                before = self._before.get(name, (0, 0))
                if (came, inside) != before:
                    self._before[name] = came, inside
                    found[name] = max(came - before[0], 0), inside
        return found


class Leasing:
    """Divides the quotas among the processes and the one that keeps them, which has number 0.

    Args:
        host: of the latter; its configuration says what there is to be divided.
        processes: how many others there are.
    """

    def __init__(self, host: Host, processes: int) -> None:
        self._host, self._numbers = host, range(processes + 1)
        self._demand = Demand(host)
        self._lock = threading.Lock()
        self._asked: dict[str, dict[int, float]] = {}  # by tenant: what was asked of whom, the latest most
        self._held: dict[str, dict[int, int]] = {}
        self._told: dict[int, dict[str, Lease]] = {}
        self._rounds = 0

    def hear(self, number: int, asked: Asked) -> None:
        """Take note of what was asked of a process."""
        with self._lock:
            for name, (came, inside) in asked.items():
                each = self._asked.setdefault(name, {})
                each[number] = each.get(number, 0.0) + came
                self._held.setdefault(name, {})[number] = inside

    def forget(self, number: int) -> None:
        """Forget a process that has ended: it has nothing on lease any more."""
        with self._lock:
            self._told.pop(number, None)
            for name in self._asked:
                self._asked[name].pop(number, None)
                self._held[name].pop(number, None)

    def divided(self) -> dict[int, dict[str, Lease]]:
        """Divide, and give number → what that process has from now on, of those for whom it differs."""
        self.hear(0, self._demand.asked())
        with self._lock:
            self._rounds += 1
            if self._rounds % _AGAIN == 0:  # some may have forgotten theirs, since the configuration has changed
                self._told = {}
            found: dict[int, dict[str, Lease]] = {number: {} for number in self._numbers}
            for name, tenant in limited(self._host):
                if any(self._asked.get(name, {}).values()) or any(self._held.get(name, {}).values()):
                    for number, lease in zip(self._numbers, self._of(name, tenant), strict=True):
                        found[number][name] = lease
            for name, each in list(self._asked.items()):
                self._asked[name] = {number: came * _FADES for number, came in each.items() if came > _NONE}
            changed = {number: leases for number, leases in found.items() if leases != self._told.get(number, {})}
            self._told.update(changed)
        own = changed.pop(0, None)
        if own is not None:
            self._host.lease(own)
        return changed

    def _of(self, name: str, tenant: TenantConfig) -> tuple[Lease, ...]:
        asked, held = self._asked.get(name, {}), self._held.get(name, {})
        return divide(
            tenant.rate,
            tenant.concurrency,
            [asked.get(number, 0.0) for number in self._numbers],
            [held.get(number, 0) for number in self._numbers],
        )


def limited(host: Host) -> Iterator[tuple[str, TenantConfig]]:
    """Go through the tenants that have a quota."""
    configuration = host.configuration
    for name, tenant in ((configuration and configuration.tenants) or {}).items():
        if tenant.rate is not None or tenant.concurrency is not None:
            yield name, tenant
