"""What no single value can tell: names, references, dependencies, shares, secrets. Every fault at once."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from jackfield.config.apart import EnvironmentsConfig
from jackfield.config.apart_check import find_links, upgrade_problems, worker_problems
from jackfield.config.model import Document, PluginConfig, RouteConfig, Source, TenantConfig
from jackfield.config.problems import DIGEST_PLACEHOLDER, PLACEHOLDER, KeyPath, Problem, did_you_mean, quoted
from jackfield.config.schedules import schedule_problems
from jackfield.config.secrets import resolve_secrets
from jackfield.errors import Fault
from jackfield.model.cycles import cycles
from jackfield.model.names import NAME_LIMIT, name_fault, version_fault
from jackfield.model.subject import canonical

_PATH_FIX = "write 'module:Object', a module, a distribution's name, './file.py' or './folder'"
# Each drawing costs a walk of the whole graph, and the first few show an operator where the knot is.
_CYCLES_DRAWN = 16
# Looking for close names costs milliseconds among thousands: enough for a person, not for a generated file gone wrong.
_SUGGESTIONS = 50


def check(
    document: Document, folder: Path, executors: Collection[str]
) -> tuple[tuple[PluginConfig, ...], EnvironmentsConfig, list[Problem]]:
    """Check a document as a whole, and resolve what is relative or a reference.

    Args:
        document: the document, possibly with placeholders.
        folder: the configuration file's folder, which paths are relative to.
        executors: the executors there are.

    Returns:
        The plugins with absolute paths and with secrets in their options, the environments with absolute folders, and
        everything that is wrong.
    """
    plugins: list[PluginConfig] = []
    problems: list[Problem] = []
    suggest = _suggestions()
    for index, plugin in enumerate(document.plugin):
        at: KeyPath = ("plugin", index)
        problems += _plugin_problems(plugin, at, executors)
        if plugin.upgrade is not None:
            problems += _tenants_named(plugin.upgrade.tenants, document.tenants, (*at, "upgrade", "tenants"), suggest)
            problems += _label_problems(plugin.upgrade.labels, document.tenants, (*at, "upgrade", "labels"))
        path, path_problems = _resolve_path(plugin.path, (*at, "path"), folder)
        problems += path_problems
        options = plugin.options
        if options:
            options, option_problems = resolve_secrets(dict(options), (*at, "options"), folder)
            problems += option_problems
        if path is not plugin.path or options is not plugin.options:
            plugin = attrs.evolve(plugin, path=path, options=options)  # noqa: PLW2901  # the same, as it is meant
        plugins.append(plugin)
    problems += _duplicates(document.plugin)
    problems += _dependencies(document.plugin, suggest)
    problems += _tenant_problems(document.tenants or {})
    for name, route in document.routes.items():
        problems += _route_problems(name, route, document.tenants, suggest)
    if document.schedule:
        problems += schedule_problems(document.schedule, suggest)
        for index, schedule in enumerate(document.schedule):
            named = {} if schedule.tenant is None else {schedule.tenant: schedule}
            for problem in _tenants_named(named, document.tenants, (), suggest):
                problems.append(attrs.evolve(problem, path=("schedule", index, "tenant")))  # read easier
    environments, more = find_links(document.environments, folder)
    return tuple(plugins), environments, [*problems, *more]


def _suggestions() -> Callable[[str, Collection[str]], str]:
    """Make a `did_you_mean` that falls silent after `_SUGGESTIONS` times."""
    left = iter(range(_SUGGESTIONS))
    return lambda name, known: did_you_mean(name, known) if next(left, None) is not None else ""


def _plugin_problems(plugin: PluginConfig, at: KeyPath, executors: Collection[str]) -> Iterator[Problem]:
    yield from _of(name_fault(plugin.name), (*at, "name"))
    if plugin.version is not None:
        yield from _of(version_fault(plugin.version, plugin.name), (*at, "version"))
    if plugin.executor is not None and plugin.executor not in executors:
        reason = f"unknown executor {quoted(plugin.executor)}"
        yield Problem((*at, "executor"), reason, did_you_mean(plugin.executor, executors))
    source = Source.parse(plugin.path)
    if plugin.executor != "worker" and source is not None and source.kind == "requirement":
        reason = f"{quoted(plugin.path)} is a requirement, and only workers have environments of their own"
        yield Problem((*at, "path"), reason, 'add executor = "worker", or name the distribution without a version')
    for name in plugin.functions:
        yield from _of(name_fault(name), (*at, "functions", name))
    if plugin.worker is not None:
        yield from worker_problems(plugin, plugin.worker, (*at, "worker"))
    if plugin.upgrade is not None:
        yield from upgrade_problems(plugin, (*at, "upgrade"))


def _of(fault: Fault | None, path: KeyPath) -> Iterator[Problem]:
    if fault is not None:
        yield Problem(path, fault.reason, fault.fix)


def _resolve_path(text: str, at: KeyPath, folder: Path) -> tuple[str, list[Problem]]:
    source = Source.parse(text)
    if source is None:
        return text, [Problem(at, f"{quoted(text)} is not the path of a plugin", _PATH_FIX)]
    if source.kind not in ("file", "folder"):
        return text, []
    target = str(folder / source.target)
    # Unlike their namesakes of pathlib, these are false for any bad name on every Python.
    there = os.path.isfile if source.kind == "file" else os.path.isdir
    if not there(target):
        reason = f"there is no {source.kind} {quoted(source.target)}"
        return text, [Problem(at, reason, f"create it, or correct the path, which is relative to {folder}")]
    return f"{target}:{source.object}" if source.object else target, []


def _duplicates(plugins: tuple[PluginConfig, ...]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, plugin in enumerate(plugins):
        if plugin.name != PLACEHOLDER and first.setdefault(plugin.name, index) != index:
            reason = f"the name {quoted(plugin.name)} is taken by plugin[{first[plugin.name]}]"
            yield Problem(("plugin", index, "name"), reason, "give one of the two another name")


def _dependencies(
    plugins: tuple[PluginConfig, ...], suggest: Callable[[str, Collection[str]], str]
) -> Iterator[Problem]:
    places: dict[str, int] = {}
    for index, plugin in enumerate(plugins):
        places.setdefault(plugin.name, index)
    known = places.keys() - {PLACEHOLDER}
    for index, plugin in enumerate(plugins):
        for place, name in enumerate(plugin.depends_on):
            if name not in known and name != PLACEHOLDER:
                fix = suggest(name, known - {plugin.name}) or "declare it as a [[plugin]] too"
                yield Problem(("plugin", index, "depends_on", place), f"no plugin is named {quoted(name)}", fix)
    graph = {
        name: [wanted for wanted in dict.fromkeys(plugins[index].depends_on) if wanted in known]
        for name, index in places.items()
        if name in known
    }
    for number, cycle in enumerate(cycles(graph)):
        if number == _CYCLES_DRAWN:
            reason = "the plugins wait for one another in further circles, which are not drawn"
            yield Problem(("plugin",), reason, "undo the circles above first")
            return
        start = min(range(len(cycle)), key=lambda place: places[cycle[place]])
        ring = [*cycle[start:], *cycle[:start], cycle[start]]
        reason = f"the plugins wait for one another: {' → '.join(quoted(name)[1:-1] for name in ring)}"
        yield Problem(("plugin", places[ring[0]], "depends_on"), reason, "take one of these dependencies away")


def _tenant_problems(tenants: Mapping[str, Any]) -> Iterator[Problem]:
    for name in tenants:
        if reason := tenant_fault(name):
            yield Problem(("tenants", name), reason, f"use 1 to {NAME_LIMIT} printable characters")
    yield from _shared_keys(tenants)
    yield from _subject_problems(tenants)


def _subject_problems(tenants: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what is no subject, and those of two tenants."""
    first: dict[str, str] = {}
    for name, tenant in tenants.items():
        for place, said in enumerate(tenant.subjects):
            if said == PLACEHOLDER:
                continue
            at: KeyPath = ("tenants", name, "subjects", place)
            try:
                owner = first.setdefault(canonical(said), name)
            except ValueError as error:
                fix = "write what `openssl x509 -noout -subject -nameopt RFC2253 -in client.pem` prints"
                yield Problem(at, f"{quoted(said)} is no subject of a certificate: {error}", fix)
                continue
            if owner != name:
                yield Problem(at, f"the subject is one of {quoted(owner)}, too", "let it be that of one tenant")


