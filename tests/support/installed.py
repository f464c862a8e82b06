"""Real distributions on disk, in a folder that is on `sys.path` for a while."""

import os
import sys
import textwrap
from contextlib import contextmanager
from unittest import mock


class Site:
    """A folder in which distributions can be put.

    Args:
        folder: where.
    """

    def __init__(self, folder):
        self._folder = folder
        self.path = [str(folder)]

    def __call__(self, name, code, entries, version="1.2"):
        """Install `jf-<name>`, of one module `jf_<name>`; entries are group, name and attribute."""
        module = f"jf_{name}"
        (self._folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        info = self._folder / f"jf_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jf-{name}\nVersion: {version}\n")
        text = "".join(f"[{group}]\n{key} = {module}:{value}\n" for group, key, value in entries)
        (info / "entry_points.txt").write_text(text)


@contextmanager
def site(folder):
    """Have a site; what is imported meanwhile is forgotten afterwards."""
    before = set(sys.modules)
    with (
        mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
    ):
        yield Site(folder)
    for name in set(sys.modules) - before:
        if name.startswith("jf_"):
            del sys.modules[name]
