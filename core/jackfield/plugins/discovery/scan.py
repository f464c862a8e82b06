"""Walk `sys.path` and find every distribution on it, with a guard around each: one that is broken costs only itself.

`importlib.metadata.entry_points()` fails as a whole on one stray directory or malformed line, and opens every file at
every start. This reads the same files with the same meaning, in directories and zip files, and asks the finders of
other packages through the interface of `importlib_metadata`.
"""

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from jackfield.errors import Fault
from jackfield.plugins.discovery.catalogue import (
    SAME_DIRECTORY,
    SAME_DISTRIBUTION,
    Candidate,
    Catalogue,
    Found,
    Shadowed,
    resolve,
)
from jackfield.plugins.discovery.index import Record, read_index, write_index
from jackfield.plugins.discovery.metadata import read_archived, read_distribution, read_foreign
from jackfield.plugins.discovery.switches import Switches
from jackfield.strangers import Broken, barrier, named
from jackfield.text import printable

# What walks `sys.path`: Python's own, and what `importlib_metadata` installs, be it vendored.
_PATH_FINDERS = re.compile(
    r"(_frozen_importlib_external|importlib\._bootstrap_external):PathFinder\.find_distributions"
    r"|(.+\.)?importlib[._]metadata:MetadataPathFinder\.find_distributions"
)


def scan(
    path: Sequence[str] | None = None, *, cache: bool | None = None, switches: Switches | None = None
) -> Catalogue:
    """Find every entry point in jackfield's groups. Imports no plugin, and never raises for one that is broken.

    Args:
        path: directories and zip files to search; by default `sys.path`, and other packages' finders besides.
        cache: whether to use the index; by default unless `switches` says no.
        switches: the operator's switches; by default none apply.

    Examples:
        >>> catalogue = scan(["/nowhere"])
        >>> catalogue.candidates, catalogue.faults
        ((), ())
    """
    switches = switches or Switches()
    use_index = not switches.no_cache if cache is None else cache
    faults: list[Fault] = []
    sites = list(_everywhere(faults, use_index) if path is None else _sites(path, faults, use_index))
    candidates, shadowed = _one_per_distribution(sites, faults)
    once = dict.fromkeys(faults)  # what an editable install and its twin beside the source both have wrong
    return resolve(Found(tuple(candidates), tuple(shadowed), tuple(once)), switches)


class _Distribution(msgspec.Struct, frozen=True, gc=False):  # a thousand of them at every start
    location: str
    record: Record


def _everywhere(faults: list[Fault], use_index: bool) -> Iterator[list[_Distribution]]:
    """Ask the finders on `sys.meta_path` in their order, as import does: one in front of Python's own comes first."""
    walked = False
    for finder in list(sys.meta_path):
        try:
            with barrier("looking at it"):
                find: Any = getattr(finder, "find_distributions", None)
                plain: Any = getattr(find, "__func__", find)
                walks = _PATH_FINDERS.fullmatch(f"{plain.__module__}:{plain.__qualname__}") if callable(find) else None
        except Broken as broken:
            faults.append(_of_finder(finder, broken))
            continue
        if walks is None:
            yield list(_from_finder(finder, find, faults)) if callable(find) else []
        elif not walked:
            walked = True
            yield from _sites(sys.path, faults, use_index)
    if not walked:
        yield from _sites(sys.path, faults, use_index)


def _sites(path: Sequence[str], faults: list[Fault], use_index: bool) -> Iterator[list[_Distribution]]:
    seen = set()
    for entry in path:
        if not isinstance(entry, str | os.PathLike):
            continue  # import ignores such things too
        try:
            site = os.path.abspath(entry)  # noqa: PTH100  # "" is the working directory
            status = os.stat(site)  # noqa: PTH116
        except (OSError, ValueError):
            continue  # what does not exist provides nothing, here as for import
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            continue  # lib64 → lib, and the like
        seen.add(identity)
        if stat.S_ISDIR(status.st_mode):
            yield _from_directory(site, faults, use_index)
        else:
            yield list(_from_archive(site, faults))


def _from_directory(site: str, faults: list[Fault], use_index: bool) -> list[_Distribution]:
    try:
        names = os.listdir(site)  # noqa: PTH208
    except OSError as error:
        fix = "make the directory readable, or take it off sys.path"
        faults.append(Fault("scan", "", printable(site), f"the directory cannot be listed: {error.strerror}", fix))
        return []
    in_egg = site.lower().endswith(".egg")
    names = sorted(name for name in names if name[-4:].lower() == "info" and _is_metadata(name.lower(), in_egg))
    if not names:
        return []
    now = time.time_ns()
    indexed = read_index(site) if use_index else {}
    settled: dict[str, Record] = {}
    found: list[_Distribution] = []
    for name in names:
        location = f"{site}{os.sep}{name}"
        record = indexed.get(name)
        if record is not None and record.unchanged(location):
            settled[name] = record
            found.append(_Distribution(location, record))
            continue
        wrong = len(faults)
        record = read_distribution(location, _stem(site, name), faults)
        if record is not None:
            found.append(_Distribution(location, record))
            # What is faulty is read again each time, so that the faults need not be kept.
            if len(faults) == wrong and record.settled(now):
                settled[name] = record
    if use_index and settled != indexed:
        write_index(site, settled)
    return found


