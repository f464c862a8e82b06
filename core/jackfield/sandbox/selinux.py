"""SELinux: categories of its own for each tenant, so that the policy keeps their guests apart."""

import hashlib
import sys
import threading
from collections.abc import Container
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import attrs

CATEGORIES: Final = 1024
"""How many there are in the policies of distributions, `c0` to `c1023`."""


@attrs.frozen
class Selinux:
    """What this system has of it.

    Attributes:
        reason: why labels cannot be given; "" when they can.
        enforcing: whether the policy refuses anything, rather than logs it.
        label: the one of this process, as in `system_u:system_r:unconfined_t:s0`.
    """

    reason: str = ""
    enforcing: bool = False
    label: str = ""


def find(mounted: Path = Path("/sys/fs/selinux"), own: Path = Path("/proc/self/attr/current")) -> Selinux:
    """Look whether SELinux is on, and has categories.

    Args:
        mounted: where its file system is.
        own: where the label of this process is.
    """
    if sys.platform != "linux":
        return Selinux(f"{sys.platform} has none")
    if not (mounted / "enforce").exists():
        return Selinux("this system has no SELinux, or it is off: tenants are not kept apart by labels")
    try:
        label = own.read_text("ascii").strip("\0\n ")
        enforcing = (mounted / "enforce").read_text("ascii").strip() == "1"
        mls = (mounted / "mls").read_text("ascii").strip() == "1"
    except (OSError, ValueError) as error:
        return Selinux(f"its state cannot be read: {error}")
    if not mls or label.count(":") < 3:  # noqa: PLR2004  # user, role, type, level
        return Selinux("its policy has no categories: tenants are not kept apart by labels", enforcing, label)
    return Selinux("", enforcing, label)


def label_of(tenant: str, own: str, taken: Container[str] = ()) -> str:
    """Give the label of a tenant's guests: that of this process, with two categories that are the tenant's.

    Args:
        tenant: whose.
        own: the label of this process.
        taken: labels of other tenants; none of them is given again.

    Raises:
        LookupError: when all are taken.

    Examples:
        >>> label_of("t-1", "system_u:system_r:container_t:s0")
        'system_u:system_r:container_t:s0:c29,c103'
    """
    user, role, kind, level = own.split(":", 3)
    sensitivity = level.partition(":")[0].partition("-")[0]
    pairs = CATEGORIES * (CATEGORIES - 1) // 2
    begin = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:8], "big")
    for step in range(pairs):
        high, low = _pair((begin + step) % pairs)
        label = f"{user}:{role}:{kind}:{sensitivity}:c{low},c{high}"
        if label not in taken:
            return label
    raise LookupError("every pair of categories is taken")


@attrs.frozen(eq=False)
class Label:
    """The label of a tenant's guests; the tenant keeps it as long as somebody holds this."""

    text: str


class Labels:
    """Gives each tenant a label, and no two at once the same.

    Args:
        system: what there is of SELinux; None: it is looked for when a label is first wanted.
    """

    def __init__(self, system: Selinux | None = None) -> None:
        self._system = system
        self._lock = threading.RLock()
        self._given: WeakValueDictionary[str, Label] = WeakValueDictionary()

    def of(self, tenant: str) -> Label | None:
        """Give the label of a tenant, or None where SELinux has none to give.

        Raises:
            LookupError: when all are taken.
        """
        with self._lock:
            if self._system is None:
                self._system = find()
            if self._system.reason:
                return None
            label = self._given.get(tenant)
            if label is None:
                taken = frozenset(each.text for each in list(self._given.values()))
                label = self._given[tenant] = Label(label_of(tenant, self._system.label, taken))
            return label


def _pair(number: int) -> tuple[int, int]:
    """Give the pair of different numbers, the higher first, that has this number among all pairs."""
    high = int(((8 * number + 1) ** 0.5 + 1) / 2)
    while high * (high - 1) // 2 > number:  # what rounding did
        high -= 1
    return high, number - high * (high - 1) // 2
