"""Assert what a function's contract is, without a host."""

from collections.abc import Callable
from typing import Any

from jackfield.contract import fits, specify
from jackfield.model.spec import FunctionSpec


def assert_contract(target: Callable[..., Any], *, payload: Any = Any, result: Any = Any) -> FunctionSpec:
    """Assert that a callable can be registered, and takes and gives what its callers rely on.

    Args:
        target: the function or class.
        payload: the type that callers pass.
        result: the type that they expect.

    Returns:
        All that loading learns of it, for further assertions.

    Raises:
        ContractError: if it cannot be registered, with every fault.
        AssertionError: if it does not fit, with what differs.

    Examples:
        >>> def shout(text: str) -> str: ...
        >>> assert_contract(shout, payload=str, result=str).shape
        'one'
    """
    spec = specify("function.under_test", target)
    differences = fits(spec, payload, result)
    if differences:
        raise AssertionError(f"{getattr(target, '__qualname__', target)}: {'; '.join(differences)}")
    return spec
