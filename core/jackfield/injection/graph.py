"""What each dependency resolves to. The faults of a graph are found in `diagnosis`."""

import graphlib
from collections import defaultdict, deque
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args, get_origin

import attrs

from jackfield.injection.deriving import collection_of, decorated, gathered, roots_of, specialised
from jackfield.injection.providers import Constant, Provider, place
from jackfield.model.call import Call
from jackfield.model.generics import is_open, matched
from jackfield.model.spec import Dependency, Key
from jackfield.strangers import can_be_key


@attrs.frozen
class Contextual:
    """A type whose object depends on the plugin that asks: its logger, its configuration.

    Attributes:
        type: the type asked for.
    """

    type: Any


@attrs.frozen
class ThisCall:
    """The call itself."""


Source = Provider | Constant | Contextual | ThisCall
"""What a dependency resolves to."""

_THIS_CALL = ThisCall()


class Graph:
    """An immutable view of providers, contextual types and overrides, in which dependencies are looked up.

    A key is looked up exactly: a provider of a subclass does not stand in for its base. First comes an override, then
    a provider, a generic provider of which it is one type, the collection of all providers of its items, and at last a
    contextual type. A key of type `object` asks for a name, of whatever type. A key whose type is a source asks for
    that one: so collections and decorated providers have their members.

    Args:
        providers: in order of registration. Those whose keys are all overridden only keep their place in collections.
        contextual: the types that are resolved per plugin.
        overrides: objects that replace what is provided.
        superseded: those providers that a later version of their plugin has taken the place of, and that may be rolled
            back to: they only count for types that their own module defines, which nobody else can ask for.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        contextual: Collection[type] = (),
        overrides: Mapping[Key, Any] = MappingProxyType({}),
        superseded: Collection[Provider] = (),
    ) -> None:
        self.overrides = overrides
        self.contextual = frozenset(contextual)
        self.registered = tuple(providers)
        self.providers = tuple(one for one in self.registered if not overrides or not overrides.keys() >= {*one.keys})
        by_key: dict[Key, list[Provider]] = defaultdict(list)
        self._generic: dict[Any, list[tuple[Key, Provider]]] = defaultdict(list)
        self._decorators: list[Provider] = []
        self._by_name: dict[str, dict[Key, None]] = defaultdict(dict)
        self._found: dict[Key, tuple[Source, ...]] = {}
        self._superseded = superseded
        for provider in self.providers:
            late = provider in superseded
            for key in provider.keys:
                if late and not _is_own(key.type, provider):
                    continue
                if provider.inner:
                    self._decorators.append(provider)
                elif is_open(key.type):
                    self._generic[get_origin(key.type)].append((key, provider))
                else:
                    by_key[key].append(provider)
                    if key.name is not None and not late:
                        self._by_name[key.name][key] = None
        for key in overrides:
            if key.name is not None:
                self._by_name[key.name][key] = None
        self.by_key: Mapping[Key, tuple[Provider, ...]] = {key: tuple(found) for key, found in by_key.items()}

    def candidates(self, key: Key) -> tuple[Source, ...]:
        """Find everything that could be meant by a key.

        Args:
            key: what is asked for.

        Returns:
            Nothing if it is missing, several if it is ambiguous.
        """
        if key.type is Call and key.name is None:
            return (_THIS_CALL,)
        if not can_be_key(key.type):  # an annotation such as Literal[[]]: nothing can be registered for it
            return ()
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = tuple(dict.fromkeys(self._look_up(key)))
        return found

    def _look_up(self, key: Key) -> Iterable[Source]:
        if isinstance(key.type, Provider | Constant):
            return (key.type,)
        if key in self.overrides:
            return (Constant(self.overrides[key], key),)
        found: Iterable[Source] = [self._decorated(one, key) for one in self._provided(key)]
        if not found and key.type is object and key.name is not None:
            found = [source for other in self._by_name.get(key.name, ()) for source in self.candidates(other)]
        if not found and key.name is None and key.type in self.contextual:
            found = (Contextual(key.type),)
        return found

    def _provided(self, key: Key) -> Iterable[Provider]:
        """Find what provides a key, without its decorators: registered for it, generic, or collected."""
        found: Iterable[Provider] = self.by_key.get(key, ())
        if not found or self._generic:
            found = self._specialised(key, found)
        if not found and key.name is None and (collection := collection_of(key.type)) is not None:
            shape, item = collection
            members = tuple(self._members(item))
            return (gathered(key, shape, members),) if members else ()
        return found

    def _specialised(self, key: Key, exact: Iterable[Provider]) -> list[Provider]:
        """Give what is registered for a key, and else the generic providers of which it is one type.

        A generic class that is asked for without its arguments is one of `Any`, if it needs to know them.
        """
        found = [one for one in exact if not _needs_arguments(one)]
        if not found:
            for pattern, provider in self._generic.get(get_origin(key.type) or key.type, ()):
                if pattern.name == key.name and (bindings := matched(pattern.type, key.type)) is not None:
                    found.append(specialised(provider, bindings))
        return found

    def _decorated(self, provider: Provider, key: Key) -> Provider:
        for decorator in self._decorators:
            wraps = decorator.key
            if wraps == key:
                provider = decorated(decorator, provider, key, {})
            elif wraps.name == key.name and is_open(wraps.type):
                bindings = matched(wraps.type, key.type)
                if bindings is not None:
                    provider = decorated(decorator, provider, key, bindings)
        return provider

    def _members(self, item: Any) -> Iterator[tuple[str, Provider | Constant]]:
        """Walk everything of one type, under whatever name, in order of registration: its name or plugin, and it.

        An override stands where the first was that it replaces.
        """
        replaced: set[Key] = set()
        for provider in self.registered:
            for key in () if provider.inner or provider in self._superseded else provider.keys:
                asked = Key(item, key.name)
                generic = is_open(key.type) and asked not in self.by_key and matched(key.type, item) is not None
                if key.type != item and not generic:
                    continue
                if asked not in self.overrides:
                    for one in self._specialised(asked, (provider,) if key == asked else ()):
                        if provider in roots_of(one):
                            yield key.name or provider.plugin, self._decorated(one, asked)
                elif asked not in replaced:
                    replaced.add(asked)
                    yield key.name or provider.plugin, Constant(self.overrides[asked], asked)
        for key, value in self.overrides.items():
            if key.type == item and key not in replaced:
                yield key.name or "", Constant(value, key)

    def source(self, dependency: Dependency, left_out: Container[object] = ()) -> Source | None:
        """Resolve a dependency of a function or provider that has no fault.

        Args:
            dependency: what is asked for.
            left_out: providers that cannot be used.

        Returns:
            What is injected, or None when nothing is: it is optional, or has a default.
        """
        found = self.candidates(dependency.key)
        return found[0] if len(found) == 1 and found[0] not in left_out else None

    def edges(self, provider: Provider) -> Iterator[tuple[Dependency, Source]]:
        """Give what a provider's dependencies resolve to, those that are missing or ambiguous left out."""
        for dependency in provider.settled:
            found = self.candidates(dependency.key)
            if len(found) == 1:
                yield dependency, found[0]

    @cached_property
    def needs(self) -> Mapping[Provider, tuple[Provider, ...]]:
        """For each provider, the providers that it needs or would like to have.

        The registered ones in their order, then those that follow from them and that one of them needs, or that a
        decorator makes.
        """
        made = () if not self._decorators else (*self.by_key, *(one.key for one in self._decorators))
        wrapped = (one for key in made if not is_open(key.type) for one in self.candidates(key))
        return self.reach((*self.providers, *(one for one in wrapped if isinstance(one, Provider))))

    def reach(self, roots: Iterable[Provider], known: Container[Provider] = ()) -> dict[Provider, tuple[Provider, ...]]:
        """Find what some providers need, directly or through others.

        Args:
            roots: where to begin.
            known: where to go no further.

        Returns:
            What each needs; without those that are known.
        """
        found: dict[Provider, tuple[Provider, ...]] = {}
        frontier = deque(roots)
        while frontier:
            provider = frontier.popleft()
            if provider not in found and provider not in known:
                needed = tuple(source for _, source in self.edges(provider) if isinstance(source, Provider))
                found[provider] = needed
                frontier.extend(needed)
        return found

    @cached_property
    def order(self) -> tuple[Provider, ...]:
        """All providers, each after everything that it needs; the same for the same providers in the same order.

        Raises:
            graphlib.CycleError: if there is no such order.
        """
        return tuple(graphlib.TopologicalSorter(self.needs).static_order())

    def dependents(
        self, keys: Collection[Key], *, gone: Collection[Provider] = (), among: Iterable[Provider] = ()
    ) -> frozenset[Provider]:
        """Find the providers that need any of some keys, directly or through others.

        Args:
            keys: what has changed.
            gone: registered providers that have gone: what follows from them has gone with them, and is given too.
            among: further providers to look at, which nobody in this graph needs.

        Returns:
            Those providers; not the providers of the keys themselves, unless they need one another.
        """
        names = {key.name for key in keys if key.name is not None}
        needs = {**self.needs, **self.reach(among, self.needs)}
        lost = frozenset(gone)
        users: dict[Provider, list[Provider]] = defaultdict(list)
        reached: set[Provider] = set()
        for provider, needed in needs.items():
            for other in needed:
                users[other].append(provider)
            if any(_concerns(dependency.key, keys, names) for dependency in provider.dependencies):
                reached.add(provider)
            if lost and not lost.isdisjoint(roots_of(provider)):
                reached.add(provider)
        frontier = list(reached)
        while frontier:
            for user in users[frontier.pop()]:
                if user not in reached:
                    reached.add(user)
                    frontier.append(user)
        return frozenset(reached)


def _is_own(kind: Any, provider: Provider) -> bool:
    """Tell whether a type is, or is made of, one that the package of a provider's factory defines."""
    package = place(provider.factory).partition(":")[0].partition(".")[0]
    forms = [kind]
    while forms:
        form = forms.pop()
        forms += get_args(form)
        if str(getattr(get_origin(form) or form, "__module__", "")).partition(".")[0] == package:
            return True
    return False


def _needs_arguments(provider: Provider) -> bool:
    return any(is_open(dependency.key.type) for dependency in provider.dependencies)


def _concerns(wanted: Key, keys: Collection[Key], names: Collection[str | None]) -> bool:
    if isinstance(wanted.type, Constant):
        return wanted.type.key in keys
    return wanted in keys or (wanted.type is object and wanted.name in names)
