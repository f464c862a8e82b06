"""Providers that follow from registered ones: of one type for a generic one, decorated ones, and collections.

Each is an ordinary provider, so what checks, compiles, makes, closes and draws has little to know of them. It is
derived when somebody asks for it. Two that follow from the same are equal: a singleton is the same one in every graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin

import attrs

from jackfield.injection.providers import Constant, Provider, bound
from jackfield.model.generics import Bindings, bindings_of, is_open
from jackfield.model.spec import Colour, Dependency, Key

Shape = Literal["list", "tuple", "dict", "mapping"]
_SEQUENCES: Final[Mapping[Any, Shape]] = {list: "list", Sequence: "tuple"}
_MAPPINGS: Final[Mapping[Any, Shape]] = {dict: "dict", Mapping: "mapping"}


@attrs.frozen(eq=False)
class Derived(Provider):
    """A provider that follows from others.

    Attributes:
        origin: whose factory it is, the generic provider or the decorator; None for a collection.
        parts: what tells it from others that follow from the same.
        roots: the registered providers that it follows from: it goes when one of them goes.
        shape: what a collection is made as; None when it is none. A collection is never kept: it is made wherever it is
            injected, so that nobody changes another's.
        labels: of a mapping the keys, one for each dependency.
    """

    origin: Provider | None = None
    parts: tuple[Any, ...] = ()
    roots: frozenset[Provider] = frozenset()
    shape: Shape | None = None
    labels: tuple[str, ...] = ()

    @property
    def decorates(self) -> Provider | None:
        """The decorator that it is the result of, if it is one of one."""
        return self.origin if self.origin is not None and self.origin.inner else None

    @property
    def label(self) -> str:
        """Where to find the factory; of a collection, what it is."""
        return self.origin.label if self.origin is not None else str(self.key)

    @property
    def where(self) -> str:
        """The line of the factory; a collection has none."""
        return self.origin.where if self.origin is not None else ""

    def __eq__(self, other: object) -> bool:
        """Tell whether it follows from the same."""
        if not isinstance(other, Derived):
            return NotImplemented
        return (self.key, self.origin, self.parts) == (other.key, other.origin, other.parts)

    def __hash__(self) -> int:
        """Fit equality."""
        return hash((self.key, self.origin, self.parts))


def roots_of(provider: Provider) -> frozenset[Provider]:
    """Give the registered providers that one follows from; a registered one follows from itself."""
    return provider.roots if isinstance(provider, Derived) else frozenset((provider,))


def specialised(generic: Provider, bindings: Bindings) -> Derived:
    """Derive the provider of one type from a generic one.

    Args:
        generic: it, its keys or dependencies have type variables.
        bindings: what they stand for; those that are left out for their defaults, or else for anything.
    """
    dependencies = tuple(
        attrs.evolve(each, key=_specialised(each.key, bindings)) if is_open(each.key.type) else each
        for each in generic.dependencies
    )
    return Derived(
        **_copied(generic)
        | {
            "key": _specialised(generic.key, bindings),
            "dependencies": dependencies,
            "further": tuple(_specialised(key, bindings) for key in generic.further),
        },
        origin=generic,
        parts=tuple(bindings.items()),
        roots=frozenset((generic,)),
    )


def decorated(decorator: Provider, inner: Provider, key: Key, bindings: Bindings) -> Derived:
    """Derive what a decorator makes of a provider.

    Args:
        decorator: the decorator.
        inner: what it wraps.
        key: what `inner` was found under.
        bindings: what type variables of the decorator stand for.
    """
    whole = specialised(decorator, bindings)
    dependencies = tuple(
        Dependency(each.parameter, Key(inner)) if each.parameter == decorator.inner else each
        for each in whole.dependencies
    )
    scope = inner.scope if decorator.scope is None else decorator.scope
    return attrs.evolve(
        whole,
        key=key,
        scope=scope,
        dependencies=dependencies,
        further=(),
        inner="",
        parts=(*whole.parts, inner),
        roots=frozenset((decorator,)) | roots_of(inner),
    )


def collection_of(kind: Any) -> tuple[Shape, Any] | None:
    """Tell what is collected in a type, and as what.

    Examples:
        >>> collection_of(tuple[int, ...])
        ('tuple', <class 'int'>)
        >>> collection_of(dict[int, int]) is None
        True
    """
    shape: Shape | None = None
    origin, arguments = get_origin(kind), get_args(kind)
    item = None
    match arguments:
        case (item,):
            shape = _SEQUENCES.get(origin)
        case (labels, item) if labels is str:
            shape = _MAPPINGS.get(origin)
        case (item, end) if origin is tuple and end is Ellipsis:
            shape = "tuple"
    return None if shape is None or item in (Any, object) else (shape, item)


def gathered(key: Key, shape: Shape, members: Iterable[tuple[str, Provider | Constant]]) -> Derived:
    """Derive a collection.

    Args:
        key: what is asked for.
        shape: what it is made as.
        members: label and member, in order.
    """
    pairs = tuple(members)
    providers = tuple(member for _, member in pairs if isinstance(member, Provider))
    request = any(provider.scope == "request" for provider in providers)
    awaits = any(provider.colour is Colour.ASYNC for provider in providers)
    dependencies = (Dependency(f"{label}[{index}]", Key(each)) for index, (label, each) in enumerate(pairs))
    return Derived(
        key,
        gathered,
        "request" if request else "singleton",
        Colour.ASYNC if awaits else Colour.SYNC,
        dependencies=tuple(dependencies),
        parts=pairs,
        roots=frozenset[Provider]().union(*map(roots_of, providers)),
        shape=shape,
        labels=tuple(label for label, _ in pairs),
    )


def assembled(shape: Shape, labels: Sequence[str], members: Sequence[Any]) -> Any:
    """Make a collection of its members."""
    match shape:
        case "list":
            return list(members)
        case "tuple":
            return tuple(members)
        case "dict":
            return dict(zip(labels, members, strict=True))
        case "mapping":
            return MappingProxyType(dict(zip(labels, members, strict=True)))


def _specialised(key: Key, bindings: Bindings) -> Key:
    free = getattr(key.type, "__parameters__", (key.type,)) if is_open(key.type) else ()
    return bound(key, {**dict.fromkeys(free, Any), **bindings_of(tuple(free), ()), **bindings})


def _copied(provider: Provider) -> dict[str, Any]:
    return {field.name: getattr(provider, field.name) for field in attrs.fields(Provider)}
