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
    Mapping,
)
from types import NoneType
from typing import Any, Final, Self, TypeVar, get_args, get_origin

import attrs

from jackfield.decorators import Inject, Provides, Scope, inject, key_of, marker_of, provided
from jackfield.errors import Fault, InjectionError
from jackfield.injection.hints import Unreadable, evaluate, owner_of, signature, underlying, written_in
from jackfield.model.generics import is_open, parametrised, seen_from, substitute
from jackfield.model.place import place_of
from jackfield.model.size import TooLarge
from jackfield.model.spec import MISSING, Colour, Dependency, Key
from jackfield.model.spelling import canonical
from jackfield.strangers import Broken, barrier, can_be_key, innermost, is_a, named

_ITERATORS: Final = (Iterator, Generator, Iterable)
_ASYNC_ITERATORS: Final = (AsyncIterator, AsyncGenerator, AsyncIterable)


@attrs.frozen
class Constant:
    """An object that stands in for whatever would have been provided: an override, or what a type variable stands for.

    Attributes:
        value: the object; two are equal when theirs is the same one.
        key: what it overrides, None if it is no override.
    """

    value: Any = attrs.field(eq=id)
    key: Key | None = None


def bound(key: Key, bindings: Mapping[Any, Any]) -> Key:
    """Put types in the place of a key's variables; what was `type[T]` asks for that type itself.

    Args:
        key: the key.
        bindings: what variables stand for.
    """
    if get_origin(key.type) is type and is_open(key.type):
        kind = substitute(get_args(key.type)[0], bindings)
        return Key(type[kind] if is_open(kind) else Constant(kind))
    kind = substitute(key.type, bindings)
    return Key(object if kind is Any else kind, key.name)