def tenant_fault(name: str) -> str:
    """Say why something cannot be a tenant's name; "" if it can."""
    good = name and name.isprintable() and len(name) <= NAME_LIMIT
    return "" if good else f"{quoted(name)} cannot be a tenant's name"


def _shared_keys(tenants: Mapping[str, Any]) -> Iterator[Problem]:
    """Find the keys of two tenants: whose call would it be?"""
    first: dict[str, str] = {}
    for name, tenant in tenants.items():
        for place, digest in enumerate(tenant.keys):
            owner = first.setdefault(digest, name)
            if owner != name and digest != DIGEST_PLACEHOLDER:
                reason = f"the key is one of {quoted(owner)}, too"
                yield Problem(("tenants", name, "keys", place), reason, "make one of its own: `pluginctl key TENANT`")


def _route_problems(
    name: str,
    route: RouteConfig,
    tenants: Mapping[str, TenantConfig] | None,
    suggest: Callable[[str, Collection[str]], str],
) -> Iterator[Problem]:
    at: KeyPath = ("routes", name)
    yield from _of(name_fault(name), at)
    if route.default is not None:
        yield from _of(version_fault(route.default, name), (*at, "default"))
    for version in route.shares:
        yield from _of(version_fault(version, name), (*at, "shares", version))
        if version == route.default:
            reason = f"{quoted(version)} is the default version, which gets what the others leave"
            yield Problem((*at, "shares", version), reason, "take its share away")
    if (total := sum(route.shares.values())) > 1 + 1e-9:
        yield Problem(
            (*at, "shares"), f"the shares add up to {total:.4%}".replace(".0000%", " %"), "they may reach 1 (100 %)"
        )
    if route.labels and not route.shares:
        reason = "labels say among whom shares are drawn, and there are no shares"
        yield Problem((*at, "labels"), reason, 'add shares, as in { "2.0" = 1.0 }')
    yield from _label_problems(route.labels, tenants, (*at, "labels"))
    for tenant, version in route.tenants.items():
        yield from _of(version_fault(version, name), (*at, "tenants", tenant))
    yield from _tenants_named(route.tenants, tenants, (*at, "tenants"), suggest)


def _tenants_named(
    named: Collection[str],
    tenants: Mapping[str, TenantConfig] | None,
    at: KeyPath,
    suggest: Callable[[str, Collection[str]], str],
) -> Iterator[Problem]:
    """Find the tenants that are named, and are none."""
    for place, tenant in enumerate(named):
        if tenants is not None and tenant not in tenants and tenant != PLACEHOLDER:
            fix = suggest(tenant, tenants) or "declare it under [tenants]"
            key = tenant if isinstance(named, Mapping) else place
            yield Problem((*at, key), f"no tenant is named {quoted(tenant)}", fix)


def _label_problems(
    labels: Mapping[str, str], tenants: Mapping[str, TenantConfig] | None, at: KeyPath
) -> Iterator[Problem]:
    """Find labels that nobody has: nobody would be drawn, and it would look as if all were well."""
    if labels and not any(labels.items() <= tenant.labels.items() for tenant in (tenants or {}).values()):
        said = ", ".join(f"{key} = {quoted(value)}" for key, value in labels.items())
        yield Problem(at, f"no tenant has the labels {said}", "give them to some under [tenants]")
