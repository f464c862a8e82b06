"""Whether the store that a configuration names can be had here."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import attrs

from jackfield.config.adapters import ADAPTERS
from jackfield.config.model import StoreConfig
from jackfield.config.problems import PLACEHOLDER, Problem, did_you_mean, quoted

_OURS: Final = ("memory", "sqlite")
_URL: Final = ("store", "url")


def check_store_url(store: StoreConfig, folder: Path) -> tuple[StoreConfig, list[Problem]]:
    """Make the file of a store absolute, and look whether its folder is there; of others whether there is an adapter.

    Args:
        store: the table.
        folder: that of the configuration file.

    Returns:
        The table with an absolute file, and what is wrong.
    """
    if store.url == PLACEHOLDER:
        return store, []
    scheme, _, rest = store.url.partition(":")
    if scheme == "sqlite":
        return _file(store, rest, folder)
    if scheme == "memory":
        return store, [Problem(_URL, f"{quoted(store.url)} has more than a scheme", "write 'memory:'")] if rest else []
    known = [point.name.removeprefix("store:") for point in entry_points(group=ADAPTERS) if "store:" in point.name]
    if scheme in known:
        return store, []
    fix = did_you_mean(scheme, [*_OURS, *known])
    if "did you mean" not in fix:
        fix = f"{fix}; others come from adapters, as in pip install 'jackfield-contrib[{scheme}]'"
    return store, [Problem(_URL, f"nothing that is installed has a store for {quoted(f'{scheme}:')}", fix)]


def _file(store: StoreConfig, name: str, folder: Path) -> tuple[StoreConfig, list[Problem]]:
    if not name or name.startswith("//"):
        return store, [Problem(_URL, f"{quoted(store.url)} names no file", "write 'sqlite:jackfield.db'")]
    file = folder / name
    if file.is_dir() or not file.parent.is_dir():
        what = "is a folder" if file.is_dir() else f"is in {file.parent}, which is no folder"
        return store, [Problem(_URL, f"the file {quoted(name)} {what}", f"name a file, relative to {folder}")]
    return attrs.evolve(store, url=f"sqlite:{file}"), []
