"""The verbs for routes: which version is called, canaries, and going back to an earlier revision."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from jackfield.errors import FunctionNotFound, PluginError, Rejected
from jackfield.host import Host
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.names import close_names
from jackfield.model.route import Endpoint, Route
from jackfield.rollout import Analysis
from jackfield.rollout.canary import Canary


def shown(route: Route) -> dict[str, Any]:
    """Give a route as plain data."""
    split = route.split
    return {
        "name": route.name,
        "default": route.default,
        "versions": [_version(endpoint) for endpoint in route.endpoints.values()],
        "split": None
        if split is None
        else {
            "trial": split.trial,
            "shares": dict(split.shares),
            "tenants": dict(split.tenants),
            "labels": dict(split.labels),
        },
    }


def show(host: Host, pattern: str = "*") -> list[dict[str, Any]]:
    """Give the routes whose names match, sorted."""
    functions = host.snapshot.functions
    found = [shown(functions[name]) for name in sorted(functions) if fnmatchcase(name, pattern)]
    if not found and not any(sign in pattern for sign in "*?["):
        raise FunctionNotFound(pattern, close_names(pattern, sorted(functions)))
    return found


def reroute(host: Host, name: str, default: str) -> dict[str, Any]:
    """Make a version the default of a function."""
    host.reroute(name, default=default)
    return shown(host.snapshot.functions[name])


def rollback(host: Host, revision: int) -> dict[str, Any]:
    """Bring back the functions of an earlier revision, as a new revision."""
    try:
        snapshot = host.rollback(revision)
    except LookupError as error:
        raise Rejected(str(error), code="not_kept", details={"revisions": list(host.revisions)}) from None
    return {"from": revision, "revision": snapshot.revision, "functions": len(snapshot.functions)}


def canary_list(host: Host) -> list[dict[str, Any]]:
    """Give the canaries that run, and the latest that ended."""
    return [canary_shown(canary.status) for canary in host.canaries]


def canary_start(
    host: Host,
    name: str,
    version: str,
    share: float | None = None,
    tenants: tuple[str, ...] = (),
    analysis: Analysis | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Begin a trial of a version."""
    try:
        canary = host.canary(name, version=version, share=share, tenants=tenants, labels=labels, analysis=analysis)
    except ValueError as error:
        raise Rejected(str(error), code="bad_canary") from None
    return canary_shown(canary.status)


def upgrade(
    host: Host,
    name: str,
    requirement: str,
    share: float | None = None,
    tenants: tuple[str, ...] = (),
    analysis: Analysis | None = None,
    force: bool = False,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Replace a plugin in workers by another version, after a trial if anybody is to try it first."""
    try:
        canary = host.upgrade(
            name, requirement, share=share, tenants=tenants, labels=labels, analysis=analysis, force=force
        )
    except ValueError as error:
        raise Rejected(str(error), code="bad_canary") from None
    return canary_shown(canary.status)


def canary_ramp(host: Host, name: str, share: float) -> dict[str, Any]:
    """Change the share of a canary."""
    canary = _canary(host, name)
    try:
        canary.ramp(share)
    except ValueError as error:
        raise Rejected(str(error), code="bad_canary") from None
    return canary_shown(canary.status)


def canary_promote(host: Host, name: str) -> dict[str, Any]:
    """Make the version under trial the default."""
    canary = _canary(host, name)
    canary.promote()
    return canary_shown(canary.status)


def canary_abort(host: Host, name: str) -> dict[str, Any]:
    """Send everybody back to the default version."""
    canary = _canary(host, name)
    canary.abort()
    return canary_shown(canary.status)


def canary_shown(status: CanaryStatus) -> dict[str, Any]:
    """Give the status of a canary as plain data."""
    return {
        "name": status.name,
        "version": status.version,
        "stable": status.stable,
        "state": status.state.value,
        "share": status.share,
        "tenants": list(status.tenants),
        "labels": dict(status.labels),
        "functions": list(status.functions),
        "reason": status.reason,
    }


def _version(endpoint: Endpoint) -> dict[str, Any]:
    spec = endpoint.spec
    return {
        "version": endpoint.version,
        "plugin": spec.plugin,
        "distribution": spec.distribution,
        "calls": len(endpoint.gate.calls),
    }


def _canary(host: Host, name: str) -> Canary:
    """Find the canary of a function or plugin: the one that runs, else the one that ended last, which says so."""
    found = [canary for canary in host.canaries if canary.status.name == name]
    running = [canary for canary in found if canary.status.state is CanaryState.RUNNING]
    if not found:
        under = ", ".join(each.status.name for each in host.canaries if each.status.state is CanaryState.RUNNING)
        raise PluginError(name, "route", f"no canary of it is under way; there are: {under or 'none'}", "start one")
    return (running or found)[-1]


VERBS: Final[Mapping[str, Callable[..., Any]]] = {
    "routes": show,
    "reroute": reroute,
    "rollback": rollback,
    "canary_list": canary_list,
    "canary_start": canary_start,
    "upgrade": upgrade,
    "canary_ramp": canary_ramp,
    "canary_promote": canary_promote,
    "canary_abort": canary_abort,
}
