"""Paths of a confinement that a guest sees where it has a view of files of its own."""

import os
from collections.abc import Iterable

from jackfield.sandbox.port import Confinement

MERGED = ("bin", "sbin", "lib", "lib32", "lib64")
"""Folders at the root that are links into `/usr`, or folders of the system as `/usr` is."""

SCRATCH = "/tmp/scratch"  # noqa: S108  # in the guest's own view
"""The working directory of one without a scratch folder: empty, and gone with it."""


def views(confinement: Confinement, command: tuple[str, ...]) -> list[str]:
    """Give what is to be seen read-only beside `/usr`, outer folders first, each once: what is there of it.

    Args:
        confinement: what the guest may.
        command: its program; where that is, and what that links to, is seen too.
    """
    program = command[0]
    wanted = [*confinement.readable, *confinement.executable, program, *_links(program)]
    inside = ("/usr", "/dev", "/proc", *(f"/{name}" for name in MERGED))
    found = {os.path.normpath(path) for path in wanted if os.path.exists(path)}
    return _outermost(path for path in found if not _within(path, inside))


def _links(path: str) -> Iterable[str]:
    """Give what a link leads to, over each link on the way."""
    while os.path.islink(path):
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        yield path


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(paths):
        if not _within(path, kept):
            kept.append(path)
    return kept


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
