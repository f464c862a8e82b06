"""What tenants are due, as their configuration says it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from jackfield.config import TenantConfig


@attrs.frozen
class Share:
    """What one tenant is due.

    Attributes:
        weight: its part of what there is, against the weights of the others that want some; above 0.
        seats: how many of its calls run whatever the others do.
        concurrency: how many of its calls may be inside at once, those that wait included; None for no bound.
        rate: its calls a second, and how many may come at once; None for no bound.
        priority: `low` or `normal`, as its calls are counted; it changes no turn.
        bounded: whether it has either of these.
    """

    weight: float = 1.0
    seats: int = 0
    concurrency: int | None = None
    rate: float | None = None
    priority: str = attrs.field(default="normal", eq=False)
    bounded: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Note whether there is a quota to look at."""
        object.__setattr__(self, "bounded", self.concurrency is not None or self.rate is not None)


EVEN = Share()
"""What is due to whom nobody has said anything of."""


def shares_of(tenants: "Mapping[str, TenantConfig] | None") -> Mapping[str, Share]:
    """Translate what the configuration says of tenants.

    Args:
        tenants: by name; None when there is no `[tenants]`.

    Returns:
        What each is due; empty when nobody is due anything else than the others: then nobody waits for a turn.
    """
    found = {
        name: Share(tenant.weight * tenant.sla, tenant.seats, tenant.concurrency, tenant.rate, tenant.priority)
        for name, tenant in (tenants or {}).items()
    }
    return found if any(share != EVEN for share in found.values()) else {}
