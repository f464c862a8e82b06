"""Values by name → a payload: the one rule for command lines and flows."""

from collections.abc import Collection
from typing import Any

from jackfield.contract.reading import Document
from jackfield.contract.shapes import Choice, record, view
from jackfield.model.spec import FunctionSpec


def is_whole(spec: FunctionSpec, names: Collection[str]) -> bool:
    """Tell whether a value that is given by name is the payload itself, and not one field of it.

    For a function of one parameter the names are the fields of its record; the parameter's own name, unless the record
    has such a field, gives its value as a whole. For every other function they are its parameters.

    Args:
        spec: the function.
        names: by which values are given.

    Examples:
        >>> from jackfield.contract import specify
        >>> def double(number: int) -> int: ...
        >>> is_whole(specify("double", double), {"number"}), is_whole(specify("double", double), {"value"})
        (True, False)
    """
    if spec.shape != "one" or len(names) != 1:
        return False
    (parameter,) = spec.parameters
    if parameter.name not in names:
        return False
    if spec.remote is None:
        return parameter.name not in fields(parameter.annotation)
    schema = spec.remote.payload
    document = Document(schema)
    found = document.resolved(schema)
    members = () if isinstance(found, bool) else (document.choices(found) or (found,))
    return not any(
        isinstance(part := document.resolved(member), dict) and parameter.name in part.get("properties", {})
        for member in members
    )


def fields(annotation: Any) -> dict[str, Any]:
    """Give the fields of a record, or of all records that a union has, by name with their types."""
    seen = view(annotation)
    members = seen.members if isinstance(seen, Choice) else (annotation,)
    return {
        field.name: field.type for member in members if (found := record(member)) is not None for field in found.fields
    }
