"""From candidates to functions, providers and hooks: import, check, and leave out alone what is faulty."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs

from jackfield.contract import specify
from jackfield.errors import ContractError, Fault, InjectionError, PluginError
from jackfield.injection.providers import Provider, describe
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PROVIDERS, Candidate, Catalogue, load

T = TypeVar("T")


@attrs.frozen
class Loaded:
    """What importing candidates gave.

    Attributes:
        hooks: hook implementations, each with its plugin.
        providers: factories of dependencies.
        functions: functions whose contracts are good.
        faults: why the rest is left out.
    """

    hooks: tuple[tuple[Any, str], ...] = ()
    providers: tuple[Provider, ...] = ()
    functions: tuple[FunctionSpec, ...] = ()
    faults: tuple[Fault, ...] = ()


def load_all(catalogue: Catalogue, groups: Iterable[str] = (HOOKS, PROVIDERS, FUNCTIONS)) -> Loaded:
    """Import and check every candidate of some groups; a faulty one is left out alone.

    Args:
        catalogue: what the scan found.
        groups: which groups.
    """
    faults: list[Fault] = []
    wanted = set(groups)

    def each(group: str, make: Callable[[Candidate], T]) -> tuple[T, ...]:
        made = []
        for candidate in catalogue.group(group) if group in wanted else ():
            try:
                made.append(make(candidate))
            except PluginError as error:
                faults.append(Fault(error.stage, candidate.plugin, candidate.name, error.reason, error.fix))
            except (ContractError, InjectionError) as error:
                faults.extend(error.faults)
        return tuple(made)

    return Loaded(
        each(HOOKS, lambda candidate: (load(candidate), candidate.plugin)),
        each(PROVIDERS, lambda candidate: describe(load(candidate), plugin=candidate.plugin)),
        each(FUNCTIONS, load_function),
        tuple(faults),
    )


def load_function(candidate: Candidate) -> FunctionSpec:
    """Import one function and check its contract.

    Args:
        candidate: where it is.

    Raises:
        PluginError: if it cannot be imported.
        ContractError: with every fault of it.
    """
    return specify(
        candidate.name,
        load(candidate),
        version=candidate.version,
        plugin=candidate.plugin,
        distribution=candidate.distribution,
    )
