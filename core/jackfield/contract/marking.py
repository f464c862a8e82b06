"""`@function`: how a function wants to be run, noted on the function itself."""

import functools
import math
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from jackfield.model.spec import Policy

_POLICY: Final = "__jackfield_policy__"
_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def function(fn: _F, /) -> _F: ...
@overload
def function(
    *, timeout: float | None = None, executor: str | None = None, idempotent: bool = False
) -> Callable[[_F], _F]: ...
def function(
    fn: Any = None, /, *, timeout: float | None = None, executor: str | None = None, idempotent: bool = False
) -> Any:
    """Note on a function or class how it wants to be run; it stays the very same object.

    Args:
        fn: what is decorated, when the decorator is used without parentheses.
        timeout: seconds that one call may take.
        executor: `inline`, `thread`, … instead of the host's choice.
        idempotent: calling twice does what calling once does, so that a lost call may be tried again.

    Returns:
        The function itself, or a decorator that returns it.

    Raises:
        TypeError: if an argument has the wrong type, or nothing can be attached to `fn`.
        ValueError: if `timeout` is not a positive, finite number of seconds, or `executor` is empty.

    Examples:
        >>> @function(timeout=0.5)
        ... def double(x: int) -> int:
        ...     return 2 * x
        >>> double(4)
        8
    """
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"timeout is a number of seconds or None, not {type(timeout).__name__}")
        if not (timeout > 0 and math.isfinite(timeout)):
            raise ValueError(f"timeout is a positive number of seconds, not {timeout!r}; None is no limit of its own")
    if executor is not None and not isinstance(executor, str):
        raise TypeError(f"executor is a name such as 'thread', not {type(executor).__name__}")
    if executor == "":
        raise ValueError("executor is a name such as 'thread', or None")
    if not isinstance(idempotent, bool):
        raise TypeError(f"idempotent is True or False, not {type(idempotent).__name__}")
    policy = Policy(timeout, executor, idempotent)

    def attach(fn: _F) -> _F:
        if not callable(fn):
            raise TypeError(f"@function is for functions and classes, not for {type(fn).__name__}")
        try:
            setattr(fn, _POLICY, policy)
        except (AttributeError, TypeError):
            shown = getattr(fn, "__qualname__", type(fn).__name__)
            raise TypeError(f"@function cannot mark {shown}: wrap it in a function and decorate that") from None
        return fn

    return attach if fn is None else attach(fn)


def noted_policy(target: Any) -> Policy:
    """Give the policy that `@function` has noted on a callable, through partials of it; else the default one."""
    while isinstance(target, functools.partial) and not hasattr(target, _POLICY):
        target = target.func
    noted = getattr(target, _POLICY, None)
    return noted if isinstance(noted, Policy) else Policy()
