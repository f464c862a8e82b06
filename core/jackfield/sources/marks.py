"""What a module or object brings of its own accord: its attributes that are marked."""

import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from jackfield.hooks import hookimpl
from jackfield.injection.hints import underlying
from jackfield.injection.markers import provided

# What `@function` writes on a callable, and `@hookimpl` on a method.
_FUNCTION: Final = "__jackfield_policy__"
_HOOK: Final = f"{hookimpl.project_name}_impl"


def functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk what `@function` marks in a module, in the order of the file.

    What the module imports from elsewhere is not its own; what a package takes from its submodules is. An alias is
    another name of its own.

    Args:
        module: the module.

    Yields:
        The attribute's name, and the callable.
    """
    for name, value in list(vars(module).items()):
        if _noted(value, _FUNCTION) and callable(value) and _own(value, module):
            yield name, value


def methods(owner: object) -> Iterator[str]:
    """Walk the names of what `@function` marks on a plugin object or its class, base classes included.

    Args:
        owner: an instance, or a class.
    """
    cls = owner if isinstance(owner, type) else type(owner)
    for name in dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base)):
        value = inspect.getattr_static(cls, name)
        if _noted(getattr(value, "__func__", value), _FUNCTION):
            yield name


def providers(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk what `@provides` marks in a module, in the order of the file; an alias is not a second provider.

    Args:
        module: the module.

    Yields:
        The attribute's name, and the factory.
    """
    seen = []
    for name, value in list(vars(module).items()):
        if isinstance(value, ModuleType) or not callable(value) or any(value is one for one in seen):
            continue
        if _provides(value) and _own(value, module):
            seen.append(value)
            yield name, value


def hooks(module: ModuleType, besides: object = None) -> Iterator[tuple[str, Any]]:
    """Walk the hook implementations in a module.

    They are: the module itself, when functions in it are marked with `@hookimpl`; its instances of classes with marked
    methods; and its other classes with marked methods, which the host instantiates without arguments.

    Args:
        module: the module.
        besides: the plugin object, or its class: nothing is made of that class here.

    Yields:
        The attribute's name (the module's own for the module), and the object.
    """
    taken = besides if isinstance(besides, type) else type(besides)
    found = [
        (name, value)
        for name, value in list(vars(module).items())
        if not isinstance(value, ModuleType) and value is not besides and _own(value, module)
    ]
    if any(isinstance(value, FunctionType) and _noted(value, _HOOK) for _, value in found):
        yield module.__name__, module
    instances = [
        (name, value) for name, value in found if not isinstance(value, type | FunctionType) and carries_hooks(value)
    ]
    made = {type(value) for _, value in instances} | {taken}
    yield from instances
    for name, value in found:
        if isinstance(value, type) and value not in made and not inspect.isabstract(value) and carries_hooks(value):
            made.add(value)
            yield name, value


def carries_hooks(owner: object) -> bool:
    """Tell whether an object, or the instances of a class, have methods marked with `@hookimpl`.

    Args:
        owner: an instance, or a class.
    """
    cls = owner if isinstance(owner, type) else type(owner)
    return any(_noted(getattr(value, "__func__", value), _HOOK) for base in cls.__mro__ for value in vars(base).values())


def _noted(value: Any, mark: str) -> bool:
    """Look for a mark on the very object: a class does not inherit it, an instance does not have its class's."""
    try:
        return mark in vars(value)
    except Exception:  # noqa: BLE001  # a proxy's `__dict__` is a stranger's code; nothing to be marked either way
        return False


def _provides(value: Any) -> bool:
    try:
        return provided(value) is not None and _noted(value, "__jackfield_provides__")
    except Exception:  # noqa: BLE001  # as above
        return False


def _own(value: Any, module: ModuleType) -> bool:
    """Tell whether something was made in this module or below it; a partial or an instance belongs where it stands."""
    root = module.__name__
    while True:
        if isinstance(value, type):
            origin = value.__module__
            break
        base = underlying(value) if callable(value) else value
        if not isinstance(base, FunctionType) or base is not value:
            return True
        origin = base.__module__
        break
    return origin == root or str(origin).startswith(f"{root}.")
