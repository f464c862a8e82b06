"""Desired state, actual state and a new file → a plan. Pure: nothing here touches a host.

What is wanted is what the new file says, except for the fields that somebody else wrote since the last apply and that
the new file did not change. Whatever differs between that and what is there is a step. So the steps are few when little
differs, and none when nothing does; and how an earlier apply ended does not matter.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

import attrs

from jackfield.config import Configuration, PluginConfig
from jackfield.desired.fields import (
    SET,
    auth_changes,
    flow_changes,
    host_changes,
    plugin_changes,
    route_changes,
    same,
    schedule_changes,
    shown,
    table_changes,
    tenant_changes,
)
from jackfield.desired.ownership import FieldKey, Ownership, Written
from jackfield.desired.plan import Change, Conflict, Drift, Plan
from jackfield.desired.rollouts import as_upgrade, on_trial, refusals, rolls_out
from jackfield.desired.state import Actual, Desired, Refusal, file_says
from jackfield.model.canary import CanaryStatus
from jackfield.model.cycles import cycles
from jackfield.model.record import PluginRecord, PluginState

_AT_REST = frozenset({PluginState.DISCOVERED, PluginState.REGISTERED, PluginState.STOPPED, PluginState.FAILED})
_UP = frozenset({PluginState.RUNNING, PluginState.STARTING})


@attrs.frozen
class Wanted:
    """What a host is to be: the file, with what others wrote and keep.

    Attributes:
        plugins: name → configuration.
        running: the plugins that are to run.
        held: those that would, but for something that they depend on and somebody stopped or unloaded.
        ownership: what still belongs to somebody else.
        released: the fields that the file takes back.
        conflicts: fields that both changed.
    """

    plugins: Mapping[str, PluginConfig]
    running: Collection[str]
    held: Collection[str]
    ownership: Ownership
    released: tuple[FieldKey, ...]
    conflicts: tuple[Conflict, ...]


def wanted(new: Configuration, desired: Desired, *, force: bool = False) -> Wanted:
    """Merge a new file with what others wrote since the last one.

    Args:
        new: the file.
        desired: the state before.
        force: let the file have the fields that both changed.
    """
    conflicts: list[Conflict] = []
    released: list[FieldKey] = []
    for field, written in desired.ownership.fields.items():
        says = file_says(new, field)
        if says == written.base:
            continue
        if force or _agree(field, says, written):
            released.append(field)
        else:
            sides = (_told(field, says), _told(field, written.value))
            conflicts.append(Conflict(_key(field), *sides, written.by, written.verb, written.at))
    ownership = desired.ownership.release(released)
    plugins = dict(new.plugins)
    for (_, name, _), written in ownership.of("plugin", "loaded"):
        if written.value is None:
            plugins.pop(name, None)
        else:
            plugins[name] = written.value
    conflicts += _circles(plugins, ownership)
    return Wanted(plugins, *_running(plugins, new, ownership), ownership, tuple(released), tuple(conflicts))


def _agree(field: FieldKey, says: Any, written: Written) -> bool:
    """Tell whether both want the same: a file that no longer has a plugin does not mind that it was stopped."""
    return bool(says == written.value) or (field[2] == "running" and says is None and not written.value)


def _circles(plugins: Mapping[str, PluginConfig], ownership: Ownership) -> Iterator[Conflict]:
    """Find circles that the file and somebody's own plugins close together: each of them had none."""
    mine = {name: written for (_, name, _), written in ownership.of("plugin", "loaded") if written.value is not None}
    if not mine:
        return
    for circle in cycles({name: plugin.depends_on for name, plugin in plugins.items()}):
        name = next((each for each in circle if each in mine), circle[0])
        drawing = " → ".join((*circle, circle[0]))
        written = mine[name] if name in mine else Written(None, None, "file", "apply", 0.0)
        here = f"a circle: {drawing}"
        yield Conflict(f"plugin.{name}.depends_on", "the rest of it", here, written.by, written.verb, written.at)


