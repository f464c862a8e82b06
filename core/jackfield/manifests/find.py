"""Where a plugin's manifest is, found without importing the plugin.

In this order: the file of that name in the distribution's RECORD; of an editable install in or beside its packages,
which `direct_url.json` or a path file leads to; of a plain file or folder beside it.
"""

import ast
import csv
import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from jackfield.errors import ConfigError, Fault

MANIFEST: Final = "plugin-manifest.yaml"
_LIMIT: Final = 4 << 20  # as discovery reads of metadata


def shipped(location: str, modules: Iterable[str]) -> Path | None:
    """Find the manifest of an installed distribution.

    Args:
        location: its metadata directory.
        modules: that its entry points are in, as in `demo.text`.

    Returns:
        The file, or None when it has none.

    Raises:
        ConfigError: when there are two, or RECORD names one that is not there.
    """
    folder = Path(location)
    packages = [part for module in modules for part in _packages(module)]
    record = _lines(folder / "RECORD")
    listed = [folder.parent / row[0] for row in csv.reader(record) if row and _is_manifest(row[0])]
    if listed:
        return _one(listed, location)
    roots = list(dict.fromkeys(_roots(folder, record)))
    inside = [root.joinpath(*package.split("."), MANIFEST) for root in roots for package in packages]
    around = [root / MANIFEST for root in roots if any(_holds(root, package) for package in packages)]
    # Beside the metadata may be the packages of everybody: only what is in this one's own counts.
    inside += [folder.parent.joinpath(*package.split("."), MANIFEST) for package in packages]
    return _one([file for file in (*inside, *around) if file.is_file()], location)


def sources(location: str, modules: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Give the packages of an editable install: where they are, and what they are called.

    Args:
        location: its metadata directory.
        modules: as for `shipped`.
    """
    folder = Path(location)
    for root in dict.fromkeys(_roots(folder, _lines(folder / "RECORD"))):
        for package in dict.fromkeys(module.partition(".")[0] for module in modules):
            if (root / package).is_dir():
                yield root, package


def beside(path: str) -> Path | None:
    """Find the manifest of a plugin that is a file or a folder: in the folder, or beside it.

    Args:
        path: of the file or folder.

    Returns:
        The file, or None when it has none.

    Raises:
        ConfigError: when there are two.
    """
    place = Path(path)
    around = [place.parent / MANIFEST]
    if place.is_dir():
        around.insert(0, place / MANIFEST)
    return _one([file for file in around if file.is_file()], path)


def _one(files: Iterable[Path], owner: str) -> Path | None:
    found = list({os.path.realpath(file): file for file in files}.values())
    if len(found) > 1:
        shown = " and ".join(map(str, found))
        reason, fix = f"it has {len(found)} manifests: {shown}", "ship one of them"
        raise ConfigError(owner, None, MANIFEST, reason, (Fault("manifest", "", owner, reason, fix),))
    if found and not found[0].is_file():
        reason, fix = f"RECORD names {found[0]}, which is not there", "install the distribution again"
        raise ConfigError(owner, None, MANIFEST, reason, (Fault("manifest", "", owner, reason, fix),))
    return found[0] if found else None


def _is_manifest(path: str) -> bool:
    return path.replace("\\", "/").rpartition("/")[2] == MANIFEST


def _packages(module: str) -> Iterator[str]:
    """Give the packages around a module, and itself, which may be one."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


def _holds(root: Path, package: str) -> bool:
    place = root.joinpath(*package.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def _roots(folder: Path, record: Collection[str]) -> Iterator[Path]:
    """Give the folders that an editable install is imported from."""
    if folder.suffix.lower() == ".egg-info" and "-" not in folder.stem:
        yield folder.parent  # setuptools keeps it beside the source
    project = _project(folder)
    if project is not None:
        yield project / "src"
        yield project
    for row in csv.reader(record):
        name = row[0].replace("\\", "/") if row else ""
        if name.endswith(".pth") and "/" not in name:
            for line in _lines(folder.parent / name):
                target = line.strip()
                if target and not target.startswith(("#", "import ", "import\t")):
                    yield folder.parent / target
        elif name.startswith("__editable__") and name.endswith("_finder.py"):
            yield from _mapped("\n".join(_lines(folder.parent / name)))


def _project(folder: Path) -> Path | None:
    """Give the project of an editable install, where PEP 610 says that it is one."""
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        said = json.loads("\n".join(_lines(folder / "direct_url.json")))
        url = urlsplit(said["url"])
        if said["dir_info"]["editable"] is True and url.scheme == "file":
            return Path(url2pathname(unquote(url.path)) if os.name == "nt" else unquote(url.path))
    return None


def _mapped(source: str) -> Iterator[Path]:
    """Read what setuptools' finder maps: package → folder; its code is not run."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.parse(source).body:
            match node:
                case ast.AnnAssign(target=ast.Name(id="MAPPING"), value=value) if value is not None:
                    yield from (Path(place).parent for place in _texts(ast.literal_eval(value)))
                case ast.Assign(targets=[ast.Name(id="MAPPING")], value=value):
                    yield from (Path(place).parent for place in _texts(ast.literal_eval(value)))


def _texts(mapping: object) -> Iterator[str]:
    if isinstance(mapping, dict):
        yield from (place for place in mapping.values() if isinstance(place, str))


def _lines(file: Path) -> list[str]:
    """Read the lines of a file of metadata; none where it cannot be read, which discovery tells of."""
    with suppress(OSError, ValueError):
        if file.is_file() and file.stat().st_size <= _LIMIT:
            return file.read_text("utf-8-sig", "replace").splitlines()
    return []
