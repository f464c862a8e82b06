"""Choosing the version that a call goes to: pure."""

from jackfield.model.route import Endpoint, Route


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
    if tenant is not None and route.split is not None:
        if (there := route.named.get(tenant)) is not None:
            return there
        draw = route.drawn[tenant]
    for end, endpoint in route.draws:
        if draw < end:
            return endpoint, "share"
    return route.stable, ""