def _running(
    plugins: Mapping[str, PluginConfig], new: Configuration, ownership: Ownership
) -> tuple[Collection[str], Collection[str]]:
    """Find the plugins that are to run: those that start by themselves or by hand, and what they depend on.

    What depends on a plugin that somebody stopped or unloaded waits for it, and comes second.
    """
    by_hand = {name: bool(written.value) for (_, name, _), written in ownership.of("plugin", "running")}
    off = {name for name, up in by_hand.items() if not up} | (new.plugins.keys() - plugins.keys())
    held = reached(off, _dependents(plugins)) if off else off
    roots = {name for name, plugin in plugins.items() if by_hand.get(name, plugin.auto_start)}
    needs = {name: plugin.depends_on for name, plugin in plugins.items() if plugin.depends_on}
    return reached(roots - held, needs), roots & held - off


def _dependents(plugins: Mapping[str, PluginConfig]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, plugin in plugins.items():
        for need in plugin.depends_on:
            found.setdefault(need, []).append(name)
    return found


def reached(names: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """Give some plugins and all that can be reached from them.

    Args:
        names: where to begin.
        edges: plugin → what it leads to.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, ())
    return found


def plan(
    new: Configuration,
    want: Wanted,
    desired: Desired,
    actual: Actual,
    *,
    force: bool = False,
    moved: Collection[str] = (),
) -> Plan:
    """Work out the way from what is there to what is wanted.

    Args:
        new: the file.
        want: what `wanted` makes of it.
        desired: the state before.
        actual: what is there.
        force: let the file have the fields that both changed.
        moved: the functions whose default version somebody has taken back.

    Returns:
        The plan, each step planned: canaries that end, tenants, routes, removals (dependents first), then what is
        added, changed, reloaded or started (dependents last), then what stops, the flows, the schedules, webhooks and
        deliveries.
    """
    routes, taken, conflicts = _routes(new, desired, actual, force, moved)
    refused = {} if force else refusals(want, desired, actual)
    trials = on_trial(want, actual)
    plugins = tuple(_plugins(want, desired, actual, {*refused, *trials}))
    tenants = (*tenant_changes(desired.tenants, new.tenants), *auth_changes(desired.applied, new))
    flows = flow_changes(desired.flows, new.flows)
    schedules = schedule_changes(desired.schedules, new.schedules)
    webhooks = table_changes(desired.webhooks, new.webhooks)
    deliveries = table_changes(desired.deliveries, new.deliveries)
    changes = (
        *_aborts(plugins, taken, actual, trials),
        *((Change("tenants", "", "who may call differs", tenants),) if tenants else ()),
        *routes,
        *_ordered(plugins, want.plugins, desired.deployed),
        *((Change("flows", "", "the table [flows] differs", flows),) if flows else ()),
        *((Change("schedules", "", "what [[schedule]] says differs", schedules),) if schedules else ()),
        *((Change("webhooks", "", "the table [webhooks] differs", webhooks),) if webhooks else ()),
        *((Change("deliveries", "", "the table [deliveries] differs", deliveries),) if deliveries else ()),
    )
    return Plan(
        str(new.file),
        new.digest,
        changes,
        (*want.conflicts, *conflicts),
        (*_drift(new, want.ownership, actual, trials), *_undone(want, desired, refused)),
        host_changes(desired.booted, new),
    )


# --- Plugins --------------------------------------------------------------------------------------------------------


def _plugins(want: Wanted, desired: Desired, actual: Actual, kept: Collection[str]) -> Iterator[Change]:
    records, above = actual.records, _above(want, actual.records)
    there: list[str] = []
    for name, plugin in want.plugins.items():
        before = desired.deployed.get(name)
        change = _load(plugin, before, actual, above) if name not in kept else None
        if change is None:
            there.append(name)
        elif before is not None and rolls_out(before, plugin, actual, want):
            yield as_upgrade(change, before, plugin)
        else:
            yield change
    renewed = actual.changed([name for name in there if name not in kept])
    for name in there:
        if name in renewed:
            runs_on = records[name].state in _UP and name in want.running
            plugin = want.plugins[name]
            change = _renewal(plugin, *renewed[name], swap=runs_on or not actual.running)
            yield as_upgrade(change, plugin, plugin) if rolls_out(None, plugin, actual, want) else change
        elif actual.running and (change := _move(records[name], up=name in want.running)) is not None:
            yield change
    for name in desired.deployed:
        record = records.get(name)
        if name not in want.plugins and record is not None and record.state is not PluginState.UNLOADED:
            yield Change("remove", name, "it is no longer declared", also=above(name))


def _load(
    plugin: PluginConfig, there: PluginConfig | None, actual: Actual, above: Callable[[str], tuple[str, ...]]
) -> Change | None:
    name, record = plugin.name, actual.records.get(plugin.name)
    if record is None or record.state is PluginState.UNLOADED:
        return Change("add", name, f"it is declared: {plugin.path}")
    if there is None:
        return Change("change", name, "it came by another way, and is declared now", also=above(name))
    if not same(there, plugin):
        fields = plugin_changes(there, plugin)
        names = ", ".join(dict.fromkeys(field.field.partition(".")[0] for field in fields))
        return Change("change", name, f"its configuration differs: {names}", fields, above(name))
    if name not in actual.loaded:
        return Change("change", name, f"it could not be loaded before{_because(record)}")
    return None


def _renewal(plugin: PluginConfig, before: str, now: str, *, swap: bool) -> Change:
    what, lost = ("environment", "had") if plugin.source.kind == "requirement" else ("content", "read")
    why = f"its {what} is {now[:12]}, was {before[:12]}" if now else f"its {what} has changed, and cannot be {lost}"
    # A swap needs something that runs, and leaves it running; the rest has no calls to lose and no state to hand over.
    return Change("reload" if swap else "change", plugin.name, why)


def _move(record: PluginRecord, *, up: bool) -> Change | None:
    if up and record.state in _AT_REST and record.restart_at is None:
        return Change("start", record.name, f"it is {record.state}{_because(record)}")
    if not up and record.state in _UP:
        return Change("stop", record.name, "nothing wants it to run")
    return None


def _because(record: PluginRecord) -> str:
    return f" ({record.fault.stage}: {record.fault.reason})" if record.fault is not None else ""


def _above(want: Wanted, records: Mapping[str, PluginRecord]) -> Callable[[str], tuple[str, ...]]:
    """Make what finds the plugins that run now and depend on one, directly or through others; they stop with it."""
    users: dict[str, list[str]] = {}

    def find(name: str) -> tuple[str, ...]:
        record = records.get(name)
        if record is None or record.state not in _UP:
            return ()
        if not users:
            for other in records.values():
                for need in other.depends_on if other.state in _UP else ():
                    users.setdefault(need, []).append(other.name)
        return tuple(sorted((reached([name], users) - {name}) & want.plugins.keys()))

    return find


def _ordered(
    changes: tuple[Change, ...], plugins: Mapping[str, PluginConfig], deployed: Mapping[str, PluginConfig]
) -> Iterator[Change]:
    """Put removals first, dependents before what they depend on; then the rest, the other way round; then stops."""
    down = [change for change in changes if change.kind == "remove"]
    up = [change for change in changes if change.kind not in ("remove", "stop")]
    stops = [change for change in changes if change.kind == "stop"]
    yield from reversed(_sorted(down, deployed))
    yield from _sorted(up, plugins)
    yield from reversed(_sorted(stops, plugins))


def _sorted(changes: list[Change], plugins: Mapping[str, PluginConfig]) -> list[Change]:
    if len(changes) < 2:  # noqa: PLR2004  # nothing to sort, and the graph may be large
        return changes
    graph = {name: [need for need in plugin.depends_on if need in plugins] for name, plugin in plugins.items()}
    for circle in cycles(graph):  # closed by somebody's own plugins: it is a conflict, and only to be shown
        graph.update((name, [need for need in graph[name] if need not in circle]) for name in circle)
    place = {name: number for number, name in enumerate(TopologicalSorter(graph).static_order())}
    return sorted(changes, key=lambda change: place[change.name])


# --- Routes and canaries --------------------------------------------------------------------------------------------


def _routes(
    new: Configuration, desired: Desired, actual: Actual, force: bool, moved: Collection[str]
) -> tuple[tuple[Change, ...], tuple[CanaryStatus, ...], tuple[Conflict, ...]]:
    """Find the rules that differ, the canaries that are in their way, and whether those may be ended for it."""
    changes, taken, conflicts = [], [], []
    for name in dict.fromkeys((*desired.routes, *new.routes, *sorted(moved))):
        before, after = desired.routes.get(name), new.routes.get(name)
        if before != after:
            why = "its rule differs" if after else "it has no rule any more"
        elif name in moved:
            why = "somebody has taken back the choice of its default version"
        else:
            continue
        changes.append(Change("route", name, why, route_changes(before, after)))
        for canary in actual.canaries:
            if name in canary.functions:
                taken.append(canary)
                if not force:
                    here = f"under trial, with {canary.version}"
                    conflicts.append(Conflict(f"routes.{name}", shown(after), here, "operator", "canary", 0.0))
    return tuple(changes), tuple(taken), tuple(conflicts)


def _aborts(
    plugins: tuple[Change, ...], taken: tuple[CanaryStatus, ...], actual: Actual, trials: Collection[str]
) -> Iterator[Change]:
    """End the trials whose plugin or route changes, or that the file no longer asks for; the others go on."""
    named = {change.name for change in plugins if change.kind in ("remove", "change", "reload", "upgrade", "stop")}
    for canary in actual.canaries:
        plugin = next(
            (
                name
                for name in sorted(named)
                if name == canary.name
                or ((record := actual.records.get(name)) and not {*record.functions}.isdisjoint(canary.functions))
            ),
            "",
        )
        if canary in taken:
            yield Change("abort", canary.name, f"the trial of {canary.version} is in the way of its route's new rule")
        elif plugin:
            yield Change("abort", canary.name, f"the trial of {canary.version} ends: its plugin {plugin} changes")
        elif canary.name in actual.rolling and canary.name not in trials:
            yield Change("abort", canary.name, f"the trial of {canary.version} ends: the file asks for it no more")


def _drift(new: Configuration, ownership: Ownership, actual: Actual, trials: Collection[str]) -> Iterator[Drift]:
    for field, written in ownership.fields.items():
        sides = (_told(field, file_says(new, field)), _told(field, written.value))
        yield Drift(_key(field), *sides, written.by, written.verb, written.at)
    for canary in actual.canaries:
        here, name = f"{canary.share:.0%} to {canary.version}", canary.name
        if name in trials:
            file = new.plugins[name].path if name in new.plugins else ""
            yield Drift(f"plugin.{name}", file, f"{here}, on trial", "file", "upgrade", 0.0)
        else:
            yield Drift(f"routes.{name}", "", here, "operator", "canary", 0.0)


def _undone(want: Wanted, desired: Desired, refused: Mapping[str, Refusal]) -> Iterator[Drift]:
    for name, refusal in refused.items():
        file, there = want.plugins[name].path, desired.deployed.get(name)
        here = file if there is None else there.path
        here = f"{here if here != file else 'the version before'}, since the trial was aborted: {refusal.reason}"
        yield Drift(f"plugin.{name}", file, here, refusal.by, "abort", refusal.at)


def _key(field: FieldKey) -> str:
    kind, name, key = field
    return f"routes.{name}.default" if kind == "route" else f"plugin.{name}.{key}"


def _told(field: FieldKey, value: Any) -> str:
    """Render what somebody says of a field."""
    match field[2], value:
        case "running", None:
            return "not declared"
        case "running", bool():
            return "running" if value else "stopped"
        case "loaded", PluginConfig():
            options = f", options {SET}" if value.options else ""
            return f"{value.path}{options}"
        case "loaded", None:
            return "not loaded"
    return shown(value)
