"""What is asked for, what is allowed, and what of it is missing. A manifest is a request, and nothing more."""

import json
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TypeVar

import attrs

from jackfield.config.apart import ALL, WorkerConfig
from jackfield.manifests.model import Manifest
from jackfield.model.grants import Endpoint, Grants, Resources

_T = TypeVar("_T")


@attrs.frozen
class Permission:
    """What a worker of a plugin gets.

    Attributes:
        grants: what it may do.
        resources: what it may use.
        missing: the capabilities that its manifest asks for, and that nobody allows.
        allow: the line of `[plugin.worker]` that would allow them too; "" when nothing is missing.
        unused: what is allowed and not asked for.
    """

    grants: Grants = attrs.field(factory=Grants)
    resources: Resources = attrs.field(factory=Resources)
    missing: tuple[str, ...] = ()
    allow: str = ""
    unused: tuple[str, ...] = ()


def permission(manifest: Manifest | None, worker: WorkerConfig | None, own: Collection[str] = ()) -> Permission:
    """Compare what a plugin asks for with what its configuration allows.

    Args:
        manifest: what it asks for; None when it has none: then what is allowed is what it gets.
        worker: its `[plugin.worker]`.
        own: its top-level packages; event types of these are no one else's, and need no word.

    Examples:
        >>> asks = Manifest(asks=Grants.of(["network:outbound", "storage:scratch"]))
        >>> permission(asks, WorkerConfig(allow=("calls:text.*",))).allow
        'allow = ["calls:text.*", "network:outbound"]'
    """
    worker = worker or WorkerConfig()
    said = tuple(text for text in worker.allow if text != ALL)
    allowed = Grants.of(said)
    if manifest is None:
        return Permission(allowed, worker.resources)
    resources = manifest.resources.narrowed(worker.resources)
    if ALL in worker.allow:
        return Permission(manifest.asks, resources)
    asks = manifest.asks
    granted = _granted(asks, _with_own(allowed, asks, own))
    missing = more(allowed, asks, own)
    allow = f"allow = {json.dumps([*said, *missing], ensure_ascii=False)}" if missing else ""
    return Permission(granted, resources, missing, allow, more(asks, allowed))


def more(than: Grants, asked: Grants, own: Collection[str] = ()) -> tuple[str, ...]:
    """Give what is asked for beyond some grants: those of an operator, or those of the version before.

    Args:
        than: what is there.
        asked: what is wanted.
        own: as for `permission`.

    Returns:
        The capabilities that are not covered. A folder for itself alone (`storage:scratch`) never needs a word.

    Examples:
        >>> more(Grants.of(["calls:text.*"]), Grants.of(["calls:text.slugify", "calls:risk.*", "storage:scratch"]))
        ('calls:risk.*',)
    """
    network: tuple[Endpoint, ...] | None = asked.network
    if network is not None and than.network is not None:
        there = than.network
        left = tuple(each for each in network if each not in there)
        network = None if not there or (network and not left) else left
    return attrs.evolve(
        asked,
        network=network,
        read=_not_within(asked.read, (*than.read, *than.write)),
        write=_not_within(asked.write, than.write),
        scratch=False,
        calls=_not_matched(asked.calls, than.calls),
        publish=_not_matched(_others(asked.publish, own), than.publish),
        subscribe=_not_matched(_others(asked.subscribe, own), than.subscribe),
    ).capabilities()


def _granted(asked: Grants, allowed: Grants) -> Grants:
    """Give what both say: the narrower of each two that meet."""
    network = None
    if asked.network is not None and allowed.network is not None:
        if asked.network and allowed.network:
            network = tuple(each for each in asked.network if each in allowed.network) or None
        else:
            network = asked.network or allowed.network
    write = _meeting(asked.write, allowed.write, _within)
    read = _meeting((*asked.read, *asked.write), (*allowed.read, *allowed.write), _within)
    return Grants(
        network=network,
        read=_not_within(read, write),
        write=write,
        scratch=asked.scratch,
        calls=_meeting(asked.calls, allowed.calls, fnmatchcase),
        publish=_meeting(asked.publish, allowed.publish, fnmatchcase),
        subscribe=_meeting(asked.subscribe, allowed.subscribe, fnmatchcase),
        eager=asked.eager,
    )


def _with_own(allowed: Grants, asks: Grants, own: Collection[str]) -> Grants:
    """Add what needs nobody's word: event types of its own."""
    return attrs.evolve(
        allowed,
        publish=(*allowed.publish, *(each for each in asks.publish if _is_own(each, own))),
        subscribe=(*allowed.subscribe, *(each for each in asks.subscribe if _is_own(each, own))),
    )


def _is_own(pattern: str, own: Collection[str]) -> bool:
    package, dot, _ = pattern.partition(".")
    return bool(dot) and package in own


def _others(patterns: Iterable[str], own: Collection[str]) -> tuple[str, ...]:
    return tuple(each for each in patterns if not _is_own(each, own))


def _meeting(asked: Iterable[_T], allowed: Collection[_T], covers: Callable[[_T, _T], bool]) -> tuple[_T, ...]:
    found: list[_T] = []
    for one in asked:
        if any(covers(one, other) for other in allowed):
            found.append(one)
        else:
            found += (other for other in allowed if covers(other, one))
    return tuple(dict.fromkeys(found))


def _within(path: PurePath, folder: PurePath) -> bool:
    return path.is_relative_to(folder)


def _not_within(paths: Iterable[Path], folders: Collection[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if not any(_within(path, folder) for folder in folders))


def _not_matched(patterns: Iterable[str], allowed: Collection[str]) -> tuple[str, ...]:
    # A star of the narrower pattern can only be matched by one of the wider: it stands for names that nobody knows.
    return tuple(each for each in patterns if not any(fnmatchcase(each, pattern) for pattern in allowed))
