"""The marks that authors write: `@function`, `inject()`, `@provides`, `@hookimpl`; and reading them back."""

import threading
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, overload

import attrs
import pluggy

from jackfield.model.spec import Dependency, Key, Policy
from jackfield.strangers import is_a, layers

hookimpl = pluggy.HookimplMarker("jackfield")
"""Marks a method named like one of the hookspecs in `jackfield.hooks`."""

Scope = Literal["singleton", "request"]
_SCOPES: Final = ("singleton", "request")
_POLICY: Final = "__jackfield_policy__"
_PROVIDES: Final = "__jackfield_provides__"
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
        if not 0 < timeout <= threading.TIMEOUT_MAX:
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
    for layer in layers(target, wrapped=False):
        noted = getattr(layer, _POLICY, None)
        if is_a(noted, Policy):
            return noted
    return Policy()


@attrs.frozen
class Inject:
    """The default value of an injected parameter or field; made by `inject()`.

    Frozen and hashable, because dataclasses refuse defaults that cannot be hashed.

    Attributes:
        name: the provider's name, or None for the type's unnamed provider.
        optional: inject None when nothing provides it.
    """

    name: str | None = None
    optional: bool = False


def inject(*, name: str | None = None, optional: bool = False) -> Any:
    """Mark a parameter or a field as injected.

    The type comes from the annotation. The result is a plain default value, so it works alike for functions,
    dataclasses and attrs classes, with the usual rule that what has a default comes after what has none.

    Args:
        name: ask for the provider of that name.
        optional: inject None when nothing provides it, instead of refusing the function.

    Returns:
        An `Inject`; typed `Any` so that it can stand as the default of anything.

    Examples:
        >>> class Database: ...
        >>> def count(table: str, *, db: Database = inject()) -> int: ...
        >>> inject(name="app-logger")
        Inject(name='app-logger', optional=False)
    """
    return Inject(name, optional)


@attrs.frozen
class Provides:
    """What `@provides` notes on a factory.

    Attributes:
        scope: `singleton` is made once in a host, `request` once in a call.
        name: what `inject(name=…)` asks for, or None.
    """

    scope: Scope = "singleton"
    name: str | None = None


@overload
def provides(factory: _F, /) -> _F: ...
@overload
def provides(*, scope: Scope = "singleton", name: str | None = None) -> Callable[[_F], _F]: ...
def provides(factory: Any = None, /, *, scope: Scope = "singleton", name: str | None = None) -> Any:
    """Mark a factory of dependencies: a function, a class, or a generator function that yields once.

    The factory itself is returned, with a note attached. What it provides is its return annotation (for a
    generator what it yields), or the class itself. All its parameters are dependencies.

    Args:
        factory: what is decorated, when the decorator is used without parentheses.
        scope: `singleton` (made once, closed when the host stops) or `request` (made once a call, closed when it ends).
        name: provide it under a name, for `inject(name=…)`.

    Returns:
        The factory, or a decorator that returns it.

    Raises:
        TypeError: if nothing can be attached to the factory, as to a bound method.
        ValueError: if there is no such scope.

    Examples:
        >>> from collections.abc import Iterator
        >>> @provides(scope="request")
        ... def lines() -> Iterator[list[str]]:
        ...     opened: list[str] = []
        ...     yield opened
        ...     opened.clear()
        >>> provided(lines)
        Provides(scope='request', name=None)
    """
    if scope not in _SCOPES:
        raise ValueError(f"no scope {scope!r}: use 'singleton' or 'request'")
    note = Provides(scope, name)

    def attach(factory: _F) -> _F:
        if not callable(factory):
            raise TypeError(f"@provides is for functions and classes, not for {type(factory).__name__}")
        try:
            setattr(factory, _PROVIDES, note)
        except (AttributeError, TypeError):
            shown = getattr(factory, "__qualname__", repr(factory))
            raise TypeError(f"@provides cannot mark {shown}: wrap it in a function and decorate that") from None
        return factory

    return attach if factory is None else attach(factory)


def provided(factory: Any) -> Provides | None:
    """Read what `@provides` noted.

    Args:
        factory: a function or class; a class does not inherit the note of its base.

    Returns:
        The note, or None when the factory carries none of its own.
    """
    note = vars(factory).get(_PROVIDES) if isinstance(factory, type) else getattr(factory, _PROVIDES, None)
    return note if isinstance(note, Provides) else None


def key_of(annotation: Any, name: str | None = None) -> Key:
    """Make the key that an evaluated annotation asks for.

    Args:
        annotation: the annotation; `Any` and `object` leave the type open.
        name: the name asked for.

    Returns:
        The key, with `| None` and `Annotated` taken off the type.

    Examples:
        >>> key_of(int | None)
        Key(type=<class 'int'>, name=None)
    """
    if get_origin(annotation) is Annotated:
        return key_of(get_args(annotation)[0], name)
    if get_origin(annotation) in (Union, UnionType):
        members = tuple(member for member in get_args(annotation) if member is not NoneType)
        return key_of(members[0], name) if len(members) == 1 else Key(Union[members], name)  # noqa: UP007  # not known in advance
    return Key(object if annotation is Any else annotation, name)


def dependency(parameter: str, annotation: Any, marker: Inject) -> Dependency:
    """Make the dependency that a marked parameter or field declares.

    Args:
        parameter: the keyword it is passed by (an attrs field's alias).
        annotation: its evaluated annotation, `Any` when there is none.
        marker: what `inject()` gave.

    Returns:
        The dependency. Without a type and without a name its key is `Key(object)`, which nothing can provide.
    """
    return Dependency(parameter, key_of(annotation, marker.name), marker.optional)
