"""Refusing what is no observer before a host relies on it: most often its class, or one without a list."""

from collections.abc import Iterable
from types import FunctionType

from jackfield.ports import Observer, missing_members


def check_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    """Make sure that what a host is to tell of its calls can be told.

    Args:
        observers: what somebody gave a host.

    Returns:
        The same objects.

    Raises:
        TypeError: naming what is no observer.

    Examples:
        >>> from jackfield import Logs
        >>> check_observers([Logs])
        Traceback (most recent call last):
        ...
        TypeError: observers=[…] has the class Logs, not an object: write Logs()
        >>> check_observers(Logs())
        Traceback (most recent call last):
        ...
        TypeError: observers= is a sequence of observers, not Logs: write observers=[…]
    """
    if not isinstance(observers, Iterable):
        what = type(observers).__qualname__
        raise TypeError(f"observers= is a sequence of observers, not {what}: write observers=[…]")
    found = tuple(observers)
    for one in found:
        if isinstance(one, type) and isinstance(vars(one).get("bind"), FunctionType):
            cls = one.__qualname__
            raise TypeError(f"observers=[…] has the class {cls}, not an object: write {cls}()")
        if missing_members(one, Observer):
            raise TypeError(f"observers=[…] has an object of type {type(one).__qualname__}, which has no method bind()")
    return found
