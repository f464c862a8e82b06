"""Choosing the version that a call goes to: pure."""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from jackfield.model.route import Endpoint, Route

_WHOLE: Final = 2**64


def choose(route: Route, tenant: str | None, draw: int) -> tuple[Endpoint, str]:
    """Pick the endpoint of a call that asks for no version.

    A tenant named by the rule goes where the rule says; else the draw decides. A tenant's draw is a hash of the rule's
    salt and the tenant alone: it is sticky, the same in every process, and ramping the share up only adds tenants.

    Args:
        route: the versions of the function.
        tenant: whom the call is for, or None.
        draw: of the root call, from 0 to 2**64 - 1; used when there is no tenant.

    Returns:
        The endpoint, and the rule that picked it: "tenant", "share", or "" for the default.

    Examples:
        >>> from jackfield.model.route import Split
        >>> split = Split("f", shares=(("2", 0.25),), tenants={"t": "2"})
        >>> route = Route("f", "1", {"1": "stable", "2": "canary"}, split)
        >>> choose(route, None, 0), choose(route, None, 2**63), choose(route, "t", 2**63)
        (('canary', 'share'), ('stable', ''), ('canary', 'tenant'))
    """
    split, endpoints = route.split, route.endpoints
    if split is None:
        return endpoints[route.default], ""
    if tenant is not None:
        named = split.tenants.get(tenant)
        if named is not None and named in endpoints:
            return endpoints[named], "tenant"
        draw = bucket(split.salt, tenant)
    end = 0.0
    for version, share in split.shares:
        end += share
        if draw < end * _WHOLE and version in endpoints:
            return endpoints[version], "share"
    return endpoints[route.default], ""


@lru_cache(maxsize=16_384)
def bucket(salt: str, tenant: str) -> int:
    """Hash a tenant to a number from 0 to 2**64 - 1 that depends on nothing but the two names.

    Python's own `hash` differs between processes.

    Args:
        salt: the function or plugin.
        tenant: the tenant.

    Examples:
        >>> bucket("risk.score", "t-8823") == bucket("risk.score", "t-8823") != bucket("risk.limit", "t-8823")
        True
    """
    return int.from_bytes(blake2b(f"{salt}\0{tenant}".encode(), digest_size=8).digest(), "big")
