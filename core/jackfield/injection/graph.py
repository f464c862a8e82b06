"""What each dependency resolves to. The faults of a graph are found in `diagnosis`."""

import graphlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import attrs

from jackfield.injection.providers import Provider
from jackfield.model.call import Call
from jackfield.model.spec import Dependency, Key
from jackfield.strangers import can_be_key


@attrs.frozen(eq=False)
class Constant:
    """An object that stands in for whatever would have been provided: an override.

    Attributes:
        value: the object.
    """

    value: Any


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
_THIS_CALL = ThisCall()


class Graph:
    """An immutable view of providers, contextual types and overrides, in which dependencies are looked up.

    A key is looked up exactly: a provider of a subclass does not stand in for its base. An override comes before a
    provider, a provider before a contextual type. A key of type `object` asks for a name, of whatever type.

    Args:
        providers: in order of registration. Those whose key is overridden are not looked at.
        contextual: the types that are resolved per plugin.
        overrides: objects that replace what is provided.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        contextual: Collection[type] = (),
        overrides: Mapping[Key, Any] = MappingProxyType({}),
    ) -> None:
        self.overrides = overrides
        self.contextual = frozenset(contextual)
        self.providers = tuple(provider for provider in providers if provider.key not in overrides)
        by_key: dict[Key, list[Provider]] = defaultdict(list)
        by_name: dict[str, list[Source]] = defaultdict(list)
        for key, value in overrides.items():
            if key.name is not None:
                by_name[key.name].append(Constant(value))
        for provider in self.providers:
            by_key[provider.key].append(provider)
            if provider.key.name is not None:
                by_name[provider.key.name].append(provider)
        self.by_key: Mapping[Key, tuple[Provider, ...]] = {key: tuple(found) for key, found in by_key.items()}
        self._by_name: Mapping[str, tuple[Source, ...]] = {name: tuple(found) for name, found in by_name.items()}

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
        if key in self.overrides:
            return (Constant(self.overrides[key]),)
        found: tuple[Source, ...] = self.by_key.get(key, ())
        if not found and key.type is object and key.name is not None:
            found = self._by_name.get(key.name, ())
        if not found and key.name is None and key.type in self.contextual:
            return (Contextual(key.type),)
        return found

    def source(self, dependency: Dependency, left_out: Collection[Provider] = ()) -> Source | None:
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
        for dependency in provider.dependencies:
            found = self.candidates(dependency.key)
            if len(found) == 1:
                yield dependency, found[0]

    @cached_property
    def needs(self) -> Mapping[Provider, tuple[Provider, ...]]:
        """For each provider, the providers that it needs or would like to have."""
        return {
            provider: tuple(source for _, source in self.edges(provider) if isinstance(source, Provider))
            for provider in self.providers
        }

    @cached_property
    def order(self) -> tuple[Provider, ...]:
        """All providers, each after everything that it needs; the same for the same providers in the same order.

        Raises:
            graphlib.CycleError: if there is no such order.
        """
        return tuple(graphlib.TopologicalSorter(self.needs).static_order())

    def dependents(self, keys: Collection[Key]) -> frozenset[Provider]:
        """Find the providers that need any of some keys, directly or through others.

        Args:
            keys: what has changed.

        Returns:
            Those providers; not the providers of the keys themselves, unless they need one another.
        """
        names = {key.name for key in keys if key.name is not None}
        users: dict[Provider, list[Provider]] = defaultdict(list)
        reached: set[Provider] = set()
        for provider, needed in self.needs.items():
            for other in needed:
                users[other].append(provider)
            wanted = (dependency.key for dependency in provider.dependencies)
            if any(key in keys or (key.type is object and key.name in names) for key in wanted):
                reached.add(provider)
        frontier = list(reached)
        while frontier:
            for user in users[frontier.pop()]:
                if user not in reached:
                    reached.add(user)
                    frontier.append(user)
        return frozenset(reached)
