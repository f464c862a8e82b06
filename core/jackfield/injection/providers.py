"""Providers: what `@provides` factories and plain values become before the graph is checked."""

import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from types import NoneType
from typing import Any, Final, get_args, get_origin

import attrs

from jackfield.decorators import Inject, Provides, Scope, key_of, provided
from jackfield.errors import Fault, InjectionError
from jackfield.injection.hints import Unreadable, evaluate, signature, underlying
from jackfield.model.spec import MISSING, Colour, Dependency, Key
from jackfield.strangers import Broken, barrier, can_be_key, innermost, is_a, named

_ITERATORS: Final = (Iterator, Generator, Iterable)
_ASYNC_ITERATORS: Final = (AsyncIterator, AsyncGenerator, AsyncIterable)


@attrs.frozen(eq=False)
class Provider:
    """One way to get one dependency. Two providers are never equal: each registration is its own.

    Attributes:
        key: what it provides.
        factory: what makes it; not called for a plain value.
        scope: `singleton` or `request`.
        colour: whether the factory is awaited (async generators included).
        generator: whether the factory yields the object, and cleans up after it.
        dependencies: its parameters.
        defaults: those parameters that have an ordinary default: they are left out when nothing provides them.
        positional: how many of its dependencies, from the first on, may be passed by position, which is faster.
        plugin: whose it is; "" for one registered by hand.
        value: the object itself when there is nothing to make, else `MISSING`.
    """

    key: Key
    factory: Callable[..., Any]
    scope: Scope = "singleton"
    colour: Colour = Colour.SYNC
    generator: bool = False
    dependencies: tuple[Dependency, ...] = ()
    defaults: frozenset[str] = frozenset()
    positional: int = 0
    plugin: str = ""
    value: Any = MISSING

    @property
    def label(self) -> str:
        """Where to find it: `module:name` of the factory, or the type of the value."""
        if self.value is not MISSING:
            return f"a value for {self.key}"
        return place(self.factory)

    def __repr__(self) -> str:
        """Show what it provides, and who."""
        return f"Provider({self.key}, {self.label}, {self.scope}, plugin={self.plugin!r})"


def place(factory: Any) -> str:
    """Say where a callable comes from.

    Args:
        factory: any object.

    Returns:
        `module:qualified.name`.

    Examples:
        >>> place(inspect.signature)
        'inspect:signature'
    """
    function = factory if is_a(factory, type) else underlying(factory)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}:{name.replace('<locals>.', '')}"


def value_provider(value: Any, type: Any = None, *, name: str | None = None, plugin: str = "") -> Provider:  # noqa: A002
    """Provide an object that exists already.

    Args:
        value: the object; jackfield never closes it.
        type: what it is asked for by; the value's own class when None.
        name: what `inject(name=…)` asks for.
        plugin: whose it is.

    Returns:
        A singleton provider.

    Raises:
        InjectionError: if the type cannot be looked up.

    Examples:
        >>> value_provider({"debug": True}, name="settings").key
        Key(type=<class 'dict'>, name='settings')
    """
    try:
        with barrier():
            key = key_of(value.__class__ if type is None else type, name)
            _usable(key)
    except Broken as broken:
        where = f"a value for {named(type if type is not None else value)}"
        raise InjectionError((Fault("inject", plugin, where, broken.reason, "pass type= or name="),)) from broken
    return Provider(key, lambda: value, plugin=plugin, value=value)


def describe(factory: Any, *, plugin: str = "") -> Provider:
    """Read a factory: its scope and name from `@provides`, its key and dependencies from its annotations.

    Args:
        factory: a function, an async function, a generator or async generator function that yields once, or a class. It
            need not be decorated: the scope is then singleton.
        plugin: whose it is.

    Returns:
        The provider.

    Raises:
        InjectionError: with every fault of the factory at once.

    Examples:
        >>> def pool(size: int) -> list[str]: ...
        >>> describe(pool).dependencies
        (Dependency(parameter='size', key=Key(type=<class 'int'>, name=None), optional=False),)
    """
    try:
        with barrier():
            return _described(factory, plugin)
    except Broken as broken:
        fix = "provide a plain function, which calls it: whatever looks at this object runs code of its own"
        raise InjectionError((Fault("inject", plugin, named(factory), broken.reason, fix),)) from broken


