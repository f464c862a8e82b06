"""What decides where calls go: pure functions that give the routes of another snapshot.

A route follows from its versions, their ranks, what the configuration or an operator said, and the canary that runs.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from math import ceil
from types import MappingProxyType
from typing import Any

import attrs

from jackfield.model.call import DRAW, Call
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.permissions import Permissions
from jackfield.model.route import Endpoint, Route, Rule, Split
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import Colour, FunctionSpec


def label_of(version: str | None, there: Iterable[str]) -> str | None:
    """Find the version that a rule means: that very one, else the latest label `1.0+digest` that a reload gave it.

    Args:
        version: as the rule names it.
        there: the versions that there are.

    Examples:
        >>> label_of("1.0", ["1.0+ab12", "2.0"]), label_of("1.0", ["1.0", "1.0+ab12"]), label_of("1.1", ["1.0"])
        ('1.0+ab12', '1.0', None)
    """
    versions = tuple(there)
    if version in versions:
        return version
    return next((label for label in reversed(versions) if label.partition("+")[0] == version), None)


def default_of(versions: Iterable[str], rule: Rule | None) -> str:
    """Give the version that calls go to when nothing else says so.

    Args:
        versions: those that there are, in order of rank.
        rule: what the configuration or an operator said.
    """
    there = tuple(versions)
    return (label_of(rule.default, there) if rule is not None else None) or there[0]


def derived(
    name: str,
    endpoints: Mapping[str, Endpoint],
    ranks: Mapping[str, int],
    rule: Rule | None,
    canaries: Iterable[CanaryStatus],
    permissions: Permissions,
) -> Route:
    """Make a route of all that decides it; pure.

    Args:
        name: the function.
        endpoints: by version, in order of rank.
        ranks: by version.
        rule: what the configuration or an operator said.
        canaries: one that runs and covers the function comes before the rule's split.
        permissions: which tenants have which labels.
    """
    trial = next((each for each in canaries if each.state is CanaryState.RUNNING and name in each.functions), None)
    if trial is not None:
        version = trial.version
        tenants, shares = dict.fromkeys(trial.tenants, version), ((version, trial.share),)
        split: Split | None = Split(trial.name, shares, tenants, version, dict(trial.labels))
    else:
        split = _meant(rule.split, endpoints) if rule is not None else None
    if split is not None and split.labels:
        split = attrs.evolve(split, tenants={**_drawn(split, permissions), **split.tenants})
    return Route(name, default_of(endpoints, rule), endpoints, split, ranks)


def _drawn(split: Split, permissions: Permissions) -> dict[str, str]:
    """Give tenant → version of those who have the labels and are drawn: named so, a call need not ask for labels."""
    from jackfield.model.draws import bucket  # noqa: PLC0415  # hashing is for those who split

    ends = [ceil(end * 2**DRAW) for end in accumulate(share for _, share in split.shares)]
    places = ((tenant, bisect_right(ends, bucket(split.salt, tenant))) for tenant in permissions.matching(split.labels))
    return {tenant: split.shares[place][0] for tenant, place in places if place < len(ends)}


def _meant(split: Split | None, endpoints: Mapping[str, Endpoint]) -> Split | None:
    """Have a configured split name the labels of reloads."""
    if split is None or all(version in endpoints for version in (*dict(split.shares), *split.tenants.values())):
        return split
    return attrs.evolve(
        split,
        shares=tuple((label_of(version, endpoints) or version, share) for version, share in split.shares),
        tenants={tenant: label_of(version, endpoints) or version for tenant, version in split.tenants.items()},
    )


def ended(
    canaries: tuple[CanaryStatus, ...], why: Callable[[CanaryStatus], str]
) -> tuple[tuple[CanaryStatus, ...], dict[str, None]]:
    """End the canaries that cannot go on; pure.

    Args:
        canaries: all of a snapshot.
        why: the reason for one; "" when it goes on.

    Returns:
        All of them afterwards, and the functions that are no longer under trial.
    """
    after, loose = [], dict[str, None]()
    for canary in canaries:
        reason = why(canary) if canary.state is CanaryState.RUNNING else ""
        if reason:
            after.append(attrs.evolve(canary, state=CanaryState.ABORTED, reason=reason))
            loose |= dict.fromkeys(canary.functions)
        else:
            after.append(canary)
    return (tuple(after) if loose else canaries), loose


def redecided(
    snapshot: Snapshot,
    names: Iterable[str],
    *,
    rules: Mapping[str, Rule] | None = None,
    canaries: tuple[CanaryStatus, ...] | None = None,
) -> Snapshot:
    """Build the revision in which other rules or canaries decide; versions stay as they are; pure.

    Args:
        snapshot: what is there.
        names: the functions that they concern; one that is not there is passed over.
        rules: all rules afterwards; None for the same.
        canaries: all canaries afterwards; None for the same.
    """
    rules = snapshot.rules if rules is None else MappingProxyType(dict(rules))
    canaries = snapshot.canaries if canaries is None else canaries
    routes = snapshot.routes.copy()
    for name in names:
        if (route := routes.get(name)) is not None:
            routes[name] = derived(name, route.endpoints, route.ranks, rules.get(name), canaries, snapshot.permissions)
    return attrs.evolve(snapshot, revision=snapshot.revision + 1, routes=routes, rules=rules, canaries=canaries)


def with_default(rules: Mapping[str, Rule], default: Mapping[str, str]) -> dict[str, Rule]:
    """Give the rules with other defaults; pure.

    Args:
        rules: as they are.
        default: name → the version that becomes the default.
    """
    return {**rules, **{name: attrs.evolve(rules.get(name, Rule()), default=to) for name, to in default.items()}}


def rolled_back(snapshot: Snapshot, old: Snapshot, endpoint: Callable[[FunctionSpec], Endpoint]) -> Snapshot:
    """Build the revision that has the functions and rules of an earlier one; pure but for `endpoint`.

    A trial does not come back: whoever made it may have ended, and nobody could end it again. One that runs ends.

    Args:
        snapshot: what is there.
        old: the earlier one.
        endpoint: gives the endpoint of a spec.
    """
    canaries, _ = ended(snapshot.canaries, lambda _: f"a rollback to revision {old.revision} ended it")
    routes = {}
    for name, route in old.routes.items():
        endpoints = {version: endpoint(found.spec) for version, found in route.endpoints.items()}
        same = all(endpoints[version] is found for version, found in route.endpoints.items())
        moved = route.split is not None and (route.split.trial or route.split.labels)
        routes[name] = (
            route
            if same and not moved
            else derived(name, endpoints, route.ranks, old.rules.get(name), (), snapshot.permissions)
        )
    return attrs.evolve(snapshot, revision=snapshot.revision + 1, routes=routes, rules=old.rules, canaries=canaries)


def rewired(snapshot: Snapshot, wire: Callable[[Endpoint], Endpoint]) -> Snapshot:
    """Give the same revision with every endpoint passed through `wire`."""
    routes = {}
    for name, route in snapshot.routes.items():
        endpoints = {version: wire(endpoint) for version, endpoint in route.endpoints.items()}
        same = all(endpoints[version] is endpoint for version, endpoint in route.endpoints.items())
        routes[name] = route if same else Route(name, route.default, endpoints, route.split, route.ranks)
    return attrs.evolve(snapshot, routes=routes)


def without(snapshot: Snapshot, plugin: str) -> Snapshot:
    """Give a revision without the functions of a plugin, for the history; pure.

    Args:
        snapshot: an earlier one.
        plugin: whose functions.
    """
    routes = {}
    for name, route in snapshot.routes.items():
        left = {version: found for version, found in route.endpoints.items() if found.spec.plugin != plugin}
        if len(left) == len(route.endpoints):
            routes[name] = route
        elif left:
            routes[name] = derived(name, left, route.ranks, snapshot.rules.get(name), (), snapshot.permissions)
    return attrs.evolve(snapshot, routes=routes)


def let_go(snapshot: Snapshot, names: Iterable[str], which: Callable[[FunctionSpec], bool]) -> Snapshot:
    """Give an earlier revision that knows some functions by name and version alone, and holds nothing of theirs; pure.

    Args:
        snapshot: the revision, which is in the history.
        names: where to look.
        which: tells those functions.
    """
    routes = snapshot.routes.copy()
    changed = False
    for name in names:
        route = routes.get(name)
        if route is not None and any(which(found.spec) for found in route.endpoints.values()):
            endpoints = {
                version: _trace(found.spec) if which(found.spec) else found
                for version, found in route.endpoints.items()
            }
            routes[name] = Route(name, route.default, endpoints, route.split, route.ranks)
            changed = True
    return attrs.evolve(snapshot, routes=routes) if changed else snapshot


def revived(old: Snapshot, snapshot: Snapshot) -> Snapshot:
    """Give an earlier revision with what its plugins serve now in place of what was let go; pure.

    What a plugin that has stopped had served is left out: it stays stopped.

    Args:
        old: the earlier one.
        snapshot: what is there.
    """
    routes = {}
    for name, route in old.routes.items():
        if not any(_is_trace(found) for found in route.endpoints.values()):
            routes[name] = route
            continue
        endpoints: dict[str, Endpoint] = {}
        for version, found in route.endpoints.items():
            heir = _heir(found.spec, snapshot) if _is_trace(found) else found
            if heir is not None:
                endpoints.setdefault(version if heir is found else heir.version, heir)
        if endpoints:
            now = snapshot.routes.get(name)
            ranks = {**(now.ranks if now is not None else {}), **route.ranks}
            ranks = {version: ranks[version] for version in endpoints if version in ranks}
            routes[name] = derived(name, endpoints, ranks, old.rules.get(name), (), snapshot.permissions)
    return attrs.evolve(old, routes=routes)


def _heir(trace: FunctionSpec, snapshot: Snapshot) -> Endpoint | None:
    """Find what a plugin serves under a name now: that very version, else the one that it has."""
    route = snapshot.routes.get(trace.name)
    there = [] if route is None else [each for each in route.endpoints.values() if each.spec.plugin == trace.plugin]
    return next((each for each in there if each.version == trace.version), there[0] if there else None)


def _trace(spec: FunctionSpec) -> Endpoint:
    """Make what is left of a function when nothing of it is kept."""
    return Endpoint(
        FunctionSpec(spec.name, spec.version, spec.plugin, spec.distribution, target=_gone, colour=Colour.SYNC),
        run=_gone,
        arun=_gone,
    )


def _is_trace(endpoint: Endpoint) -> bool:
    return endpoint.spec.target is _gone


def _gone(call: Call) -> Any:
    raise AssertionError(f"{call.name} is in the history alone")  # nothing of the history is ever called
