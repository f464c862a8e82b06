"""A configured plugin → what it brings; and how what it brought goes away again."""

import functools
import os
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Literal

import attrs

from jackfield.config import PluginConfig, Source
from jackfield.contract import codec_of, specify
from jackfield.errors import Fault, PluginError
from jackfield.model.names import close_names
from jackfield.model.spec import FunctionSpec
from jackfield.plugins.barrier import Modules, refuse
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.content import Content, read_content
from jackfield.plugins.discovery import FUNCTIONS, PLUGINS, Candidate, Catalogue, load
from jackfield.plugins.discovery.entries import canonical, shown
from jackfield.plugins.loading import importer
from jackfield.plugins.loading.reading import Reading
from jackfield.strangers import is_a
from jackfield.text import printable

_PRIVATE = ("file", "folder")
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)  # no plugin objects, whatever they have


def load_bundle(
    plugin: PluginConfig, catalogue: Catalogue, only: Collection[str] | None = None, *, believed: bool = False
) -> PluginBundle:
    """Load what a plugin's `path` names. Loading the same file or folder again gives new modules beside the old.

    Args:
        plugin: its configuration.
        catalogue: what discovery found, for a path that names a distribution.
        only: of the functions that a distribution advertises, import these alone; None for all of them.
        believed: whoever sees the real owners of its file or folder has looked at them.

    Returns:
        What it brings, with a fault for each entry that is left out.

    Raises:
        PluginError: when nothing of it can be used: stage `source` (not there, not readable, not a plugin), `import`,
            or `attribute` (the plugin object is not there). Nothing of it stays in `sys.modules` then.
    """
    source = Source.parse(plugin.path)
    if source is None:
        fix = "write 'module:Object', a module, a distribution's name, './file.py' or './folder'"
        refuse(plugin.name, "source", f"({shown(plugin.path)}) is not the path of a plugin", fix)
    if source.kind in _PRIVATE:
        return _private(plugin, source, believed=believed)
    if source.kind == "distribution" or (source.kind == "name" and _known(source.target, catalogue)):
        return _installed(plugin, source, catalogue, only)
    try:
        return _public(plugin, source)
    except PluginError as error:
        missing = error.__cause__
        if source.kind != "name" or getattr(missing, "name", None) != source.target:
            raise
    return _installed(plugin, source, catalogue, only)  # neither: this says so, unless it is installed under that name


def load_function(candidate: Candidate) -> FunctionSpec:
    """Import one function that a distribution advertises, and check its contract.

    Args:
        candidate: where it is.

    Raises:
        PluginError: if it cannot be imported.
        ContractError: with every fault of it.
    """
    spec = specify(
        candidate.name,
        load(candidate),
        version=candidate.version,
        plugin=candidate.plugin,
        distribution=candidate.distribution,
    )
    codec_of(spec)
    return spec


def settings(plugin: PluginConfig) -> PluginBundle:
    """Give the bundle of a plugin whose code is not loaded: how it is to be run, and nothing that it brings.

    Args:
        plugin: its configuration.
    """
    return PluginBundle(
        plugin.name,
        plugin.version or "0",
        plugin.path,
        plugin.depends_on,
        plugin.auto_start,
        plugin.start_timeout,
        plugin.stop_timeout,
        plugin.restart or "never",
        plugin.restart_limit,
        plugin.restart_backoff,
        plugin.options,
    )


def current_digest(plugin: PluginConfig) -> str:
    """Read what `load_bundle` would load now, without running it: the same digest means there is nothing to reload.

    Args:
        plugin: its configuration.

    Returns:
        The digest; "" for what is importable by a public name.

    Raises:
        PluginError: stage `source`, when it cannot be read.
    """
    source = Source.parse(plugin.path)
    return _content(plugin, source).digest if source is not None and source.kind in _PRIVATE else ""


