"""Choosing the version that a call goes to: pure."""

from jackfield.model.route import Endpoint, Route


def choose(route: Route, version: str | None) -> Endpoint | None:
    """Pick the endpoint of a call.

    Args:
        route: the versions of the function.
        version: the version that was asked for, or None for the route's own choice.

    Returns:
        The endpoint, or None if there is no such version.
    """
    return route.endpoints.get(version or route.default)