@attrs.frozen(eq=False)
class Provider:
    """One way to get one dependency. Two providers are never equal: each registration is its own.

    Attributes:
        key: what it provides.
        factory: what makes it; not called for a plain value.
        scope: `singleton` or `request`; None for a decorator that has that of what it decorates.
        colour: whether the factory is awaited (async generators included).
        generator: whether the factory yields the object, and cleans up after it.
        dependencies: its parameters.
        positional: how many of its dependencies, from the first on, may be passed by position, which is faster.
        plugin: whose it is; "" for one registered by hand.
        value: the object itself when there is nothing to make, else `MISSING`.
        further: the other keys that it provides; type variables in them stand for any type.
        inner: of a decorator the parameter that takes what is decorated, else "".
    """

    key: Key
    factory: Callable[..., Any]
    scope: Scope | None = "singleton"
    colour: Colour = Colour.SYNC
    generator: bool = False
    dependencies: tuple[Dependency, ...] = ()
    positional: int = 0
    plugin: str = ""
    value: Any = MISSING
    further: tuple[Key, ...] = ()
    inner: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """All that it provides."""
        return (self.key, *self.further) if self.further else (self.key,)

    @property
    def defaults(self) -> frozenset[str]:
        """Those parameters that have an ordinary default: they are left out when nothing provides them."""
        return frozenset(each.parameter for each in self.dependencies if each.defaulted)

    @property
    def settled(self) -> Iterator[Dependency]:
        """Those dependencies that are known already: without type variables, and not what a decorator is to wrap."""
        return (one for one in self.dependencies if one.parameter != self.inner and not is_open(one.key.type))

    @property
    def where(self) -> str:
        """The line of its factory, as `file:line`; "" for a value."""
        return "" if self.value is not MISSING else place_of(get_origin(self.factory) or self.factory)

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
    factory = get_origin(factory) or factory
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
    """Read a factory: scope, name and further types from its mark, its key and dependencies from its annotations.

    Args:
        factory: a function, an async function, a generator or async generator function that yields once, or a class,
            also one with type arguments. It need not be decorated: the scope is then singleton.
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
    read = get_origin(factory) if is_a(get_origin(factory), type) else factory
    if not callable(read):
        reason = f"a provider must be callable, not {named(factory)}"
        raise InjectionError((Fault("inject", plugin, named(factory), reason, "provide a value with type=…"),))
    innermost(read, wrapped=False)  # or there is no end of it, which `inspect` would never find out
    note = provided(read) or Provides()
    colour, generator = _nature(read)
    keys: tuple[Key, ...] = (Key(object),)
    dependencies, found, positional = list[Dependency](), list[_Unfit](), 0
    try:
        keys = tuple(dict.fromkeys(_keys(factory, read, note, colour, generator)))
    except _Unfit as unfit:
        found.append(unfit)
    for index, parameter in enumerate(_parameters(read)):
        try:
            dependency = _dependency(read, parameter, _bindings(factory, read, parameter.name))
        except _Unfit as unfit:
            found.append(unfit)
            continue
        if dependency is not None:
            dependencies.append(dependency)
            if positional == index and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                positional += 1
    inner = ""
    if note.decorates and not found:
        inner = next((one.parameter for one in dependencies if _is_inner(one.key, keys[0])), "")
        if not inner:
            found.append(_Unfit(f"no parameter takes the {keys[0]} that it decorates", f"annotate one as {keys[0]}"))
    if found:
        faults = (Fault("inject", plugin, place(factory), one.reason, one.fix, place_of(read)) for one in found)
        raise InjectionError(tuple(faults))
    return Provider(
        keys[0],
        factory,
        note.scope,
        colour,
        generator,
        tuple(dependencies),
        positional,
        plugin,
        further=keys[1:],
        inner=inner,
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


def _keys(factory: Any, read: Any, note: Provides, colour: Colour, generator: bool) -> Iterator[Key]:
    """Walk what a factory provides: first what it makes, then what else that can be asked for by."""
    if note.decorates and note.types:
        yield _provided(key_of(note.types[0], note.name))
        return
    made = _made(factory, read, note, colour, generator)
    yield _provided(made)
    if note.decorates:
        return
    for further in note.types:
        key = key_of(further, note.name)
        if not _fits(made.type, key.type):
            raise _Unfit(f"it makes a {made}, which is no {key}", f"inherit from {key}, or take it out of `as_`")
        yield _provided(key)
    if is_a(factory, type) and is_open(whole := parametrised(factory)):
        yield key_of(whole, note.name)


def _made(factory: Any, read: Any, note: Provides, colour: Colour, generator: bool) -> Key:
    function = read if is_a(read, type) else underlying(read)
    if is_a(function, type):
        if inspect.isabstract(function) or getattr(function, "_is_protocol", False):
            raise _Unfit("an abstract class or protocol cannot be made", "provide a concrete class or a function")
        return key_of(function if factory is read else factory, note.name)
    if not generator and (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
        raise _Unfit("a decorator hides its `yield`", "take @contextmanager and the like off, a bare `yield` is enough")
    try:
        annotation = signature(read).return_annotation
    except (TypeError, ValueError):
        raise _Unfit("it has no signature", "wrap it in a function with annotations") from None
    if annotation is inspect.Signature.empty:
        if note.types:
            return key_of(note.types[0], note.name)
        raise _Unfit("it does not say what it provides", "annotate the return type")
    provides = canonical(_evaluated(read, "return", annotation))
    if generator:
        kinds = _ASYNC_ITERATORS if colour is Colour.ASYNC else _ITERATORS
        if get_origin(provides) not in kinds:
            raise _Unfit("its return annotation does not say what it yields", f"annotate {kinds[0].__name__}[…]")
        provides = get_args(provides)[0]
    key = key_of(provides, note.name)
    method = None if is_a(read, type) else written_in(read)
    if method is None:
        return key
    cls, base = method
    kind = canonical(cls) if key.type is Self else substitute(key.type, seen_from(cls, base))
    return attrs.evolve(key, type=kind)


def _provided(key: Key) -> Key:
    if isinstance(key.type, TypeVar):
        raise _Unfit(f"{key} could be any type", "annotate the type that contains it, as in Repo[T]")
    return _usable(key)


def _fits(made: Any, further: Any) -> bool:
    """Tell whether an object can be asked for by a further type, as far as classes say; protocols may be unable to."""
    one, other = get_origin(made) or made, get_origin(further) or further
    if not isinstance(one, type) or not isinstance(other, type) or one is object:
        return True
    if getattr(other, "_is_protocol", False) and not getattr(other, "_is_runtime_protocol", False):
        return True
    try:
        return issubclass(one, other)
    except TypeError:  # a protocol with data members
        return True


def _is_inner(asked: Key, decorated: Key) -> bool:
    return asked.type == decorated.type and asked.name in (None, decorated.name)


def _bindings(factory: Any, read: Any, parameter: str) -> Mapping[Any, Any]:
    """Find what type variables in the annotation of a constructor's parameter stand for in the class that is made."""
    if not isinstance(read, type) or not getattr(read, "__orig_bases__", None):
        return {}
    inherited = seen_from(read, owner_of(read, parameter))
    given = dict(zip(getattr(read, "__parameters__", ()), get_args(factory), strict=False))
    return {variable: substitute(kind, given) for variable, kind in inherited.items()}


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


def _dependency(
    factory: Callable[..., Any], parameter: inspect.Parameter, bindings: Mapping[Any, Any]
) -> Dependency | None:
    """Read one parameter; None if it keeps its default, since nothing says what to look it up by."""
    name, annotation, unread = parameter.name, Any, None
    try:
        if parameter.annotation is not parameter.empty:
            annotation = _evaluated(factory, name, parameter.annotation)
    except _Unfit as unfit:
        unread = unfit
    marker = marker_of(parameter.default, annotation)
    if marker is inject:
        raise _Unfit(f"{name!r} is marked with `inject`, the function itself", "write `inject()`")
    plain = _ordinary(parameter) and marker is None
    if parameter.kind is parameter.POSITIONAL_ONLY:
        if plain:
            return None
        raise _Unfit(f"{name!r} is positional-only, dependencies are passed by keyword", "take the `/` out")
    marker = marker or Inject()
    try:
        wanted = _usable(bound(key_of(annotation, marker.name), bindings))
    except _Unfit as unfit:
        if plain:
            return None
        fix = "annotate the type that it needs, or give it a default"
        raise unread or _Unfit(f"{name!r}: {unfit.reason}", fix) from None
    return Dependency(name, wanted, marker.optional, _ordinary(parameter))


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
    if is_a(key.type, TooLarge):
        raise _Unfit(f"{key.type} has too many parts to be looked up", "annotate a plain type")
    if not can_be_key(key.type):
        raise _Unfit(
            f"{named(key.type)} cannot be hashed and compared, so it cannot be looked up", "annotate a plain type"
        )
    return key