def purge(loaded: PluginBundle) -> None:
    """Take a file's or folder's modules out of the interpreter; once nobody refers to them they are collected.

    Removed are its entries in `sys.modules`, `linecache`, `sys.path_importer_cache`, the registry of `logging`, and the
    caches of `typing` and `inspect`. To be called when no call is running in it: its functions keep working, but cannot
    import its submodules any more. For what is importable by a public name this does nothing: others may have imported
    it too.

    Args:
        loaded: what `load_bundle` gave; once more is no error.
    """
    if loaded.content is not None:
        importer.forget(loaded.root, loaded.content)


def private_modules(loaded: PluginBundle) -> tuple[str, ...]:
    """Name the private modules of a file or folder that are imported now, submodules imported later included.

    Args:
        loaded: what `load_bundle` gave; for what is importable by a public name there are none.
    """
    here = loaded.content is not None and importer.holds(loaded.root, loaded.content)
    return importer.modules(loaded.root) if here else ()


def refuse_reload(plugin: PluginConfig) -> PluginError:
    """Make the error that says why a plugin cannot be reloaded in a running process.

    Args:
        plugin: one whose code is importable by a public name.

    Examples:
        >>> print(refuse_reload(PluginConfig("billing", "billing.app:Billing")).reason)
        billing.app is importable by its public name: whoever imported it holds on to the old code
    """
    source = Source.parse(plugin.path)
    target = shown(source.target if source is not None else plugin.path)
    reason = f"{target} is importable by its public name: whoever imported it holds on to the old code"
    fix = "give `path` as a file or folder, as in './billing.py', or restart the process"
    return PluginError(plugin.name, "reload", reason, fix, (Fault("reload", plugin.name, plugin.name, reason, fix),))


def _content(plugin: PluginConfig, source: Source, *, believed: bool = False) -> Content:
    kind: Literal["file", "folder"] = "folder" if source.kind == "folder" else "file"
    return read_content(plugin.name, source.target, kind, believed=believed)


def _private(plugin: PluginConfig, source: Source, *, believed: bool) -> PluginBundle:
    content = _content(plugin, source, believed=believed)
    root = importer.reserve(plugin.name, content)
    before = frozenset(sys.modules)
    try:
        loaded = _module(plugin, source, content.stem, Modules(plugin.name, root, content.stem))
    except BaseException:
        importer.forget(root, content)
        raise
    faults = (*loaded.faults, *_public_twins(plugin.name, content, before)) if content.folder else loaded.faults
    return attrs.evolve(loaded, root=root, digest=content.digest, faults=faults, content=content)


def _public(plugin: PluginConfig, source: Source) -> PluginBundle:
    return _module(plugin, source, source.target, Modules(plugin.name))


def _module(plugin: PluginConfig, source: Source, name: str, modules: Modules) -> PluginBundle:
    module = modules.module(name)
    found = modules.fetch(module, source.object.split("."))[1] if source.object else None
    reading = Reading(plugin, modules, plugin.version or "0", instance_of=found if is_a(found, type) else None)
    reading.configured(module if found is None else found)
    if is_a(found, _FUNCTIONS):
        reading.named(source.object, found)
        found = None
    reading.marked(module, found)
    return _loaded(plugin, reading, plugin.version or "0", found)


