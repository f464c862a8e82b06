"""Results of other processes, which are plain data, as values of the types that their callers have."""

from collections.abc import Callable
from typing import Any

from jackfield.contract.payload.conversion import compile_plan
from jackfield.contract.payload.misfit import Misfit
from jackfield.errors import ContractError, Fault


def compile_result(function: str, annotation: Any) -> Callable[[Any], Any] | None:
    """Compile what makes a value of a type of plain data; None where there is nothing to be made.

    Args:
        function: whose result it is.
        annotation: the type.

    Examples:
        >>> compile_result("text.tags", set[str])(["a", "b", "a"]) == {"a", "b"}
        True
    """
    if annotation is Any or annotation is object:
        return None
    take = compile_plan(type(None) if annotation is None else annotation).take

    def convert(value: Any) -> Any:
        try:
            return take(value)
        except Misfit as misfit:
            said = misfit.error(function)
            reason = f"its result does not fit: {said.path}: expected {said.expected}, got {said.got}"
            fix = "use the type that the version which runs gives"
            raise ContractError(function, (Fault("contract", "", function, reason, fix),)) from misfit.__cause__

    return convert
