"""What is desired, as plain data: the part of it that a restart must know. Secrets stay references."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
import msgspec

from jackfield.config import PluginConfig, Secret
from jackfield.desired.fields import same
from jackfield.desired.ownership import FieldKey, Ownership, Written
from jackfield.desired.planning import wanted
from jackfield.desired.state import Desired, Refusal, Tried

K = TypeVar("K")
V = TypeVar("V")

VERSION: Final = 1
"""Of this form."""


@attrs.frozen
class Kept:
    """What a restart cannot find out.

    Attributes:
        applied: digest of the last applied file, in hexadecimal.
        offered: digest of the last file that the host was made of or that was applied; another one than `applied` once
            that file has been undone.
        ownership: what belongs to somebody else than the file.
        refused: plugin → the version that the file asks for and that is not tried again.
        stable: plugin → by what it is loaded, where the file asks for a version that is to be tried first, and that is
            on trial, or was refused, or could not come.
        trials: name → what is on trial.
    """

    applied: str = ""
    offered: str = ""
    ownership: Ownership = attrs.field(factory=Ownership)
    refused: Mapping[str, Refusal] = attrs.field(factory=dict)
    stable: Mapping[str, PluginConfig] = attrs.field(factory=dict)
    trials: Mapping[str, Tried] = attrs.field(factory=dict)


def kept(desired: Desired) -> Kept:
    """Give what is to be kept of a state."""
    want = wanted(desired.applied, desired).plugins
    stable = {
        name: there
        for name, plugin in want.items()
        if plugin.upgrade is not None and (there := desired.deployed.get(name)) is not None and not same(there, plugin)
    }
    return Kept(
        desired.applied.digest, desired.offered, desired.ownership, desired.refused, stable, dict(desired.trials)
    )


def merged(there: Kept, before: Kept, after: Kept) -> Kept:
    """Bring one's own change into what somebody else may have written meanwhile.

    Args:
        there: what is written.
        before: what one knew before the change.
        after: what one wants.

    Returns:
        What is there, but for what differs between `before` and `after`.
    """
    return Kept(
        after.applied if after.applied != before.applied else there.applied,
        after.offered if after.offered != before.offered else there.offered,
        Ownership(_moved(there.ownership.fields, before.ownership.fields, after.ownership.fields)),
        _moved(there.refused, before.refused, after.refused),
        _moved(there.stable, before.stable, after.stable),
        _moved(there.trials, before.trials, after.trials),
    )


def _moved(there: Mapping[K, V], before: Mapping[K, V], after: Mapping[K, V]) -> dict[K, V]:
    gone = before.keys() - after.keys()
    mine = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return {**{key: value for key, value in there.items() if key not in gone}, **mine}


def to_plain(desired: Kept) -> dict[str, Any]:
    """Write it down.

    Args:
        desired: what is kept.

    Returns:
        Plain data, as `wire.crossing.pack` writes it, unless a plugin that was loaded by hand has other options.
    """
    fields = [
        {**attrs.asdict(written), "field": field, "value": _plain(written.value), "base": _plain(written.base)}
        for field, written in desired.ownership.fields.items()
    ]
    refused = [
        {**attrs.asdict(each), "proposal": [_plain(each.proposal[0]), each.proposal[1]]}
        for each in desired.refused.values()
    ]
    return {
        "version": VERSION,
        "digest": desired.applied,
        "offered": desired.offered,
        "fields": fields,
        "refused": refused,
        "stable": [_plain(each) for each in desired.stable.values()],
        "trials": [{**attrs.asdict(each), "config": _plain(each.config)} for each in desired.trials.values()],
    }


def from_plain(document: Mapping[str, Any]) -> Kept:
    """Read what `to_plain` has written.

    Args:
        document: of this version.

    Raises:
        ValueError: if it is no such document.
    """
    try:
        if document["version"] != VERSION:
            raise ValueError(f"it is of version {document['version']}, and this jackfield knows {VERSION}")
        fields: dict[FieldKey, Written] = {}
        for row in document["fields"]:
            kind, name, key = row["field"]
            value, base = (_value(key, row[side]) for side in ("value", "base"))
            fields[kind, name, key] = Written(value, base, row["by"], row["verb"], row["at"])
        refused = {}
        for row in document["refused"]:
            plugin = _plugin(row["proposal"][0])
            refused[plugin.name] = Refusal((plugin, row["proposal"][1]), row["reason"], row["by"], row["at"])
        stable = {each["name"]: _plugin(each) for each in document["stable"]}
        trials = {each["name"]: _tried(each) for each in document["trials"]}
        return Kept(document["digest"], document["offered"], Ownership(fields), refused, stable, trials)
    except (KeyError, IndexError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise ValueError(f"it is damaged: {error}") from error


def _plain(value: Any) -> Any:
    """Write a value of a field: of a plugin's options the secrets apart, each with its place."""
    if not isinstance(value, PluginConfig):
        return value
    secrets = [[list(place), secret.reference] for place, secret in _secrets(value.options, ())]
    plain = {field.name: getattr(value, field.name) for field in attrs.fields(PluginConfig)}
    for name in ("worker", "retry", "upgrade"):
        plain[name] = attrs.asdict(plain[name]) if plain[name] is not None else None
    return {**plain, "options": _without(value.options), "secrets": secrets}


def _secrets(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Secret]]:
    if isinstance(value, Secret):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(item, (*place, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _secrets(item, (*place, number))


def _without(value: Any) -> Any:
    if isinstance(value, Secret):
        return None
    if isinstance(value, Mapping):
        return {key: _without(item) for key, item in value.items()}
    return [_without(item) for item in value] if isinstance(value, list | tuple) else value


def _value(key: str, plain: Any) -> Any:
    return _plugin(plain) if key == "loaded" and plain is not None else plain


def _tried(plain: Mapping[str, Any]) -> Tried:
    config = plain["config"]
    return attrs.evolve(
        msgspec.convert({**plain, "config": None}, Tried), config=None if config is None else _plugin(config)
    )


def _plugin(plain: Mapping[str, Any]) -> PluginConfig:
    secrets = plain["secrets"]
    config = msgspec.convert({name: value for name, value in plain.items() if name != "secrets"}, PluginConfig)
    for place, reference in secrets:
        holder: Any = config.options
        for step in place[:-1]:
            holder = holder[step]
        holder[place[-1]] = Secret(reference)
    return config
