"""The verbs of canaries: pure functions that give the snapshot in which one has begun, changed or ended."""

from collections.abc import Iterable
from typing import Any, Final

import attrs

from jackfield.errors import FunctionNotFound, PluginError
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.names import close_names
from jackfield.model.permissions import Permissions
from jackfield.model.snapshot import Snapshot
from jackfield.registry.routes import redecided, with_default

KEPT: Final = 8
"""How many canaries that have ended are kept in a snapshot."""


def begun(snapshot: Snapshot, wanted: CanaryStatus) -> tuple[Snapshot, CanaryStatus]:
    """Begin a trial.

    Args:
        snapshot: what is there.
        wanted: its name, version, share and tenants; a number that no other canary has; the functions that it covers,
            unless those are what the name means.

    Returns:
        The snapshot in which it runs, and its status.

    Raises:
        FunctionNotFound: if there is no such function or plugin, or no such version of it.
        PluginError: if the version is the default already, or the function is under another trial.
    """
    covered = wanted.functions or _covered(snapshot, wanted.name, wanted.version)
    for name in covered:
        route = snapshot.routes[name]
        if route.default == wanted.version:
            reason = f"{name}@{wanted.version} is the default already"
            raise PluginError(wanted.name, "route", reason, "name a version that is not")
        if route.split is not None:
            trial = route.split.trial
            what = f"under trial already, with {trial}" if trial else "split by the configuration"
            fix = "promote or abort that canary first" if trial else "take its shares out of [routes] first"
            raise PluginError(wanted.name, "route", f"{name} is {what}", fix)
    if wanted.labels and not snapshot.permissions.matching(dict(wanted.labels)):
        labels = ", ".join(f"{key}={value}" for key, value in wanted.labels)
        fix = "write `labels` of tenants under [tenants]"
        raise PluginError(wanted.name, "route", f"no tenant has the labels {labels}", fix)
    stable = snapshot.routes[covered[0]].default
    status = attrs.evolve(wanted, stable=stable, functions=covered)
    return redecided(snapshot, covered, canaries=_kept((*snapshot.canaries, status))), status


def changed(snapshot: Snapshot, status: CanaryStatus, **fields: Any) -> Snapshot:
    """Change the share of a trial, or end it; a promotion makes its version the default of all its functions.

    Args:
        snapshot: what is there.
        status: any status of the canary.
        **fields: of the status, what they are to be.

    Raises:
        PluginError: if it has ended.
    """
    now = current(snapshot, status)
    if now.state is not CanaryState.RUNNING:
        reason = f"the canary of {now.version} has ended: {now.state}" + (f" ({now.reason})" if now.reason else "")
        raise PluginError(now.name, "route", reason, "make a new one")
    after = attrs.evolve(now, **fields)
    canaries = tuple(after if each.number == now.number else each for each in snapshot.canaries)
    promoted = after.state is CanaryState.PROMOTED
    rules = with_default(snapshot.rules, dict.fromkeys(now.functions, now.version)) if promoted else None
    return redecided(snapshot, now.functions, rules=rules, canaries=_kept(canaries))


def permitted(snapshot: Snapshot, permissions: Permissions) -> Snapshot:
    """Take over what tenants may do, and which labels they have: what goes by labels is drawn anew.

    Args:
        snapshot: what is there.
        permissions: from now on.
    """
    after = attrs.evolve(snapshot, permissions=permissions)
    moved = [
        name
        for name, route in snapshot.routes.items()
        if route.split is not None
        and (labels := route.split.labels)
        and permissions.matching(labels) != snapshot.permissions.matching(labels)
    ]
    return redecided(after, moved) if moved else after


def noted(snapshot: Snapshot, status: CanaryStatus, reason: str) -> Snapshot | None:
    """Note what the last look at a trial found: no new revision; None when it has ended, or says so already."""
    now = current(snapshot, status)
    if now.state is not CanaryState.RUNNING or now.reason == reason:
        return None
    after = attrs.evolve(now, reason=reason)
    return attrs.evolve(
        snapshot, canaries=tuple(after if each.number == now.number else each for each in snapshot.canaries)
    )


def current(snapshot: Snapshot, status: CanaryStatus) -> CanaryStatus:
    """Give the status of a canary in a snapshot.

    Args:
        snapshot: where to look.
        status: any earlier status of it. One that ran and is not kept any more was ended by a change of the functions,
            as whatever its own handle did is known to its caller.
    """
    found = next((each for each in snapshot.canaries if each.number == status.number), None)
    if found is not None or status.state is not CanaryState.RUNNING:
        return found or status
    return attrs.evolve(status, state=CanaryState.ABORTED, reason="its version went, or was rolled back")


def _kept(canaries: tuple[CanaryStatus, ...]) -> tuple[CanaryStatus, ...]:
    """Drop those that ended the longest ago."""
    old = [each for each in canaries if each.state is not CanaryState.RUNNING][:-KEPT]
    return tuple(each for each in canaries if each not in old)


def _covered(snapshot: Snapshot, name: str, version: str) -> tuple[str, ...]:
    """Give the functions that a name means: that function, or those of that plugin that have the version."""
    route = snapshot.routes.get(name)
    if route is not None:
        if version not in route.endpoints:
            raise FunctionNotFound(name, version=version, versions=tuple(sorted(route.endpoints)))
        return (name,)
    of_plugin = [
        route for route in snapshot.routes.values() if any(e.spec.plugin == name for e in route.endpoints.values())
    ]
    covered = tuple(sorted(route.name for route in of_plugin if version in route.endpoints))
    if covered:
        return covered
    versions = tuple(sorted({version for route in of_plugin for version in route.endpoints}))
    known: Iterable[str] = {*snapshot.routes, *(route.spec.plugin for route in snapshot.routes.values())}
    raise FunctionNotFound(name, close_names(name, sorted(known)), version=version, versions=versions)
