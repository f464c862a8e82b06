"""Private modules: a plugin's file or folder as a module under a name of its own, beside any other version of it.

Python's own import system does the importing, so that relative imports, locks against importing twice at once, and the
removal of what failed are its own; one finder on `sys.meta_path` answers for the private names, from memory. It is put
there with the first plugin of that kind and stays, for taking it away could make an import in another thread skip one.
"""

import inspect
import linecache
import logging
import os
import re
import sys
import threading
import typing
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, all_suffixes
from importlib.util import decode_source
from types import CodeType, ModuleType
from typing import Final

from jackfield.plugins.content import Content
from jackfield.plugins.loading.resources import Resources

PREFIX: Final = "_jackfield_plugin_"
"""What the private names begin with; then come the plugin's name, and the digest's first 12 digits."""

_DIGITS = 12
_STEM_LIMIT = 40
_COMPILED = tuple(suffix for suffix in all_suffixes() if suffix not in (".py", ".pyc"))


class _Loader(InspectLoader):
    """Makes the modules of one content. Nothing is ever written, so no `__pycache__` appears beside the files."""

    def __init__(self, root: str, content: Content) -> None:
        self.root, self.content = root, content

    def spec(self, fullname: str) -> ModuleSpec:
        """Describe a module; raise ModuleNotFoundError rather than let other finders look on the disk."""
        package = self.is_package(fullname)
        spec = ModuleSpec(fullname, self, origin=self.content.path(self._file(fullname)), is_package=package)
        spec.has_location = True
        if package:
            folder = self._folder(fullname)
            spec.submodule_search_locations = [self.content.path(folder) if folder else self.content.base]
        return spec

    def _folder(self, fullname: str) -> str:
        return fullname[len(self.root) + 1 :].replace(".", "/")

    def _file(self, fullname: str) -> str:
        """Give the name of a module's file; that of a subfolder without `__init__.py` is there only in spirit."""
        content, folder = self.content, self._folder(fullname)
        if not folder:
            return content.main
        if content.folder:
            if (package := f"{folder}/__init__.py") in content.files:
                return package
            if f"{folder}.py" in content.files:
                return f"{folder}.py"
            if any(name.startswith(f"{folder}/") for name in content.files):
                return package
        known = fullname.replace(self.root, content.stem, 1)
        if any(f"{folder}{suffix}" in content.files for suffix in _COMPILED):
            reason = f"{known} is a compiled module, which Python cannot unload: install the plugin as a distribution"
            raise ModuleNotFoundError(reason, name=fullname)
        raise ModuleNotFoundError(f"No module named {known!r}", name=fullname)

    def is_package(self, fullname: str) -> bool:
        return self.content.folder and self._file(fullname).rpartition("/")[2] == "__init__.py"

    def get_filename(self, fullname: str) -> str:
        return self.content.path(self._file(fullname))

    def get_source(self, fullname: str) -> str:
        return decode_source(self.content.files.get(self._file(fullname), b""))

    def get_code(self, fullname: str) -> CodeType:
        # From the bytes, so that a wrong encoding is a SyntaxError with its line.
        return self.source_to_code(self.content.files.get(self._file(fullname), b""), self.get_filename(fullname))

    def get_data(self, path: str) -> bytes:
        """Give a file's bytes by its full path: what `pkgutil.get_data` asks for."""
        name = os.path.relpath(path, self.content.base).replace(os.sep, "/")
        try:
            return self.content.files[name]
        except KeyError:
            raise FileNotFoundError(path) from None

    def get_resource_reader(self, fullname: str) -> Resources:
        return Resources(self.content.files, self._file(fullname).rpartition("/")[0])


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.loaders: dict[str, _Loader] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # as the import system passes it
        target: ModuleType | None = None,  # noqa: ARG002  # as above
    ) -> ModuleSpec | None:
        loader = self.loaders.get(fullname.partition(".")[0])
        return None if loader is None else loader.spec(fullname)


_finder: Final = _Finder()
# Reentrant: what goes from `sys.modules` may run a plugin's `__del__`.
_reserving: Final = threading.RLock()


def reserve(plugin: str, content: Content) -> str:
    """Make a content importable under a private name that nothing else has.

    Args:
        plugin: whose it is; becomes part of the name.
        content: what is to be imported.

    Returns:
        The name: the same for the same plugin and digest, with a number behind it while that is taken.
    """
    stem = re.sub(r"\W", "_", plugin, flags=re.ASCII)[:_STEM_LIMIT]
    first = name = f"{PREFIX}{stem}_{content.digest[:_DIGITS]}"
    number = 1
    with _reserving:
        while name in _finder.loaders or name in sys.modules:
            number += 1
            name = f"{first}_{number}"
        _finder.loaders[name] = _Loader(name, content)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
    return name


def modules(root: str) -> tuple[str, ...]:
    """Name what has been imported of a private module: itself, and the submodules so far."""
    return tuple(name for name in list(sys.modules) if _within(name, root))


def holds(root: str, content: Content) -> bool:
    """Tell whether a private name is this very content's; after `forget`, the name can be another's."""
    loader = _finder.loaders.get(root)
    return loader is not None and loader.content is content


def forget(root: str, content: Content) -> None:
    """Undo `reserve` and every import below it, and clear what the interpreter keeps by these names.

    Args:
        root: the name that `reserve` gave.
        content: what it was given for; when that is gone already, nothing happens.
    """
    with _reserving:  # until all is gone nobody else gets the name
        if not holds(root, content):
            return
        del _finder.loaders[root]
        for name in modules(root):
            sys.modules.pop(name, None)
        loggers = logging.Logger.manager.loggerDict
        for name in list(loggers):
            if _within(name, root):
                loggers.pop(name, None)
        _forget_files(root, content)
    _clear_caches()


def _clear_caches() -> None:
    """Clear the caches of the standard library that hold on to classes, and so to their functions and module."""
    for clear in getattr(typing, "_cleanups", ()):  # `Optional[Loan]`
        clear()
    # Of 3.12.0 to 3.12.3, https://github.com/python/cpython/issues/118013: the class of whatever `getattr_static` or
    # `isinstance` with a protocol was asked about.
    of_inspect = getattr(inspect, "_shadowed_dict_from_mro_tuple", None)
    if of_inspect is not None:
        of_inspect.cache_clear()


def _forget_files(root: str, content: Content) -> None:
    files = {content.path(name) for name in content.files}
    for file in list(linecache.cache):
        if file in files or _mentions(file, root):
            linecache.cache.pop(file, None)
    if content.folder:  # `pkgutil` has finders made for the folders in `__path__`
        for place in list(sys.path_importer_cache):
            if f"{place}{os.sep}".startswith(content.base + os.sep):
                sys.path_importer_cache.pop(place, None)


def _within(name: str, root: str) -> bool:
    return name == root or name.startswith(f"{root}.")


def _mentions(file: str, root: str) -> bool:
    """Tell whether generated code is a module's: attrs and the like file it under a name that contains the module's."""
    _, found, rest = file.partition(root)  # no pattern: `re` would keep it
    return bool(found) and not (rest[:1] == "_" or rest[:1].isalnum())
