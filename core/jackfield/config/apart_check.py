"""What is wrong with the tables of plugins that run apart, that no single value can tell."""

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from jackfield.config.apart import ALL, EnvironmentsConfig, WorkerConfig
from jackfield.config.model import PluginConfig
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, quoted
from jackfield.model.grants import capability_fault


def worker_problems(plugin: PluginConfig, worker: WorkerConfig, at: KeyPath) -> Iterator[Problem]:
    """Find what is wrong with a `[plugin.worker]`.

    Args:
        plugin: whose it is.
        worker: the table.
        at: where it is.
    """
    if plugin.executor != "worker":
        said = "the plugin has no executor" if plugin.executor is None else f"the executor is {quoted(plugin.executor)}"
        yield Problem(at, f"{said}, and only workers heed this table", 'add executor = "worker" to the [[plugin]]')
    for place, text in enumerate(worker.allow):
        if text not in (ALL, PLACEHOLDER) and (fault := capability_fault(text)):
            yield Problem((*at, "allow", place), *fault)
    if worker.with_:
        yield from _requirements(worker.with_, (*at, "with"))
    if worker.min > worker.max:
        reason = f"{worker.min:,} are kept warm, of {worker.max:,} that there may be at most"
        yield Problem((*at, "min"), reason, "raise max, or lower min")


def upgrade_problems(plugin: PluginConfig, at: KeyPath) -> Iterator[Problem]:
    """Find what is wrong with an `upgrade` that can be told without knowing the tenants.

    Args:
        plugin: whose it is.
        at: where it is.
    """
    if plugin.executor != "worker":
        reason = "only a plugin in workers can have two versions at once"
        yield Problem(at, reason, 'add executor = "worker" to the [[plugin]], or take upgrade out of it')


def _requirements(requirements: tuple[str, ...], at: KeyPath) -> Iterator[Problem]:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # for those who have some

    for place, text in enumerate(requirements):
        if text == PLACEHOLDER:
            continue
        try:
            Requirement(text)
        except InvalidRequirement:
            yield Problem((*at, place), f"{quoted(text)} is not a requirement", "write it as in 'my-providers==1.0'")


def find_links(environments: EnvironmentsConfig, folder: Path) -> tuple[EnvironmentsConfig, list[Problem]]:
    """Make the folders of `find_links` absolute, and look whether they are there.

    Args:
        environments: the table.
        folder: that of the configuration file.

    Returns:
        The table with absolute folders, and what is wrong.
    """
    links: list[str] = []
    problems: list[Problem] = []
    for place, text in enumerate(environments.find_links):
        if "://" in text or text == PLACEHOLDER:
            links.append(text)
            continue
        target = str(folder / text)
        links.append(target)
        if not os.path.isdir(target):  # noqa: PTH112  # unlike Path's, false for any bad name
            reason = f"there is no folder {quoted(text)}"
            fix = f"create it, or correct the path, which is relative to {folder}"
            problems.append(Problem(("environments", "find_links", place), reason, fix))
    return (attrs.evolve(environments, find_links=tuple(links)) if links else environments), problems
