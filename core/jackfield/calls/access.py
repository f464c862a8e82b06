"""What tenants may do: until some are configured, everything."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.config import TenantConfig


class Access:
    """Tells whether a call is allowed. Without `[tenants]` every call is."""

    def __init__(self) -> None:
        self._pickers: frozenset[str] | None = None
        self._permissions: Mapping[str, tuple[str, ...]] = {}

    def configure(self, tenants: "Mapping[str, TenantConfig] | None") -> None:
        """Take over what the configuration says of tenants.

        Args:
            tenants: by name; None when there is no `[tenants]`.
        """
        there = tenants or {}
        limited = ((name, tenant.permissions) for name, tenant in there.items())
        self._permissions = {name: patterns for name, patterns in limited if patterns is not None}
        pickers = frozenset(name for name, tenant in there.items() if tenant.versions)
        self._pickers = None if tenants is None else pickers

    def denial(self, name: str, tenant: str | None, picks: bool) -> str:
        """Say why a call is not allowed.

        Args:
            name: the function.
            tenant: whom the call is for, or None.
            picks: whether it picks a version by header.

        Returns:
            The reason, with the key that would allow it; "" if it is allowed.
        """
        if picks and self._pickers is not None and tenant not in self._pickers:
            return f"tenant {tenant!r} may not pick a version by header; `versions = true` under [tenants] allows it"
        patterns = self._permissions.get(tenant) if tenant is not None else None
        if patterns is not None and not any(fnmatchcase(name, pattern) for pattern in patterns):
            return f"tenant {tenant!r} may not call it; its `permissions` under [tenants] name what it may"
        return ""