def _is_metadata(name: str, in_egg: bool) -> bool:
    return name.endswith((".dist-info", ".egg-info")) or (in_egg and name == "egg-info")


def _stem(site: str, name: str) -> str:
    """Give what a metadata directory is named after; that of an egg is called `EGG-INFO`, and the egg has the name."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot else _base(site).rpartition(".")[0]


def _from_archive(site: str, faults: list[Fault]) -> Iterator[_Distribution]:
    """Read the distributions in a zip file on `sys.path`, an egg or a wheel, as if it were the directory."""
    from zipfile import BadZipFile, ZipFile  # noqa: PLC0415  # 5 ms, rarely needed

    try:
        with barrier("reading it"), suppress(BadZipFile), ZipFile(site) as archive:
            in_egg = site.lower().endswith(".egg")
            folders = {name.partition("/")[0] for name in archive.namelist() if "/" in name}
            for name in sorted(name for name in folders if _is_metadata(name.lower(), in_egg)):
                record = read_archived(archive, f"{site}{os.sep}{name}", name, _stem(site, name), faults)
                if record is not None:
                    yield _Distribution(f"{site}{os.sep}{name}", record)
    except Broken as broken:
        fix = "replace it, or take it off sys.path"
        faults.append(Fault("scan", "", printable(site), broken.reason, fix))


def _from_finder(finder: object, find: Callable[..., Any], faults: list[Fault]) -> Iterator[_Distribution]:
    """Read the distributions that another package's finder on `sys.meta_path` knows."""
    from importlib_metadata import DistributionFinder  # noqa: PLC0415  # 7 ms, rarely needed

    try:
        with barrier("asking it"):
            distributions = list(find(DistributionFinder.Context()))  # type: ignore[no-untyped-call]
    except Broken as broken:
        faults.append(_of_finder(finder, broken))
        return
    for location, record in read_foreign(distributions, named(finder), faults):
        yield _Distribution(location, record)


def _of_finder(finder: object, broken: Broken) -> Fault:
    fix = "upgrade the package that put it on sys.meta_path"
    return Fault("scan", "", f"{named(finder)}.find_distributions", broken.reason, fix)


def _one_per_distribution(
    sites: Iterable[list[_Distribution]], faults: list[Fault]
) -> tuple[list[Candidate], list[Shadowed]]:
    """Keep of each distribution the installation that import would use."""
    owners: dict[str, tuple[_Distribution, list[Candidate]]] = {}
    candidates: list[Candidate] = []
    shadowed: list[Shadowed] = []
    for position, site in enumerate(sites):
        installed: dict[str, list[_Distribution]] = {}
        for distribution in site:
            installed.setdefault(distribution.record.key, []).append(distribution)
        for key in sorted(installed):
            several = installed[key]
            if len(several) == 1 and key not in owners:  # as nearly all are
                owners[key] = several[0], (found := _candidates(several[0], position))
                candidates += found
                continue
            best, *others = _best_first(several, faults)
            for one in (best, *others):
                rule = SAME_DISTRIBUTION if one is best else SAME_DIRECTORY
                found = _candidates(one, position)
                owner, theirs = owners.setdefault(key, (one, found))
                if owner is one:
                    candidates += found
                elif found and os.path.realpath(owner.location) != os.path.realpath(one.location):
                    shadowed += (Shadowed(candidate, _same(candidate, theirs), rule) for candidate in found)
    return candidates, shadowed


def _base(location: str) -> str:
    return os.path.basename(location)  # noqa: PTH119


def _candidates(distribution: _Distribution, position: int) -> list[Candidate]:
    record, location = distribution.record, distribution.location
    if not record.entries:  # a stranger
        return []
    return [
        Candidate(group, name, value, record.name, record.version, location, record.name, position)
        for group, name, value in record.entries
    ]


def _same(candidate: Candidate, among: Iterable[Candidate]) -> Candidate | None:
    return next((one for one in among if (one.group, one.name) == (candidate.group, candidate.name)), None)


def _best_first(several: list[_Distribution], faults: list[Fault]) -> list[_Distribution]:
    """Order the installations of one distribution in one directory, and say so when it makes a difference."""
    if len(several) == 1:
        return several
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415  # 12 ms, needed only in a broken environment

    def rank(distribution: _Distribution) -> tuple[bool, Version]:
        stem, _, suffix = _base(distribution.location).rpartition(".")
        try:
            version = Version(stem.partition("-")[2].partition("-")[0])
        except InvalidVersion:
            version = Version("0")
        return suffix.lower() == "dist-info", version

    best, *others = sorted(several, key=rank, reverse=True)
    for other in others:
        if (other.record.version, other.record.entries) != (best.record.version, best.record.entries):
            plugin = best.record.name or other.record.name
            reason = f"installed a second time as {printable(best.location)}, which is used: {SAME_DIRECTORY}"
            fix = f"remove {printable(other.location)}, and `pip install --force-reinstall {plugin}`"
            faults.append(Fault("duplicate", plugin, printable(other.location), reason, fix))
    return [best, *others]
