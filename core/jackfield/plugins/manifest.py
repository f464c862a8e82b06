"""A configured plugin → its manifest: which place to look at is told by its `path`, and nothing is imported."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import Fault
from jackfield.manifests import MANIFEST, Manifest, beside, shipped
from jackfield.plugins.discovery.catalogue import Candidate, Catalogue
from jackfield.plugins.discovery.entries import FUNCTIONS, canonical

if TYPE_CHECKING:
    from jackfield.config import PluginConfig


def manifest_of(plugin: "PluginConfig", catalogue: Catalogue) -> Manifest | None:
    """Read the manifest of a plugin.

    Args:
        plugin: its configuration, files and folders absolute.
        catalogue: what discovery found.

    Returns:
        What it says; None when the plugin has none.

    Raises:
        ConfigError: when it is faulty, or there are two.
    """
    source = plugin.source
    if source.kind in ("file", "folder"):
        return _read(beside(source.target))
    candidates = of_distribution(source.target, catalogue) if source.kind != "module" else ()
    if candidates:
        return _read(shipped(candidates[0].location, modules(candidates)))
    top = source.target.partition(".")[0]
    owning = [one for one in catalogue.candidates if one.value.partition(":")[0].partition(".")[0].strip() == top]
    if owning:
        return manifest_of_installed(owning[0].plugin, catalogue)
    return _read(_of_module(top))


def manifest_of_installed(name: str, catalogue: Catalogue) -> Manifest | None:
    """Read the manifest of an installed distribution; as `manifest_of`."""
    candidates = of_distribution(name, catalogue)
    return _read(shipped(candidates[0].location, modules(candidates))) if candidates else None


def disagreements(manifest: Manifest, candidates: tuple[Candidate, ...]) -> tuple[Fault, ...]:
    """Compare a manifest with the metadata of its distribution.

    Args:
        manifest: what it says.
        candidates: what the distribution advertises.
    """
    first = candidates[0]
    functions = sorted({one.name for one in candidates if one.group == FUNCTIONS})
    return manifest.disagreements(canonical(first.distribution), first.version, functions)


def of_distribution(name: str, catalogue: Catalogue) -> tuple[Candidate, ...]:
    """Give what a distribution advertises, whether it is served, shadowed or switched off.

    Args:
        name: in any spelling.
        catalogue: what discovery found.
    """
    wanted = canonical(name)
    served = tuple(one for one in catalogue.candidates if canonical(one.distribution) == wanted)
    location = served[0].location if served else ""
    others = (*(lost.candidate for lost in catalogue.shadowed), *(off.candidate for off in catalogue.disabled))
    found = [
        one for one in others if canonical(one.distribution) == wanted and one.location == (location or one.location)
    ]
    return (*served, *found)


def modules(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """Name the modules that entry points are in."""
    return tuple(dict.fromkeys(one.value.partition(":")[0].strip() for one in candidates))


def _of_module(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: nothing is imported
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / MANIFEST
        if file.is_file():
            return file
    return None


def _read(file: Path | None) -> Manifest | None:
    if file is None:
        return None
    from jackfield.manifests.read import read_manifest  # noqa: PLC0415  # YAML is for those who have a manifest

    return read_manifest(file)
