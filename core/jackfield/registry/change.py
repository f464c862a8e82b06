"""Changes of the registry: collected, checked as a whole, applied in one swap or not at all."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

import attrs

from jackfield import contract
from jackfield.decorators import key_of
from jackfield.errors import ContractError, DuplicateFunction, Fault, FunctionNotFound, PluginError
from jackfield.model.canary import CanaryStatus
from jackfield.model.names import close_names
from jackfield.model.place import place_of
from jackfield.model.route import Endpoint, Route, Rule
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import Colour, FunctionSpec, Parameter
from jackfield.registry.routes import default_of, derived, ended, label_of
from jackfield.strangers import Broken, barrier, can_be_key, is_a, named


@attrs.frozen
class Addition:
    """A function that becomes visible."""

    spec: FunctionSpec


@attrs.frozen
class Removal:
    """A function that goes: one version of it, or all.

    Attributes:
        name: the function.
        version: the one version, or None for all.
        only: remove it only if it is this very registration.
        succeed: let the next version take over if it is the default, instead of refusing.
    """

    name: str
    version: str | None = None
    only: FunctionSpec | None = None
    succeed: bool = False


# What every expectation is tried on.
_ANY_FUNCTION: Final = FunctionSpec(
    "any",
    "0",
    "",
    "",
    id,
    Colour.SYNC,
    shape="one",
    parameters=(Parameter("value", inspect.Parameter.POSITIONAL_ONLY, int | None),),
    result=int | None,
)


@attrs.frozen
class Expectation:
    """An extension point: what is registered under the pattern must fit.

    Attributes:
        pattern: as `fnmatch` has it: `export.*`.
        payload: the payload type that callers will pass.
        result: the result type that they expect.
    """

    pattern: str
    payload: Any
    result: Any

    def __attrs_post_init__(self) -> None:
        """Refuse what no function could ever be held against.

        Raises:
            TypeError: if the pattern is no text.
            ContractError: if reading the types raises.
        """
        if not is_a(self.pattern, str):
            raise TypeError(f"an extension point is a pattern of names, such as 'export.*', not {named(self.pattern)}")
        try:
            with barrier("reading its types"):
                odd = [kind for kind in (self.payload, self.result) if not can_be_key(key_of(kind).type)]
                contract.fits(_ANY_FUNCTION, self.payload, self.result)
            why = f"{named(odd[0])} is no type that could be compared" if odd else ""
        except Broken as broken:
            why = broken.reason
        if why:
            raise ContractError(self.pattern, (Fault("contract", "", self.pattern, why, "expect plain types, or Any"),))

    def fault(self, spec: FunctionSpec) -> Fault | None:
        """Say how a function fails the expectation, or None if it fits or is not meant."""
        if not fnmatchcase(spec.name, self.pattern):
            return None
        try:
            with barrier("comparing it with an extension point"):
                differences = contract.fits(spec, self.payload, self.result)
        except Broken as broken:
            fix = "annotate it with types that can be compared, or change its name"
            return Fault("contract", spec.plugin, spec.key, broken.reason, fix)
        if not differences:
            return None
        reason = f"it does not fit the extension point {self.pattern!r}: {'; '.join(differences)}"
        return Fault(
            "contract", spec.plugin, spec.key, reason, "change its annotations, or its name", place_of(spec.target)
        )


class Update:
    """Collects registrations and removals for one swap; what `with host.update() as tx:` gives.

    Nothing is visible before the block ends; when it ends with an exception, nothing ever is.
    """

    def __init__(self) -> None:
        self.operations: list[Addition | Removal] = []

    def register(self, name: str, target: Callable[..., Any], *, version: str = "0", plugin: str = "") -> FunctionSpec:
        """Add a function to the transaction.

        Args:
            name: the dotted name it will be called by.
            target: any callable.
            version: its version; the first version of a name is the default route.
            plugin: the plugin it is counted to.

        Returns:
            What was learned of it.

        Raises:
            ContractError: with every fault of it.
        """
        spec = contract.specify(name, target, version=version, plugin=plugin)
        contract.codec_of(spec)
        self.operations.append(Addition(spec))
        return spec

    def unregister(self, name: str, *, version: str | None = None) -> None:
        """Add a removal to the transaction: all versions of a name, or one."""
        self.operations.append(Removal(name, version))


@attrs.frozen
class Change:
    """What a transaction comes to, not yet wired.

    Attributes:
        touched: the versions of each function that changes, by name, in order of rank; empty for one that goes.
        ranks: name → version → its rank, for the same functions.
        rules: what is said of all functions afterwards: a replaced version hands on what named it.
        added: the specs that become visible.
        removed: the endpoints that go.
    """

    touched: Mapping[str, Mapping[str, FunctionSpec | Endpoint]]
    ranks: Mapping[str, Mapping[str, int]]
    rules: Mapping[str, Rule]
    added: tuple[FunctionSpec, ...]
    removed: tuple[Endpoint, ...]


def plan(snapshot: Snapshot, operations: Iterable[Addition | Removal]) -> Change:
    """Work out what a transaction changes; pure.

    Args:
        snapshot: what is there.
        operations: in order.

    Raises:
        DuplicateFunction: if a name and version is taken.
        FunctionNotFound: if what is to be removed is not there.
        PluginError: if a default version were removed while others remain.
    """
    functions = snapshot.routes
    touched: dict[str, dict[str, FunctionSpec | Endpoint]] = {}
    removed: list[Endpoint] = []

    def versions(name: str) -> dict[str, FunctionSpec | Endpoint]:
        if name not in touched:
            route = functions.get(name)
            touched[name] = {} if route is None else {**route.endpoints}
        return touched[name]

    for operation in operations:
        if isinstance(operation, Addition):
            spec = operation.spec
            there = versions(spec.name)
            if spec.version in there:
                raise DuplicateFunction(spec.key, _owner(_spec(there[spec.version])), _owner(spec))
            there[spec.version] = spec
            continue
        there = versions(operation.name)
        if operation.only is not None and _spec(there.get(operation.only.version)) is not operation.only:
            continue
        gone = _selected(operation, there, snapshot)
        removed += [found for version in gone if isinstance(found := there.pop(version), Endpoint)]
    added = tuple(found for there in touched.values() for found in there.values() if isinstance(found, FunctionSpec))
    places = {name: 2 * place + 1 for place, name in enumerate(snapshot.plugins)}
    rules, ordered, ranks = dict(snapshot.rules), {}, {}
    for name, there in touched.items():
        old = functions.get(name)
        heirs = {} if old is None else _heirs(old, there)
        ranks[name] = _ranks(there, old, heirs, places)
        ordered[name] = _in_order(there, old, heirs, ranks[name])
        if old is not None and (rule := _inherited(rules.get(name), old, heirs)) is not None:
            rules[name] = rule
    return Change(ordered, ranks, MappingProxyType(rules), added, tuple(removed))


def _selected(removal: Removal, there: Mapping[str, FunctionSpec | Endpoint], snapshot: Snapshot) -> list[str]:
    """Give the versions that a removal means."""
    version = removal.version
    if not there:
        raise FunctionNotFound(removal.name, close_names(removal.name, snapshot.routes))
    if version is None:
        return list(there)
    if version not in there:
        raise FunctionNotFound(removal.name, version=version, versions=tuple(sorted(there)))
    default = default_of(there, snapshot.rules.get(removal.name))
    if version == default and len(there) > 1 and not removal.succeed:
        others = ", ".join(other for other in there if other != version)
        reason = f"{removal.name}@{version} is the default version and {others} would remain without one"
        spec = _spec(there[version])
        plugin = spec.plugin if spec is not None else ""
        raise PluginError(
            plugin or removal.name, "route", reason, "make another version the default first, or remove all"
        )
    return [version]


def _heirs(old: Route, there: Mapping[str, FunctionSpec | Endpoint]) -> dict[str, str]:
    """Pair the versions that go with those that come from the same plugin in the same transaction: a reload."""
    coming: dict[str, list[str]] = {}
    for version, found in there.items():
        if isinstance(found, FunctionSpec):
            coming.setdefault(found.plugin, []).append(version)
    heirs = {}
    for version, endpoint in old.endpoints.items():
        candidates = coming.get(endpoint.spec.plugin)
        if there.get(version) is not endpoint and candidates:
            heirs[version] = candidates.pop(0)
    return heirs


def _ranks(
    there: Mapping[str, FunctionSpec | Endpoint], old: Route | None, heirs: Mapping[str, str], places: Mapping[str, int]
) -> dict[str, int]:
    """Give each version the place of its plugin; what is registered by hand comes behind all plugins of that time."""
    taken = {} if old is None else {**old.ranks, **{new: old.ranks.get(gone, 0) for gone, new in heirs.items()}}
    ranks = {}
    for version, found in there.items():
        spec = found if isinstance(found, FunctionSpec) else found.spec
        ranks[version] = places.get(spec.plugin, taken.get(version, 2 * len(places)))
    return ranks


def _in_order(
    there: Mapping[str, FunctionSpec | Endpoint],
    old: Route | None,
    heirs: Mapping[str, str],
    ranks: Mapping[str, int],
) -> dict[str, FunctionSpec | Endpoint]:
    """Sort versions by rank, equal ones by when they came; an heir stands where the version was that it replaces."""
    before = () if old is None else (heirs.get(version, version) for version in old.endpoints)
    came = dict.fromkeys(version for version in (*before, *there) if version in there)
    return {version: there[version] for version in sorted(came, key=ranks.__getitem__)}


def _inherited(rule: Rule | None, old: Route, heirs: Mapping[str, str]) -> Rule | None:
    """Have a rule that names a version which is replaced name the one that replaces it; None when nothing changes."""
    meant = None if rule is None else label_of(rule.default, old.endpoints)
    if rule is None or meant is None or meant not in heirs or label_of(rule.default, (heirs[meant],)) is not None:
        return None
    return attrs.evolve(rule, default=heirs[meant])


def applied(snapshot: Snapshot, change: Change, wired: Mapping[FunctionSpec, Endpoint]) -> Snapshot:
    """Build the next revision; pure. Canaries whose version goes end with it.

    Args:
        snapshot: what is there.
        change: what changes.
        wired: an endpoint for each spec that is added.
    """
    functions: dict[str, Mapping[str, Endpoint]] = {
        name: {version: found if isinstance(found, Endpoint) else wired[found] for version, found in there.items()}
        for name, there in change.touched.items()
    }

    def gone(canary: CanaryStatus) -> str:
        lost = [name for name in canary.functions if name in functions and canary.version not in functions[name]]
        return f"{', '.join(lost)}: version {canary.version} has gone" if lost else ""

    canaries, loose = ended(snapshot.canaries, gone)
    routes = snapshot.routes.copy()
    for name in (*functions, *(name for name in loose if name not in functions and name in routes)):
        route = routes.get(name)
        endpoints = functions[name] if name in functions else routes[name].endpoints
        ranks = change.ranks.get(name, route.ranks if route is not None else {})
        if endpoints:
            routes[name] = derived(name, endpoints, ranks, change.rules.get(name), canaries, snapshot.permissions)
        else:
            routes.pop(name, None)
    return attrs.evolve(snapshot, revision=snapshot.revision + 1, routes=routes, rules=change.rules, canaries=canaries)


def check_expectations(specs: Iterable[FunctionSpec], expectations: Iterable[Expectation]) -> None:
    """Refuse functions that do not fit the extension points they are registered under.

    Raises:
        ContractError: with every difference.
    """
    expected = tuple(expectations)
    faults = tuple(fault for spec in specs for point in expected if (fault := point.fault(spec)) is not None)
    if faults:
        raise ContractError(faults[0].entry, faults)


def _spec(found: FunctionSpec | Endpoint | None) -> FunctionSpec | None:
    return found.spec if isinstance(found, Endpoint) else found


def _owner(spec: FunctionSpec | None) -> str:
    if spec is None:
        return "nobody"
    target = spec.target
    place = f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__qualname__)}"
    return f"{spec.plugin} ({place})" if spec.plugin else place
