"""Choosing the version that a call goes to: pure."""

from hashlib import blake2b
from typing import Final

from jackfield.model.call import DRAW
from jackfield.model.route import Endpoint, Route

_REMEMBERED: Final = 16_384
"""How many tenants of a salt are remembered."""


def choose(route: Route, tenant: str | None, draw: int) -> tuple[Endpoint, str]:
    """Pick the endpoint of a call that asks for no version.

    A tenant named by the rule goes where the rule says; else the draw decides. A tenant's draw is a hash of the rule's
    salt and the tenant alone: it is sticky, the same in every process, and ramping the share up only adds tenants.

    Args:
        route: the versions of the function.
        tenant: whom the call is for, or None.
        draw: of the root call, from 0 to 2**30 - 1; used when there is no tenant.

    Returns:
        The endpoint, and the rule that picked it: "tenant", "share", or "" for the default.

    Examples:
        >>> from jackfield.model.route import Endpoint, Split
        >>> from jackfield.model.spec import Colour, FunctionSpec
        >>> specs = [FunctionSpec("f", version, "", "", len, Colour.SYNC) for version in "12"]
        >>> endpoints = {spec.version: Endpoint(spec, len, len) for spec in specs}
        >>> route = Route("f", "1", endpoints, Split("f", shares=(("2", 0.25),), tenants={"t": "2"}))
        >>> [(endpoint.version, rule) for endpoint, rule in (choose(route, None, 0), choose(route, None, 2**29))]
        [('2', 'share'), ('1', '')]
        >>> choose(route, "t", 2**29)[1]
        'tenant'
    """
    if tenant is not None and (split := route.split) is not None:
        if (there := route.named.get(tenant)) is not None:
            return there
        drawn = route.drawn.get(tenant)
        if drawn is None:
            drawn = bucket(split.salt, tenant)
            if len(route.drawn) < _REMEMBERED:  # tenants are whatever callers say: the others are worked out each time
                route.drawn[tenant] = drawn
        draw = drawn
    for end, endpoint in route.draws:
        if draw < end:
            return endpoint, "share"
    return route.stable, ""


def bucket(salt: str, tenant: str) -> int:
    """Hash a tenant to a number from 0 to 2**30 - 1 that depends on nothing but the two names.

    Python's own `hash` differs between processes.

    Args:
        salt: the function or plugin.
        tenant: the tenant.

    Examples:
        >>> bucket("risk.score", "t-8823") == bucket("risk.score", "t-8823") != bucket("risk.limit", "t-8823")
        True
    """
    digest = blake2b(f"{salt}\0{tenant}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - DRAW)
