"""Changes of the registry: collected, checked as a whole, applied in one swap or not at all."""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

import attrs

from jackfield.contract import fits, specify
from jackfield.errors import ContractError, DuplicateFunction, Fault, FunctionNotFound, PluginError
from jackfield.model.names import close_names
from jackfield.model.route import Endpoint, Route, Rule
from jackfield.model.spec import FunctionSpec


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

    def fault(self, spec: FunctionSpec) -> Fault | None:
        """Say how a function fails the expectation, or None if it fits or is not meant."""
        if not fnmatchcase(spec.name, self.pattern):
            return None
        differences = fits(spec, self.payload, self.result)
        if not differences:
            return None
        reason = f"it does not fit the extension point {self.pattern!r}: {'; '.join(differences)}"
        return Fault("contract", spec.plugin, spec.key, reason, "change its annotations, or its name")


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
        spec = specify(name, target, version=version, plugin=plugin)
        self.operations.append(Addition(spec))
        return spec

    def unregister(self, name: str, *, version: str | None = None) -> None:
        """Add a removal to the transaction: all versions of a name, or one."""
        self.operations.append(Removal(name, version))


@attrs.frozen
class Change:
    """What a transaction comes to, not yet wired.

    Attributes:
        touched: the new versions of each function that changes, by name, in order, the default first; empty for one
            that goes.
        added: the specs that become visible.
        removed: the endpoints that go.
    """

    touched: Mapping[str, Mapping[str, FunctionSpec | Endpoint]]
    added: tuple[FunctionSpec, ...]
    removed: tuple[Endpoint, ...]


def plan(functions: Mapping[str, Route], operations: Iterable[Addition | Removal]) -> Change:
    """Work out what a transaction changes; pure.

    Args:
        functions: the current routes.
        operations: in order.

    Raises:
        DuplicateFunction: if a name and version is taken.
        FunctionNotFound: if what is to be removed is not there.
        PluginError: if a default version were removed while others remain.
    """
    touched: dict[str, dict[str, FunctionSpec | Endpoint]] = {}
    removed: list[Endpoint] = []

    def versions(name: str) -> dict[str, FunctionSpec | Endpoint]:
        if name not in touched:
            route = functions.get(name)
            touched[name] = {} if route is None else {route.default: route.endpoints[route.default], **route.endpoints}
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
        gone = _selected(operation, there, functions)
        removed += [found for version in gone if isinstance(found := there.pop(version), Endpoint)]
    added = tuple(found for there in touched.values() for found in there.values() if isinstance(found, FunctionSpec))
    return Change(touched, added, tuple(removed))


def _selected(
    removal: Removal, there: Mapping[str, FunctionSpec | Endpoint], functions: Mapping[str, Route]
) -> list[str]:
    """Give the versions that a removal means."""
    version = removal.version
    if not there:
        raise FunctionNotFound(removal.name, close_names(removal.name, functions))
    if version is None:
        return list(there)
    if version not in there:
        raise FunctionNotFound(removal.name, version=version, versions=tuple(sorted(there)))
    if version == next(iter(there)) and len(there) > 1 and not removal.succeed:
        others = ", ".join(other for other in there if other != version)
        reason = f"{removal.name}@{version} is the default version and {others} would remain without one"
        spec = _spec(there[version])
        plugin = spec.plugin if spec is not None else ""
        raise PluginError(
            plugin or removal.name, "route", reason, "make another version the default first, or remove all"
        )
    return [version]


def routes(
    change: Change,
    functions: dict[str, Route],
    wired: Mapping[FunctionSpec, Endpoint],
    rules: Mapping[str, Rule] = MappingProxyType({}),
) -> dict[str, Route]:
    """Build the routes of the next revision; pure.

    Args:
        change: what changes.
        functions: the current routes.
        wired: an endpoint for each spec that is added.
        rules: what the configuration says of functions.
    """
    new = functions.copy()
    for name, versions in change.touched.items():
        endpoints = {
            version: found if isinstance(found, Endpoint) else wired[found] for version, found in versions.items()
        }
        if endpoints:
            new[name] = _route(name, endpoints, functions.get(name), rules.get(name, Rule()))
        else:
            new.pop(name, None)
    return new


def _route(name: str, endpoints: Mapping[str, Endpoint], old: Route | None, rule: Rule) -> Route:
    """Build one route: rules that are there stay; the configured default takes over when it comes."""
    default = next(iter(endpoints))
    if rule.default is not None and rule.default in endpoints and (old is None or rule.default not in old.endpoints):
        default = rule.default
    split = rule.split if old is None else old.split
    if split is not None and split.trial and split.trial not in endpoints:
        split = None
    return Route(name, default, endpoints, split)


def rewired(functions: Mapping[str, Route], wire: Callable[[Endpoint], Endpoint]) -> dict[str, Route]:
    """Give the same routes with every endpoint passed through `wire`; pure."""
    new = {}
    for name, route in functions.items():
        endpoints = {version: wire(endpoint) for version, endpoint in route.endpoints.items()}
        same = all(endpoints[version] is endpoint for version, endpoint in route.endpoints.items())
        new[name] = route if same else Route(name, route.default, endpoints, route.split)
    return new


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
