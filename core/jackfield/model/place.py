"""Where in a source file something is defined: what an author opens to correct it."""

import inspect
from types import CodeType
from typing import Any

from jackfield.strangers import barrier, innermost


def place_of(target: Any) -> str:
    """Tell where a callable or class is defined, for the faults that name it. Never raises.

    Args:
        target: a function, method, partial, class, or an object whose class says it.

    Returns:
        `file:line`, its decorators' first line included; "" for what has no source, such as a builtin.

    Examples:
        >>> place_of(len)
        ''
        >>> import json
        >>> place_of(json.dumps).rpartition(":")[0] == json.__file__
        True
    """
    try:
        with barrier():
            return _place(innermost(target))
    except Exception:  # noqa: BLE001  # an odd object: then nobody can tell
        return ""


def _place(target: Any) -> str:
    code = getattr(target, "__code__", None)
    if isinstance(code, CodeType):
        return f"{code.co_filename}:{code.co_firstlineno}"
    cls = target if isinstance(target, type) else type(target)
    if cls.__module__ == "builtins":
        return ""
    lines, first = inspect.findsource(cls)
    del lines
    return f"{inspect.getsourcefile(cls) or inspect.getfile(cls)}:{first + 1}"
