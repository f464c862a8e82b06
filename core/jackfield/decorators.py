"""The marks that authors write: `@function`, `inject()`, `@provides`, `@decorates`, `@hookimpl`; and reading them."""

import threading
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, overload

import attrs
import pluggy

from jackfield.model.spec import Dependency, Key, Policy
from jackfield.model.spelling import canonical, peeled
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

    The type comes from the annotation. The result is a plain value, so it works alike as the default of a parameter and
    of a field of a dataclass or an attrs class, and within the annotation, as in `db: Annotated[Database, inject()]`.

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
    """What `@provides` and `@decorates` note on a factory.

    Attributes:
        scope: `singleton` is made once in a host, `request` once in a call; None is that of what is decorated.
        name: what `inject(name=…)` asks for, or None.
        types: further types to provide it as; of a decorator the one that it decorates, if it was given.
        decorates: whether it wraps what others provide.
    """

    scope: Scope | None = "singleton"
    name: str | None = None
    types: tuple[Any, ...] = ()
    decorates: bool = False


@overload
def provides(factory: _F, /) -> _F: ...
@overload
def provides(*, scope: Scope = "singleton", name: str | None = None, as_: Any = ()) -> Callable[[_F], _F]: ...
def provides(factory: Any = None, /, *, scope: Scope = "singleton", name: str | None = None, as_: Any = ()) -> Any:
    """Mark a factory of dependencies: a function, a class, or a generator function that yields once.

    The factory itself is returned, with a note attached. What it provides is its return annotation (for a
    generator what it yields), or the class itself. All its parameters are dependencies.

    Args:
        factory: what is decorated, when the decorator is used without parentheses.
        scope: `singleton` (made once, closed when the host stops) or `request` (made once a call, closed when it ends).
        name: provide it under a name, for `inject(name=…)`.
        as_: a base class or protocol, or a tuple of them, by which it can be asked for as well.

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
        >>> provided(lines).scope
        'request'
    """
    if scope not in _SCOPES:
        raise ValueError(f"no scope {scope!r}: use 'singleton' or 'request'")
    return _noting("provides", Provides(scope, name, as_ if isinstance(as_, tuple) else (as_,)), factory)


@overload
def decorates(kind: type[Any], /, *, scope: Scope | None = None, name: str | None = None) -> Callable[[_F], _F]: ...
@overload
def decorates(factory: _F, /) -> _F: ...
@overload
def decorates(*, scope: Scope | None = None, name: str | None = None) -> Callable[[_F], _F]: ...
def decorates(subject: Any = None, /, *, scope: Scope | None = None, name: str | None = None) -> Any:
    """Mark a factory that wraps what others provide: whoever asks for it gets what the factory makes of it.

    One of its parameters takes the object that is wrapped: the first whose annotation is the type that is decorated.
    That type is the factory's return annotation, or the type given here, as a class needs it: `@decorates(Mailer)`.
    Its other parameters are dependencies. Several decorators of one type are applied in the order of registration, the
    last one outermost.

    Args:
        subject: the type that is decorated, or the factory when the decorator is used without parentheses.
        scope: `singleton` or `request`; that of what is decorated when None.
        name: decorate what is provided under that name.

    Returns:
        The factory, or a decorator that returns it.

    Raises:
        TypeError: if nothing can be attached to the factory.
        ValueError: if there is no such scope.

    Examples:
        >>> class Mailer: ...
        >>> @decorates
        ... def traced(mailer: Mailer) -> Mailer: ...
        >>> @decorates(Mailer)
        ... class Retrying:
        ...     def __init__(self, mailer: Mailer) -> None: ...
    """
    if scope is not None and scope not in _SCOPES:
        raise ValueError(f"no scope {scope!r}: use 'singleton' or 'request', or none for that of what is decorated")
    is_type = isinstance(subject, type) or get_origin(subject) is not None
    note = Provides(scope, name, (subject,) if is_type else (), decorates=True)
    return _noting("decorates", note, None if is_type else subject)


def _noting(mark: str, note: Provides, factory: Any) -> Any:
    def attach(factory: _F) -> _F:
        if not callable(factory):
            raise TypeError(f"@{mark} is for functions and classes, not for {type(factory).__name__}")
        try:
            setattr(factory, _PROVIDES, note)
        except (AttributeError, TypeError):
            shown = getattr(factory, "__qualname__", repr(factory))
            raise TypeError(f"@{mark} cannot mark {shown}: wrap it in a function and decorate that") from None
        return factory

    return attach if factory is None else attach(factory)


def provided(factory: Any) -> Provides | None:
    """Read what `@provides` or `@decorates` noted.

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
        The key, with `| None`, `Annotated` and aliases taken off the type, in its one spelling.

    Examples:
        >>> key_of(int | None)
        Key(type=<class 'int'>, name=None)
    """
    wanted = canonical(annotation)
    if get_origin(wanted) in (Union, UnionType):
        members = tuple(member for member in get_args(wanted) if member is not NoneType)
        wanted = members[0] if len(members) == 1 else Union[members]  # noqa: UP007  # not known in advance
    return Key(object if wanted is Any else wanted, name)


def marker_of(default: Any, annotation: Any) -> Any:
    """Find the `inject()` of a parameter or field: its default, or in its annotation, aliases of it included.

    Args:
        default: its default.
        annotation: its evaluated annotation.

    Returns:
        An `Inject`; the function `inject` itself where the parentheses were forgotten; None where there is neither.

    Examples:
        >>> from typing import Annotated
        >>> marker_of(None, Annotated[int, inject(name="port")])
        Inject(name='port', optional=False)
    """
    if is_a(default, Inject) or default is inject:
        return default
    if is_a(annotation, type):
        return None
    noted = (layer for layer in peeled(annotation) if get_origin(layer) is Annotated)
    notes = (note for layer in noted for note in layer.__metadata__)
    return next((note for note in notes if is_a(note, Inject) or note is inject), None)


def dependency(parameter: str, annotation: Any, marker: Inject, *, defaulted: bool = False) -> Dependency:
    """Make the dependency that a marked parameter or field declares.

    Args:
        parameter: the keyword it is passed by (an attrs field's alias).
        annotation: its evaluated annotation, `Any` when there is none.
        marker: what `inject()` gave.
        defaulted: whether it has an ordinary default, beside an `inject()` in its annotation.

    Returns:
        The dependency. Without a type and without a name its key is `Key(object)`, which nothing can provide.
    """
    return Dependency(parameter, key_of(annotation, marker.name), marker.optional, defaulted)
