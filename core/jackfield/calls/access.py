"""Who may call what: the tenants of a configuration as the permissions of a snapshot."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from jackfield.model.permissions import BEGIN, DIGEST, Permissions
from jackfield.model.subject import canonical

if TYPE_CHECKING:
    from jackfield.config import TenantConfig


def permissions(tenants: "Mapping[str, TenantConfig] | None") -> Permissions:
    """Translate what the configuration says of tenants.

    Args:
        tenants: by name; None when there is no `[tenants]`, and every call is allowed. Once there are any, nobody else
            is one.
    """
    if tenants is None:
        return Permissions()
    limited = ((name, tenant.permissions) for name, tenant in tenants.items())
    return Permissions(
        frozenset(name for name, tenant in tenants.items() if tenant.versions),
        MappingProxyType({name: patterns for name, patterns in limited if patterns is not None}),
        frozenset(tenants) or None,
        MappingProxyType({name: MappingProxyType({**one.labels}) for name, one in tenants.items() if one.labels}),
        frozenset(name for name, one in tenants.items() if one.priority == "low"),
        frozenset(name for name, one in tenants.items() if one.operator),
        frozenset(name for name, one in tenants.items() if one.trace),
        _keys(tenants),
        MappingProxyType({canonical(said): name for name, one in tenants.items() for said in one.subjects}),
    )


def _keys(tenants: "Mapping[str, TenantConfig]") -> Mapping[bytes, tuple[tuple[bytes, str], ...]]:
    """Sort the digests of all keys by how they begin, so that whose one is costs no walk over all tenants."""
    found: dict[bytes, tuple[tuple[bytes, str], ...]] = {}
    for name, tenant in tenants.items():
        for said in tenant.keys:
            digest = bytes.fromhex(said.removeprefix(DIGEST))
            found[digest[:BEGIN]] = (*found.get(digest[:BEGIN], ()), (digest, name))
    return MappingProxyType(found)
