"""Who wrote a field last: the file, unless somebody wrote it after the last apply."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import attrs

FieldKey = tuple[Literal["plugin", "route"], str, Literal["loaded", "running", "default"]]
"""A field that a verb can write: whether a plugin is loaded, and as what; whether it runs; the default of a route."""


@attrs.frozen
class Written:
    """What somebody wrote over what the file says.

    Attributes:
        value: of `loaded` the `PluginConfig`, or None for unloaded; of `running` whether it does; of `default` the
            version.
        base: what the file said then: where the next file says something else, both have changed it.
        by: who.
        verb: how.
        at: when, in seconds since the epoch.
    """

    value: Any
    base: Any
    by: str
    verb: str
    at: float


def _read_only(fields: Mapping[FieldKey, Written]) -> Mapping[FieldKey, Written]:
    return MappingProxyType(dict(fields))


@attrs.frozen
class Ownership:
    """The fields that belong to somebody else than the file.

    Attributes:
        fields: field → what was written.
    """

    fields: Mapping[FieldKey, Written] = attrs.field(factory=dict, converter=_read_only)

    def note(self, field: FieldKey, value: Any, *, base: Any, by: str, verb: str, at: float) -> "Ownership":
        """Give the ownership after somebody has written a field; who writes what the file says leaves it the file's.

        Args:
            field: which.
            value: what.
            base: what the last applied file says.
            by: who.
            verb: how.
            at: when, in seconds since the epoch.
        """
        if value == base:
            return self.release([field])
        return Ownership({**self.fields, field: Written(value, base, by, verb, at)})

    def release(self, fields: Iterable[FieldKey]) -> "Ownership":
        """Give the ownership after the file has taken some fields."""
        gone = {*fields}
        if gone.isdisjoint(self.fields):
            return self
        return Ownership({field: written for field, written in self.fields.items() if field not in gone})

    def of(self, kind: str, field: str) -> Iterator[tuple[FieldKey, Written]]:
        """Walk what was written of one kind."""
        for key, written in self.fields.items():
            if key[0] == kind and key[2] == field:
                yield key, written


def rerouted(before: Ownership, after: Ownership) -> set[str]:
    """Name the functions whose default version is chosen by somebody in one of two states, and otherwise in the other.

    Args:
        before: one.
        after: the other.
    """
    chosen = [{key[1]: written.value for key, written in each.of("route", "default")} for each in (before, after)]
    return {name for name in {*chosen[0], *chosen[1]} if chosen[0].get(name) != chosen[1].get(name)}
