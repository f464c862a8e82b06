"""What tenants may do."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

import attrs

DIGEST: Final = "sha256:"
"""How the digest of a key begins, as a configuration has it."""

BEGIN: Final = 8
"""Bytes of a digest by which it is found; whether it is the one is seen by comparing all of it, in constant time."""


@attrs.frozen
class Permissions:
    """Tells whether a call is allowed; as it is made, every call is.

    Attributes:
        pickers: the tenants that may pick a version by header; None without tenants: then everybody may do all.
        known: the tenants that there are; None when any name is one.
        labels: tenant → what it can be matched by, of those that have any.
        low: the tenants whose work can wait.
        operators: the tenants that see metrics, and everybody's calls.
        traced: the tenants whose sampled flag counts.
        keys: the first bytes of the digest of a key → the digests that begin so, and whose they are.
        subjects: the subject of a client certificate, in its canonical form → whose it is.
        patterns: tenant → the names that it may call, as `fnmatch` has them; one that is not in it may call everything.
    """

    pickers: frozenset[str] | None = None
    patterns: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    known: frozenset[str] | None = None
    labels: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    low: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    traced: frozenset[str] = frozenset()
    keys: Mapping[bytes, tuple[tuple[bytes, str], ...]] = attrs.field(default=MappingProxyType({}), repr=False)
    subjects: Mapping[str, str] = MappingProxyType({})

    def matching(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Name the tenants that have all of some labels, sorted."""
        return tuple(sorted(name for name, have in self.labels.items() if labels.items() <= have.items()))

    def denial(self, name: str, tenant: str | None, picks: bool) -> str:
        """Say why a call is not allowed.

        Args:
            name: the function.
            tenant: whom the call is for, or None.
            picks: whether it picks a version by header.

        Returns:
            The reason, with the key that would allow it; "" if it is allowed.
        """
        if self.pickers is None:
            return ""
        if tenant is not None and self.known is not None and tenant not in self.known:
            return f"there is no tenant {tenant[:80]!r}; a table for it under [tenants] would make it one"
        if picks and tenant not in self.pickers:
            return f"tenant {tenant!r} may not pick a version by header; `versions = true` under [tenants] allows it"
        patterns = self.patterns.get(tenant) if tenant is not None else None
        if patterns is not None and not any(fnmatchcase(name, pattern) for pattern in patterns):
            return f"tenant {tenant!r} may not call it; its `permissions` under [tenants] name what it may"
        return ""
