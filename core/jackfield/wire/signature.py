"""A contract as text, for people: of a function of this process, or of another."""

import attrs

from jackfield.contract.payload import payload_schema, result_schema
from jackfield.contract.shapes import render
from jackfield.model.spec import MISSING, FunctionSpec, Parameter, RemoteContract
from jackfield.wire.values import text_of

_SHOWN = 80  # characters of a default


def shown_parameters(spec: FunctionSpec) -> tuple[str, ...]:
    """Render the parameters that the payload fills, as in a signature, each with its type and default.

    Examples:
        >>> from jackfield.contract import specify
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> shown_parameters(specify("shape.area", area))
        ('width: float', 'height: float = 1.0')
    """
    return tuple(map(_shown, spec.parameters)) if spec.remote is None else spec.remote.parameters


def shown_result(spec: FunctionSpec) -> str:
    """Render the type of the result."""
    return render(spec.result) if spec.remote is None else spec.remote.returns


def untyped_result(spec: FunctionSpec) -> str:
    """Say what a caller gets who names no type, when the function runs in a worker: its classes are there.

    Returns:
        What to know of it; "" when the result is the same wherever the function runs.
    """
    schema = result_schema(spec)
    if not any("properties" in each for each in (schema, *schema.get("$defs", {}).values())):
        return ""
    return "from a worker: plain data (a dict for a class), unless `host.function(name, Payload, Result)` asks for more"


def shown_dependencies(spec: FunctionSpec) -> tuple[str, ...]:
    """Render what is injected, each with its parameter."""
    if spec.remote is not None:
        return spec.remote.dependencies
    return tuple(f"{one.parameter}: {one.key}{' (optional)' if one.optional else ''}" for one in spec.dependencies)


def as_remote(spec: FunctionSpec) -> FunctionSpec:
    """Give a function with its contract as schemas alone, as one has it whose types are in another process.

    Args:
        spec: a function of this process, which runs elsewhere all the same.
    """
    said = shown_parameters(spec), shown_result(spec), shown_dependencies(spec)
    return attrs.evolve(spec, remote=RemoteContract(payload_schema(spec), result_schema(spec), *said))


def _shown(parameter: Parameter) -> str:
    stars = "**" if parameter.kind is parameter.kind.VAR_KEYWORD else ""
    default = "" if parameter.default is MISSING else f" = {text_of(parameter.default)[:_SHOWN]}"
    return f"{stars}{parameter.name}: {render(parameter.annotation)}{default}"