def _described(factory: Any, plugin: str) -> Provider:
    if not callable(factory):
        reason = f"a provider must be callable, not {named(factory)}"
        raise InjectionError((Fault("inject", plugin, named(factory), reason, "provide a value with type=…"),))
    innermost(factory, wrapped=False)  # or there is no end of it, which `inspect` would never find out
    note = provided(factory) or Provides()
    colour, generator = _nature(factory)
    key, dependencies, found = Key(object), list[Dependency](), list[_Unfit]()
    defaults, positional = set[str](), 0
    try:
        key = _key(factory, note.name, colour, generator)
    except _Unfit as unfit:
        found.append(unfit)
    for index, parameter in enumerate(_parameters(factory)):
        try:
            dependency = _dependency(factory, parameter)
        except _Unfit as unfit:
            found.append(unfit)
            continue
        if dependency is not None:
            dependencies.append(dependency)
            if positional == index and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                positional += 1
            if _ordinary(parameter):
                defaults.add(parameter.name)
    if found:
        where = place(factory)
        raise InjectionError(tuple(Fault("inject", plugin, where, unfit.reason, unfit.fix) for unfit in found))
    return Provider(
        key, factory, note.scope, colour, generator, tuple(dependencies), frozenset(defaults), positional, plugin
    )


class _Unfit(Broken):  # never leaves this module: it becomes a fault
    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


def _nature(factory: Callable[..., Any]) -> tuple[Colour, bool]:
    if is_a(factory, type):
        return Colour.SYNC, False
    # inspect looks through partials by itself, but not through objects with `__call__`.
    for candidate in (factory, getattr(type(factory), "__call__", factory)):  # noqa: B004
        if inspect.isasyncgenfunction(candidate):
            return Colour.ASYNC, True
        if inspect.iscoroutinefunction(candidate):
            return Colour.ASYNC, False
        if inspect.isgeneratorfunction(candidate):
            return Colour.SYNC, True
    return Colour.SYNC, False


def _key(factory: Callable[..., Any], name: str | None, colour: Colour, generator: bool) -> Key:
    function = factory if is_a(factory, type) else underlying(factory)
    if is_a(function, type):
        if inspect.isabstract(function) or getattr(function, "_is_protocol", False):
            raise _Unfit("an abstract class or protocol cannot be made", "provide a concrete class or a function")
        return _usable(key_of(function, name))
    if not generator and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
        raise _Unfit("a decorator hides its `yield`", "take @contextmanager and the like off, a bare `yield` is enough")
    try:
        annotation = signature(factory).return_annotation
    except (TypeError, ValueError):
        raise _Unfit("it has no signature", "wrap it in a function with annotations") from None
    if annotation is inspect.Signature.empty:
        raise _Unfit("it does not say what it provides", "annotate the return type")
    provides = _evaluated(factory, "return", annotation)
    if generator:
        kinds = _ASYNC_ITERATORS if colour is Colour.ASYNC else _ITERATORS
        if get_origin(provides) not in kinds:
            raise _Unfit("its return annotation does not say what it yields", f"annotate {kinds[0].__name__}[…]")
        provides = get_args(provides)[0]
    return _usable(key_of(provides, name))


def _parameters(factory: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    try:
        parameters = signature(factory).parameters.values()
    except (TypeError, ValueError):  # a function without one is refused for its key; a class of C code takes nothing
        return
    bound = factory.keywords if isinstance(factory, functools.partial) else ()
    for parameter in parameters:
        if parameter.name not in bound and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield parameter


def _ordinary(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty and not is_a(parameter.default, Inject)


def _dependency(factory: Callable[..., Any], parameter: inspect.Parameter) -> Dependency | None:
    name = parameter.name
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise _Unfit(f"{name!r} is positional-only, dependencies are passed by keyword", "take the `/` out")
    marker = parameter.default if is_a(parameter.default, Inject) else Inject()
    if parameter.annotation is parameter.empty and _ordinary(parameter):
        return None  # nothing to look it up by: its default is what was meant
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    wanted = key_of(_evaluated(factory, name, annotation), marker.name)
    try:
        return Dependency(name, _usable(wanted), marker.optional)
    except _Unfit as unfit:
        if _ordinary(parameter):
            return None
        raise _Unfit(f"{name!r}: {unfit.reason}", "annotate the type that it needs, or give it a default") from None


def _evaluated(factory: Callable[..., Any], name: str, annotation: Any) -> Any:
    try:
        return evaluate(factory, name, annotation)
    except Unreadable as error:
        what = "the return annotation" if name == "return" else f"the annotation of {name!r}"
        reason = f"{what} cannot be evaluated ({error.reason})"
        raise _Unfit(reason, "import the name at run time, at module level") from None


def _usable(key: Key) -> Key:
    if key.type is None or key.type is NoneType:
        raise _Unfit("None cannot be provided", "annotate the type of the object")
    if key.type is object and key.name is None:
        raise _Unfit("there is neither a type nor a name to look it up by", "annotate the type")
    if not can_be_key(key.type):
        raise _Unfit(
            f"{named(key.type)} cannot be hashed and compared, so it cannot be looked up", "annotate a plain type"
        )
    return key
