"""Packages whose names are imported at their first use (PEP 562).

What a package offers to those who need it should not be paid for by those who only might.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules
from typing import Any


def imported_from(homes: Mapping[str, str], package: str) -> Callable[[str], Any]:
    """Give the `__getattr__` of a package that imports each of its names from the name's home, once.

    Args:
        homes: name → the module that defines it. No submodule of the package may have the same name.
        package: the package's `__name__`.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(homes[name]), name)
        except (AttributeError, ImportError) as error:
            if "partially initialized" not in str(error):
                raise
            from jackfield.errors import JackfieldError  # noqa: PLC0415  # hardly anybody meets it

            # A signal handler or a finalizer that has interrupted that very import, in its thread.
            reason = f"{package}.{name} is being imported further out in this thread"
            raise JackfieldError(f"{reason}: try again when that has ended, or use it once before") from error
        setattr(modules[package], name, value)
        return value

    return get
