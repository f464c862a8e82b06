"""The barrier around objects that strangers wrote: looking at one can raise anything, lie, and go on for ever.

Whatever reads a plugin's object (its class, signature, annotations, docstring, marks, hash) does so within `barrier`,
which turns what comes out of it into one error with a reason. Three rules keep the reading itself from being misled:

- what an object is, its real class says (`is_a`): `__class__` may be a property that lies or raises;
- the layers of a callable are walked by `layers`, which ends, whatever `func` and `__wrapped__` give;
- what is to be a key is tried first (`can_be_key`): afterwards it is looked up in many places.
"""

import functools
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final, TypeGuard, TypeVar

from jackfield.errors import JackfieldError
from jackfield.stack import error_type, origin

T = TypeVar("T")
_DEEPEST: Final = 500  # layers of one callable: more than Python lets anybody call through


class Broken(Exception):
    """Reading a stranger's object failed; never leaves jackfield: it becomes a fault.

    Args:
        reason: a sentence's end, as in `reading it raised ValueError (/srv/app/billing.py:7)`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class barrier:  # noqa: N801  # reads as `contextlib.suppress`, and takes a third of the time of a generator
    """Turn whatever a stranger's code raises within the block into `Broken`; errors of jackfield pass.

    `SystemExit` and `KeyboardInterrupt` are no exception: only the user's own Ctrl-C passes.

    Args:
        doing: what is being done, for the reason.

    Raises:
        Broken: with the class of what was raised, and the line; never its message, which may hold anything.

    Examples:
        >>> with barrier("reading it"):
        ...     raise SystemExit(1)
        Traceback (most recent call last):
        ...
        jackfield.strangers.Broken: reading it raised SystemExit (...)
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str = "reading it") -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Raise the reason in place of the error."""
        if error is None or is_a(error, (Broken, JackfieldError)) or is_interrupt(error):
            return
        where = origin(error).rpartition(" ")[0]
        raise Broken(f"{self._doing} raised {error_type(error)}{f' ({where})' if where else ''}") from error


def is_interrupt(error: BaseException) -> bool:
    """Tell whether this is the user's Ctrl-C: Python delivers it to the main thread alone, where it handles SIGINT.

    Args:
        error: what was raised.
    """
    if not is_a(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) not in (None, signal.SIG_DFL, signal.SIG_IGN)


def is_a(value: object, kind: type[T] | tuple[type[T], ...]) -> TypeGuard[T]:
    """Tell whether an object is an instance by its real class, whatever its `__class__` says.

    Args:
        value: any object.
        kind: a class of ours or of Python's, or several.

    Examples:
        >>> from unittest.mock import Mock
        >>> isinstance(Mock(spec=int), int), is_a(Mock(spec=int), int), is_a(True, int)
        (True, False, True)
    """
    return issubclass(type(value), kind)


def named(value: object) -> str:
    """Name an object in a message by its class, or a class or function by itself, without running its code.

    Examples:
        >>> named(3), named(int), named(named)
        ('int', 'int', 'named')
    """
    for reader in _NAMES:
        try:
            name: object = reader(value)
        except Exception:  # noqa: BLE001, S112  # as when it is no class
            continue
        if type(name) is str:
            return name.rpartition("<locals>.")[2]
    return "an object"


_NAMES: Final[tuple[Callable[[Any], object], ...]] = (
    lambda value: type.__dict__["__qualname__"].__get__(value) if is_a(value, type) else None,
    lambda value: object.__getattribute__(value, "__qualname__") if type(value).__module__ == "builtins" else None,
    lambda value: type.__dict__["__qualname__"].__get__(type(value)),
)


def bases(cls: type) -> tuple[type, ...]:
    """Give the method resolution order of a class, whatever its metaclass says."""
    found: tuple[type, ...] = type.__dict__["__mro__"].__get__(cls)
    return found


def layers(call: Any, *, wrapped: bool = True) -> Iterator[Any]:
    """Walk a callable from the outside in: through partials, methods and `functools.wraps`, however they are stacked.

    Args:
        call: any callable.
        wrapped: follow `__wrapped__`; a circle of it ends the walk, since the callable itself works.

    Yields:
        The callable, and each that is within.

    Raises:
        Broken: for partials in a circle, which nobody can call.
        BaseException: whatever a stranger's attribute raises.

    Examples:
        >>> [named(layer) for layer in layers(functools.partial(layers, None))]
        ['partial', 'layers']
    """
    seen: set[int] = set()
    kept = []  # so that no number is given twice to what an attribute makes anew each time
    while len(seen) < _DEEPEST:
        yield call
        seen.add(id(call))
        kept.append(call)
        if isinstance(call, functools.partial):  # as `inspect` asks, which has no end of its own
            call = call.func
            if id(call) in seen:
                raise Broken("it is a partial of itself")
        elif wrapped and hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif is_a(call, MethodType):
            call = call.__func__
        else:
            return
        if id(call) in seen:
            return
    raise Broken(f"there are more than {_DEEPEST} callables within it")


def innermost(call: Any, *, wrapped: bool = True) -> Any:
    """Give the last of `layers`."""
    if type(call) is FunctionType and "__wrapped__" not in call.__dict__:  # most are, and each is asked for many times
        return call
    *_, last = layers(call, wrapped=wrapped)
    return last


def is_async(target: Any) -> bool:
    """Tell whether calling something gives a coroutine, as far as that can be seen beforehand."""
    bare = innermost(target, wrapped=False)
    return inspect.iscoroutinefunction(bare) or inspect.iscoroutinefunction(type(bare).__call__)


def can_be_key(value: Any) -> bool:
    """Tell whether something can be looked up: hashed, and compared with others, for a yes or no.

    Args:
        value: a type, or an annotation.
    """
    try:
        with barrier():
            hash(value)
            equal = bool(value == _OTHER)
    except Broken:
        return False
    return not equal


class _Other:
    """Something that is equal to nothing else."""


_OTHER: Final = _Other()
