"""What a module or object brings of its own accord: its attributes that are marked."""

import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from jackfield.decorators import hookimpl
from jackfield.strangers import Broken, barrier, bases, is_a

# What `@function` writes on a callable, `@provides` on a factory, and `@hookimpl` on a method.
_FUNCTION: Final = "__jackfield_policy__"
_PROVIDER: Final = "__jackfield_provides__"
_namespace: Final[Any] = vars(type)["__dict__"].__get__  # whatever the metaclass says
_METHODS: Final[tuple[type[Any], ...]] = (staticmethod, classmethod)
_HOOK: Final = f"{hookimpl.project_name}_impl"


def functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk what `@function` marks in a module, in the order of the file.

    What the module imports from elsewhere is not its own; what a package takes from its submodules is. An alias is
    another name for callers, so it counts.

    Args:
        module: the module.

    Yields:
        The attribute's name, and the callable.
    """
    for name, value in _attributes(module):
        if _noted(value, _FUNCTION):
            yield name, value


def methods(owner: object) -> Iterator[str]:
    """Walk the names of what `@function` marks on a plugin object or its class, base classes included.

    Args:
        owner: an instance, or a class.
    """
    cls = owner if is_a(owner, type) else type(owner)
    for name in dict.fromkeys(name for base in reversed(bases(cls)) for name in vars(base)):
        if _noted(_plain(inspect.getattr_static(cls, name)), _FUNCTION):
            yield name


def callables(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk the functions of a module's own, and its classes with a `__call__`, marked or not, in the order of the file.

    Args:
        module: the module.

    Yields:
        The attribute's name, and the callable.
    """
    for name, value in list(vars(module).items()):
        called = is_a(value, FunctionType) or (is_a(value, type) and "__call__" in _namespace(value))
        if called and _origin(value) == module.__name__:
            yield name, value


def providers(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk what `@provides` marks in a module, in the order of the file; an alias is not a second provider.

    Args:
        module: the module.

    Yields:
        The attribute's name, and the factory.
    """
    seen: set[int] = set()
    for name, value in _attributes(module):
        if _noted(value, _PROVIDER) and id(value) not in seen:
            seen.add(id(value))
            yield name, value


def hooks(module: ModuleType, besides: object = None) -> Iterator[tuple[str, Any]]:
    """Walk the hook implementations in a module.

    They are the module itself, when functions in it are marked with `@hookimpl`; and each of its classes with marked
    methods: the instances that the module has of it, else the class, which the host instantiates without arguments.

    Args:
        module: the module.
        besides: a class that is left out, because the host makes the plugin object of it.

    Yields:
        The attribute's name (the module's own for the module), and the object.
    """
    found = list(_attributes(module))
    if any(is_a(value, FunctionType) and _noted(value, _HOOK) for _, value in found):
        yield module.__name__, module
    # By their numbers: a metaclass may hash, and compare, as it likes.
    hooked = ((name, cls) for name, cls in found if is_a(cls, type) and cls is not besides and carries_hooks(cls))
    classes = {id(cls): (name, cls) for name, cls in hooked}
    instances = {id(value): (name, value) for name, value in found if id(type(value)) in classes}
    yield from instances.values()
    made = {id(type(value)) for _, value in instances.values()}
    for number, (name, cls) in classes.items():
        if number not in made and not inspect.isabstract(cls):
            yield name, cls


def carries_hooks(owner: object) -> bool:
    """Tell whether an object, or the instances of a class, have methods marked with `@hookimpl`.

    Args:
        owner: an instance, or a class.
    """
    cls = owner if is_a(owner, type) else type(owner)
    return any(_noted(_plain(value), _HOOK) for base in bases(cls) for value in vars(base).values())


def _attributes(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Walk what a module has of its own; an instance or a partial belongs where it stands."""
    for name, value in list(vars(module).items()):
        if is_a(value, ModuleType):
            continue
        if not is_a(value, (type, FunctionType)) or _within(_origin(value), module.__name__):
            yield name, value


def _origin(value: Any) -> object:
    try:
        with barrier():
            origin = value.__module__
            return origin if type(origin) is str else None
    except Broken:  # of a metaclass: as good as somebody else's
        return None


def _within(origin: object, module: str) -> bool:
    return is_a(origin, str) and (origin == module or str(origin).startswith(f"{module}."))


def _plain(value: Any) -> Any:
    """Take the function out of a static or class method."""
    return value.__func__ if is_a(value, _METHODS) else value


def _noted(value: Any, mark: str) -> bool:
    """Look for a mark on the very object: a class does not inherit it, an instance does not have its class's."""
    try:
        with barrier():
            return mark in vars(value)
    except Broken:  # no `__dict__`, or a proxy's, which is a stranger's code: not marked either way
        return False