def _installed(
    plugin: PluginConfig, source: Source, catalogue: Catalogue, only: Collection[str] | None
) -> PluginBundle:
    key = canonical(source.target)
    if switched := next((one for one in catalogue.disabled if canonical(one.candidate.plugin) == key), None):
        reason = f"the distribution {source.target} is switched off by {switched.switch}"
        refuse(plugin.name, "source", reason, f"take it out of {switched.switch}, or out of the configuration")
    mine = tuple(one for one in catalogue.candidates if canonical(one.distribution) == key)
    distribution, version = (mine[0].distribution, mine[0].version) if mine else _metadata(plugin, source, catalogue)
    objects = [one for one in mine if one.group == PLUGINS]
    found = _object(plugin.name, objects[0]) if objects else None
    version = plugin.version or version
    reading = Reading(plugin, Modules(plugin.name), version, distribution, found if is_a(found, type) else None)
    reading.faults += (fault for fault in catalogue.faults if fault.plugin and canonical(fault.plugin) == key)
    reading.faults += (_second(plugin.name, one, objects[0]) for one in objects[1:])
    if is_a(found, _FUNCTIONS):
        reason = f"{objects[0].value} is a function, and a plugin has an object or a class"
        fix = f"advertise it as a function, under [{FUNCTIONS}]"
        reading.faults.append(Fault("attribute", plugin.name, objects[0].name, reason, fix))
        found = None
    # `billing` may name a distribution and a module: an attribute is the module's then.
    reading.configured(None, source.target if source.kind == "name" else "")
    reading.advertised(one for one in mine if only is None or one.group != FUNCTIONS or one.name in only)
    return _loaded(plugin, reading, version, found, distribution, whole=only is None)


def _known(name: str, catalogue: Catalogue) -> bool:
    return canonical(name) in {canonical(one) for one in _names(catalogue)}


def _names(catalogue: Catalogue) -> set[str]:
    disabled = (one.candidate for one in catalogue.disabled)
    return {one.distribution for one in (*catalogue.candidates, *disabled)} | set(catalogue.plugins)


def _metadata(plugin: PluginConfig, source: Source, catalogue: Catalogue) -> tuple[str, str]:
    """Give name and version of a distribution that serves no entry point."""
    try:
        return source.target, installed_version(source.target)
    except PackageNotFoundError as error:
        if _known(source.target, catalogue):
            return source.target, "0"
        what = "neither a module nor a distribution" if source.kind == "name" else "no distribution"
        close = close_names(source.target, sorted(_names(catalogue)))
        fix = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        fix += "correct the plugin's `path`, or install what provides it"
        refuse(plugin.name, "source", f"{what} named {shown(source.target)!r} is installed", fix, error)


def _object(plugin: str, candidate: Candidate) -> Any:
    try:
        return load(candidate)
    except PluginError as error:
        refuse(plugin, error.stage, error.reason, error.fix, error.__cause__)


def _second(plugin: str, candidate: Candidate, first: Candidate) -> Fault:
    reason = f"a plugin has one object, and {first.name} ({first.value}) is it"
    return Fault("duplicate", plugin, candidate.name, reason, "make it a distribution of its own")


def _loaded(
    plugin: PluginConfig, reading: Reading, version: str, found: Any, distribution: str = "", *, whole: bool = True
) -> PluginBundle:
    brought = (reading.functions, reading.methods, reading.providers, reading.hooks, reading.faults)
    if whole and found is None and not any(brought):
        reason = f"there is nothing in {printable(plugin.path)} that a host could use"
        fix = "mark functions with @function, map some under [plugin.functions], or name an object in `path`"
        reading.faults.append(Fault("source", plugin.name, plugin.name, reason, fix))
    return attrs.evolve(
        settings(plugin),
        version=version,
        distribution=distribution,
        object=found,
        functions=tuple(reading.functions),
        methods=tuple(reading.methods),
        providers=tuple(reading.providers),
        hooks=tuple(reading.hooks),
        faults=tuple(reading.faults),
    )


def _public_twins(plugin: str, content: Content, before: Collection[str]) -> list[Fault]:
    """Name the folder's own modules that it imported by a public name: those would stay old at a reload."""
    faults = []
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__dict__", {}).get("__file__") if name not in before else None
        if isinstance(file, str) and not name.startswith(importer.PREFIX) and _is_in(file, content):
            reason = f"{printable(file)} was imported as {name}, which a reload cannot replace"
            faults.append(Fault("import", plugin, name, reason, "inside the folder write `from . import …`"))
    return faults


def _is_in(file: str, content: Content) -> bool:
    return os.path.realpath(file).startswith(content.base + os.sep)
