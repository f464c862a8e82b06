"""Plugin sources: what a configured plugin's `path` names → functions, providers, hooks and the plugin object.

A `.py` file or a package folder is loaded under a private module name for its digest, beside any other version of it,
so that it can be reloaded, split and rolled back in one process. Whatever is importable by a public name is imported as
ever, once, and cannot be reloaded.

Rules for authors of files and folders:

- A folder imports its own modules relatively (`from . import tax`). Its code, and its data as `importlib.resources`
  gives them, stay as they were when it was loaded, whatever happens on the disk. `__file__` is the real path.
- `__module__` of its classes is the private name: pickles of their instances cannot be read by another process, nor
  after a reload. State that is to outlive a version must be plain data.
- Compiled modules cannot be unloaded, so they are refused; they belong in a distribution.

What is taken, unless `[plugin.functions]` maps names to attributes: what `@function` marks at the top of the module (of
a folder: of its `__init__.py`, with what that imports from its submodules) and on the plugin object; what `@provides`
marks; the module itself if it has functions marked with `@hookimpl`, and its classes with such methods (the instances
that the module has of them, else the class). In `[plugin.functions]`, `billing:charge` and `billing.tax:vat` name the
own modules of `./billing.py` and `./billing`. There is a plugin object only where `path` names one, or where a
distribution advertises one.

After `purge`, the interpreter keeps of a version: strings (names that `inspect.getmodule` or a logging library noted;
CPython itself never frees the file name of generated code, about 110 bytes for each attrs class), and whatever the
plugin left elsewhere: threads, `atexit` functions, registrations in other libraries. A kept exception keeps the frames
of its traceback, and with them the module.
"""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.plugins.content import FILES_LIMIT, SIZE_LIMIT
    from jackfield.plugins.loading.bundles import (
        current_digest,
        load_bundle,
        load_function,
        private_modules,
        purge,
        refuse_reload,
        settings,
    )
    from jackfield.plugins.loading.importer import forget
    from jackfield.plugins.loading.marks import carries_hooks

_BUNDLES: Final = "jackfield.plugins.loading.bundles"
_HOMES: Final = {
    "FILES_LIMIT": "jackfield.plugins.content",
    "SIZE_LIMIT": "jackfield.plugins.content",
    "carries_hooks": "jackfield.plugins.loading.marks",
    "current_digest": _BUNDLES,
    "forget": "jackfield.plugins.loading.importer",
    "load_bundle": _BUNDLES,
    "load_function": _BUNDLES,
    "private_modules": _BUNDLES,
    "purge": _BUNDLES,
    "refuse_reload": _BUNDLES,
    "settings": _BUNDLES,
}

__all__ = [
    "FILES_LIMIT",
    "SIZE_LIMIT",
    "carries_hooks",
    "current_digest",
    "forget",
    "load_bundle",
    "load_function",
    "private_modules",
    "purge",
    "refuse_reload",
    "settings",
]


__getattr__ = imported_from(_HOMES, __name__)  # a host that has no plugins does not need what loads them
