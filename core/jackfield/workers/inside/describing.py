"""What a plugin's import gave, in plain data: all that its host can know of it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from jackfield.contract.payload.schema import payload_schema, result_schema
from jackfield.errors import Fault
from jackfield.model.place import place_of
from jackfield.model.spec import MISSING, FunctionSpec
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.instance import METHODS
from jackfield.strangers import Broken, barrier
from jackfield.wire.signature import shown_dependencies, shown_parameters, shown_result
from jackfield.workers.messages import Described, FaultFact, FunctionFact, ParameterFact

_MOST: Final = 1000  # methods of an object


def described(
    bundle: PluginBundle, faults: Iterable[Fault], notes: Sequence[str], hooks: Sequence[Any], threads: int
) -> Described:
    """Describe a plugin.

    Args:
        bundle: what it brought, without what is faulty.
        faults: what was left out.
        notes: what the sandbox could not hold.
        hooks: its hook implementations, which no worker calls.
        threads: how many there are after its import.
    """
    found = [fault_fact(fault) for fault in dict.fromkeys(faults)]
    if hooks:
        reason = "its hooks are not called: they run in the host, and the plugin does not"
        fix = "move them to a plugin that runs in the host"
        found.append(FaultFact("hooks", bundle.name, "hooks", reason, fix))
    return Described(
        tuple(_function(spec) for spec in bundle.specs),
        _methods(bundle.object),
        bundle.version,
        bundle.distribution,
        bundle.digest,
        tuple(found),
        None,
        threads,
        tuple(notes),
    )


def fault_fact(fault: Fault | str, plugin: str = "") -> FaultFact:
    """Write a fault, or one of a plugin that cannot be loaded at all."""
    if isinstance(fault, str):
        return FaultFact("import", plugin, plugin, fault, "correct it, or leave it out")
    return FaultFact(*(str(getattr(fault, field.name) or "") for field in attrs.fields(Fault)))


def _function(spec: FunctionSpec) -> FunctionFact:
    return FunctionFact(
        spec.name,
        spec.version,
        spec.colour,
        spec.shape,
        tuple(
            ParameterFact(each.name, each.kind, each.default is MISSING, shown)
            for each, shown in zip(spec.parameters, shown_parameters(spec), strict=True)
        ),
        shown_dependencies(spec),
        shown_result(spec),
        _schema(payload_schema, spec),
        _schema(result_schema, spec),
        spec.policy.timeout,
        spec.policy.idempotent,
        spec.summary,
        spec.notes,
        str(place_of(spec.target) or ""),
    )


def _schema(write: Any, spec: FunctionSpec) -> dict[str, Any]:
    try:
        with barrier("writing its schema"):
            made: dict[str, Any] = write(spec)
            return made
    except Broken:
        return {}


def _methods(target: Any) -> tuple[str, ...]:
    """Name the public methods of the plugin object."""
    try:
        with barrier():
            names = [name for name in dir(target) if not name.startswith("_")][:_MOST]
    except Broken:
        names = list(METHODS)
    return tuple(name for name in names if _has(target, name))


def _has(target: Any, name: str) -> bool:
    try:
        with barrier():
            return callable(getattr(target, name, None))
    except Broken:
        return False
