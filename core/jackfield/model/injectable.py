"""Which classes are jackfield's to inject: no payload brings one, so a parameter of one was meant to be marked."""

from typing import Any, Final, TypeVar

_C = TypeVar("_C", bound=type)
_MARK: Final = "__jackfield_injectable__"


def injectable(cls: _C) -> _C:
    """Note on a class that the host makes its objects, for whoever asks for it by type.

    Args:
        cls: the class; the note is not inherited.
    """
    setattr(cls, _MARK, True)
    return cls


def is_injectable(kind: Any) -> bool:
    """Tell whether a type is such a class.

    Examples:
        >>> is_injectable(int)
        False
    """
    return isinstance(kind, type) and _MARK in vars(kind)
