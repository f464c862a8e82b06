"""What plugins ask for, as `check`, `info` and `manifest` show it: from manifests, without importing anything."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from jackfield.errors import ConfigError, Fault
from jackfield.manifests import Manifest, beside, permission
from jackfield.plugins.discovery import Catalogue
from jackfield.plugins.manifest import (
    disagreements,
    manifest_of,
    manifest_of_installed,
    modules,
    of_distribution,
)

if TYPE_CHECKING:
    from jackfield.config import Configuration, PluginConfig, WorkerConfig


@attrs.frozen
class Asking:
    """What one plugin asks for; the attributes are the keys of its JSON.

    Attributes:
        plugin: which.
        manifest: the file; "" when it has none.
        asks: the capabilities that it asks for.
        missing: those that nobody allows.
        allow: the line of `[plugin.worker]` that allows them; "" when nothing is missing.
    """

    plugin: str
    manifest: str
    asks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    allow: str = ""


def installed(names: Iterable[str], catalogue: Catalogue) -> tuple[list[Asking], list[Fault]]:
    """Read the manifests of installed plugins; what they ask for beyond the default is missing.

    Args:
        names: of the plugins.
        catalogue: what is installed.

    Returns:
        What those ask for that have one, and what is wrong with manifests.
    """
    found: list[Asking] = []
    faults: list[Fault] = []
    for name in names:
        candidates = of_distribution(name, catalogue)
        try:
            manifest = manifest_of_installed(name, catalogue)
        except ConfigError as error:
            faults += _of(error, name)
            continue
        if manifest is not None:
            found.append(_asking(name, manifest, None, _packages(modules(candidates))))
            faults += disagreements(manifest, candidates)
    return found, faults


def of_file(path: str, name: str) -> tuple[list[Asking], list[Fault]]:
    """Read the manifest beside a plugin that is a file or a folder.

    Args:
        path: of the file or folder.
        name: of the plugin.

    Returns:
        As `installed`.
    """
    try:
        file = beside(path)
        if file is None:
            return [], []
        from jackfield.manifests.read import read_manifest

        return [_asking(name, read_manifest(file), None, _packages([name]))], []
    except ConfigError as error:
        return [], _of(error, name)


def configured(configuration: "Configuration", catalogue: Catalogue) -> tuple[list[Asking], list[Fault]]:
    """Read the manifests of what a configuration declares, and compare them with what it allows.

    Args:
        configuration: which.
        catalogue: what is installed.

    Returns:
        As `installed`, of the plugins that run as workers; of the others only what is wrong.
    """
    found: list[Asking] = []
    faults: list[Fault] = []
    for plugin in configuration.plugins.values():
        try:
            manifest = manifest_of(plugin, catalogue)
        except ConfigError as error:
            faults += _of(error, plugin.name)
            continue
        if plugin.worker is not None and "all" in plugin.worker.allow and manifest is None:
            reason = "allow has 'all', whatever its manifest asks for, and it has no manifest"
            faults.append(Fault("manifest", plugin.name, plugin.name, reason, "name the capabilities that it may have"))
        if manifest is not None and plugin.executor == "worker":
            found.append(_asking(plugin.name, manifest, plugin.worker, _own(plugin, catalogue)))
    return found, faults


def shown(asking: Asking) -> str:
    """Say in a line what an operator is to write; "" when nothing is missing."""
    if not asking.missing:
        return ""
    return f"{asking.plugin}: asks for more than a worker has; to allow it, under its [plugin.worker]: {asking.allow}"


def _asking(name: str, manifest: Manifest, worker: "WorkerConfig | None", own: frozenset[str]) -> Asking:
    answer = permission(manifest, worker, own)
    return Asking(name, str(manifest.file or ""), manifest.asks.capabilities(), answer.missing, answer.allow)


def _own(plugin: "PluginConfig", catalogue: Catalogue) -> frozenset[str]:
    source = plugin.source
    if source.kind in ("file", "folder"):
        return frozenset()
    candidates = of_distribution(source.target, catalogue)
    return _packages(modules(candidates)) or frozenset({source.target.partition(".")[0]})


def _packages(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in names)


def _of(error: ConfigError, plugin: str) -> list[Fault]:
    """Name the file in each fault, and whose it is."""
    faults = error.faults or (Fault("manifest", plugin, error.file, error.reason),)
    return [attrs.evolve(one, plugin=plugin, where=_place(error.file, one.entry)) for one in faults]


def _place(file: str, entry: str) -> str:
    _, _, rest = entry.rpartition("(line ")
    return f"{file}:{rest.rstrip(')')}" if rest.rstrip(")").isdigit() else file
