"""Loading plugins in workers, for `pluginctl check --in-worker`: nothing of them is imported here."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import attrs

from jackfield.cli.entries import read_catalogue
from jackfield.config import Configuration, PluginConfig, StoreConfig
from jackfield.config.apart import ALL, WorkerConfig
from jackfield.errors import Fault


def check_apart(
    names: Iterable[str], files: Iterable[str], timeout: float
) -> tuple[list[str], list[dict[str, str]], list[Fault]]:
    """Load plugins in workers; each gets what its manifest asks for.

    Args:
        names: functions or plugins that are installed; with no file either, all that are.
        files: Python files or folders.
        timeout: seconds that importing one may take.

    Returns:
        The functions that could be called, the notes on them, and every fault.
    """
    from loguru import logger

    from jackfield.cli.child import concerns
    from jackfield.cli.files import given
    from jackfield.host import Host
    from jackfield.stack import show_messages_here

    logger.disable("jackfield")
    show_messages_here()
    names, files = tuple(names), tuple(files)
    paths = {}
    if names or not files:
        paths = {one.plugin: one.plugin for one in read_catalogue().candidates if concerns(names, one.name, one.plugin)}
    for text in files:
        file = given(text)
        if file is not None:
            paths[file.plugin] = str(file.root)
    made = (PluginConfig(name, path, start_timeout=timeout) for name, path in paths.items())
    here = Configuration(Path(tempfile.gettempdir()) / "check.toml", {plugin.name: plugin for plugin in made})
    host = Host.from_config(moved(here), observers=())
    functions, faults = host.declared()
    wanted = [name for name in functions if _concerned(name, names, files)]
    specs = [host.describe(name) for name in wanted]
    notes = [{"function": spec.name, "plugin": spec.plugin, "note": note} for spec in specs for note in spec.notes]
    return wanted, notes, list(faults)


def _concerned(name: str, names: tuple[str, ...], files: tuple[str, ...]) -> bool:
    return bool(files) or not names or name in names or not any("." in each for each in names)


def without_store(configuration: Configuration) -> Configuration:
    """Give the same configuration without the store that lasts, and what needs it: that is the running host's.

    A host that is made to look at what there is must not bring back what verbs have changed, nor run what was accepted.
    """
    if configuration.store == StoreConfig():
        return configuration
    return attrs.evolve(configuration, store=StoreConfig(), schedules={}, deliveries={})


def moved(configuration: Configuration) -> Configuration:
    """Give a configuration whose plugins are all in workers."""
    plugins = {
        name: attrs.evolve(plugin, executor="worker", worker=plugin.worker or WorkerConfig(allow=(ALL,)))
        for name, plugin in configuration.plugins.items()
    }
    return attrs.evolve(configuration, plugins=plugins)
