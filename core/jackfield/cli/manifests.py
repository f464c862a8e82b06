"""Whose manifest `pluginctl manifest` is to show: an installed plugin's, a project's, a file's, or the file itself."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import attrs

from jackfield.errors import PluginError
from jackfield.manifests import MANIFEST, Manifest, beside, shipped
from jackfield.manifests.propose import proposed, written
from jackfield.manifests.read import read_manifest
from jackfield.plugins.discovery import FUNCTIONS, GROUPS, Catalogue
from jackfield.plugins.manifest import modules, of_distribution


@attrs.frozen
class Subject:
    """A plugin, and its manifest or the proposal of one.

    Attributes:
        plugin: its name.
        text: the manifest, or the proposal.
        file: the manifest's; None when it has none.
        place: where a proposal belongs; None when that is not here.
        packaging: the `pyproject.toml` and the package that ships it; None where nothing is packaged.
        asks: the capabilities that it asks for.
    """

    plugin: str
    text: str
    file: Path | None = None
    place: Path | None = None
    packaging: tuple[Path, str] | None = None
    asks: tuple[str, ...] = ()


def subject(given: str, catalogue: Catalogue) -> Subject | None:
    """Find what is meant.

    Args:
        given: a plugin's name, or a path.
        catalogue: what is installed.

    Returns:
        What was found; None when nothing is called so.

    Raises:
        ConfigError: when the manifest is faulty, or there are two.
        PluginError: for a path at which there is nothing that could have one.
    """
    if candidates := of_distribution(given, catalogue):
        first = candidates[0]
        functions = {one.name for one in candidates if one.group == FUNCTIONS}
        file = shipped(first.location, modules(candidates))
        found = _existing(first.plugin, file) or Subject(first.plugin, proposed(first.distribution, functions))
        return found if file else _located(found, first.location, modules(candidates))
    path = Path(given)
    if not (os.sep in given or "/" in given or given in (".", "..") or path.suffix in (".py", ".yaml", ".yml")):
        return None
    if path.suffix in (".yaml", ".yml"):
        return _existing(path.name, path)
    if not path.exists():
        raise PluginError(given, "source", "there is no such file or folder", "correct the path")
    if (path / "pyproject.toml").is_file():
        return _project(path)
    if path.is_dir() and not (path / "__init__.py").is_file() and not (path / MANIFEST).is_file():
        reason = "it is neither a project, with a pyproject.toml, nor a package"
        raise PluginError(given, "source", reason, "give a plugin's name, its project, its file or its folder")
    name = path.absolute().stem
    place = (path if path.is_dir() else path.parent) / MANIFEST
    return _existing(name, beside(str(path))) or Subject(name, proposed(_name(name), ()), place=place)


def _existing(name: str, file: Path | None) -> Subject | None:
    if file is None:
        return None
    manifest: Manifest = read_manifest(file)
    return Subject(manifest.name or name, written(manifest), file, asks=manifest.asks.capabilities())


def _located(found: Subject, location: str, names: tuple[str, ...]) -> Subject:
    """Say where the manifest of an installed distribution belongs, if its sources are here."""
    from jackfield.manifests.find import sources

    for root, package in sources(location, names):
        home = next((folder for folder in (root, root.parent) if (folder / "pyproject.toml").is_file()), None)
        packaging = (home / "pyproject.toml", package) if home else None
        return attrs.evolve(found, place=root / package / MANIFEST, packaging=packaging)
    return found


def _project(path: Path) -> Subject:
    """Read a project that may not be installed: its entry points stand in `pyproject.toml`."""
    file = path / "pyproject.toml"
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PluginError(str(file), "source", f"cannot be read: {type(error).__name__}", "correct it") from None
    project = said.get("project", {})
    groups: dict[str, dict[str, Any]] = project.get("entry-points", {})
    ours = {group: groups[group] for group in GROUPS if isinstance(groups.get(group), dict)}
    packages = {
        str(value).partition(":")[0].partition(".")[0].strip() for each in ours.values() for value in each.values()
    }
    folders = [root / package for root in (path / "src", path) for package in sorted(packages)]
    homes = [folder for folder in folders if folder.is_dir()]
    name = str(project.get("name", path.absolute().name))
    for home in homes:
        if existing := _existing(name, home / MANIFEST if (home / MANIFEST).is_file() else None):
            return existing
    text = proposed(name, map(str, ours.get(FUNCTIONS, {})))
    if not homes:
        return Subject(name, text)
    return Subject(name, text, place=homes[0] / MANIFEST, packaging=(file, homes[0].name))


def _name(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-") or "plugin"
