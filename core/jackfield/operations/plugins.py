"""The verbs for plugins: start, stop, restart, reload, unload."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from jackfield.host import Host
from jackfield.model.record import PluginRecord


def shown(record: PluginRecord) -> dict[str, Any]:
    """Give the record of a plugin as plain data."""
    return {**attrs.asdict(record), "state": record.state.value, "functions": list(record.functions)}


def start(host: Host, plugin: str) -> dict[str, Any]:
    """Start a plugin, after those that it depends on."""
    return shown(host.start_plugin(plugin))


def stop(host: Host, plugin: str) -> dict[str, Any]:
    """Stop a plugin, after those that depend on it."""
    return shown(host.stop_plugin(plugin))


def restart(host: Host, plugin: str) -> dict[str, Any]:
    """Stop a plugin and what depends on it, and start them again."""
    return shown(host.restart_plugin(plugin))


def reload(host: Host, plugin: str, keep_warm: float = 0.0) -> dict[str, Any]:
    """Replace a file plugin by what its file holds now."""
    return attrs.asdict(host.reload(plugin, keep_warm=keep_warm))


def unload(host: Host, plugin: str) -> dict[str, Any]:
    """Stop a plugin and release all that it holds."""
    report = host.unload(plugin)
    return {
        "plugin": report.plugin,
        "clean": report.clean,
        "released": dict(report.released),
        "failed": [attrs.asdict(fault) for fault in report.failed],
        "survivors": [attrs.asdict(survivor) for survivor in report.survivors],
    }


VERBS: Final[Mapping[str, Callable[..., Any]]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "reload": reload,
    "unload": unload,
}
