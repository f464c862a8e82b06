"""Carries a plan out, step by step, and keeps what is desired and what was done of it."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from jackfield.config import Configuration, PluginConfig, RouteConfig, TenantConfig
from jackfield.desired.fields import shown
from jackfield.desired.ownership import FieldKey, Ownership, rerouted
from jackfield.desired.plan import Change, Plan
from jackfield.desired.planning import Wanted, plan, reached, wanted
from jackfield.desired.rollouts import still_refused
from jackfield.desired.state import EMPTY, Actual, Desired, Refusal
from jackfield.errors import Fault, JackfieldError, PluginError, Unavailable
from jackfield.model.flow import Flow

if TYPE_CHECKING:
    from jackfield.desired.keeping import DesiredRevision, Keeper
    from jackfield.desired.restoring import Restoration


class Steps(Protocol):
    """What can be done to a host, without noting who did it. Every step raises a `JackfieldError` when it fails."""

    def actual(self) -> Actual:
        """Look at what is there."""
        ...

    def load(self, plugin: PluginConfig, *, start: bool) -> tuple[Fault, ...]:
        """Load a plugin, and start it if the host runs and `start` says so; give what was left out of it."""
        ...

    def unload(self, name: str, *, keep_state: bool = False) -> tuple[Fault, ...]:
        """Stop a plugin and release all that it holds, but for its state if asked; give what could not be released."""
        ...

    def reload(self, name: str) -> tuple[Fault, ...]:
        """Replace a plugin by what its file or folder holds now; give what went wrong beside that."""
        ...

    def upgrade(self, plugin: PluginConfig) -> None:
        """Bring another version of a plugin beside the running one, to be tried by whom its configuration says."""
        ...

    def start(self, name: str) -> None:
        """Start a plugin."""
        ...

    def hold(self, name: str) -> None:
        """Have a plugin start as soon as what it depends on runs."""
        ...

    def stop(self, name: str) -> None:
        """Stop a plugin."""
        ...

    def route(self, name: str, rule: RouteConfig | None, *, default: str | None) -> None:
        """Take over what the file says of a function's versions.

        Args:
            name: the function.
            rule: what it says; None for nothing.
            default: the default version that somebody else has chosen, and that stays.
        """
        ...

    def tenants(self, tenants: Mapping[str, TenantConfig] | None) -> None:
        """Take over what the file says of tenants."""
        ...

    def flows(self, flows: Mapping[str, tuple[Flow, ...]]) -> tuple[Fault, ...]:
        """Have the flows that the file says, and no others of an earlier one; give what could not come in."""

    def schedules(self, configuration: Configuration) -> None:
        """Follow the schedules of a file."""
        ...

    def abort(self, name: str) -> None:
        """End the trial of a function or plugin, if it still runs."""
        ...


class Applier:
    """The desired state of one host.

    Args:
        steps: what can be done to it.
        wall: seconds since the epoch.
    """

    def __init__(self, steps: Steps, wall: Callable[[], float] = time.time) -> None:
        self._steps = steps
        self._wall = wall
        self._under_way = threading.Lock()
        self._lock = threading.RLock()  # for the exchange of one value; nothing else happens under it
        self._keeping = threading.Lock()  # one revision after the other
        self.desired = Desired()
        self.keeper: Keeper | None = None

    def boot(self, configuration: Configuration, restored: "Restoration | None" = None) -> None:
        """Take over what the host was made of.

        Args:
            configuration: that.
            restored: what a store that lasts has besides; None where there is none.
        """
        plugins = configuration.plugins if restored is None else restored.want.plugins
        self._change(
            lambda _: Desired(
                configuration,
                configuration,
                deployed=plugins,
                routes=configuration.routes,
                tenants=configuration.tenants,
                flows=configuration.flows,
                schedules=configuration.schedules,
                ownership=Ownership() if restored is None else restored.want.ownership,
                refused={} if restored is None else restored.refused,
                offered=configuration.digest if restored is None else restored.offered,
            )
        )
        if restored is not None:
            self.keeper = restored.keeper
            if restored.changed:
                self._keep("file", "start", f"file {configuration.digest[:12]}")

    @property
    def configuration(self) -> Configuration | None:
        """The last applied one."""
        applied = self.desired.applied
        return None if applied is EMPTY else applied

    def apply(self, configuration: Configuration, *, dry_run: bool = False, force: bool = False) -> Plan:
        """Bring the host to what a configuration says, or only tell what that would take.

        A step that fails is told of, and the others go on. Whatever ends this half-way, the next apply finishes it.

        Args:
            configuration: the new file.
            dry_run: do nothing.
            force: let the file have the fields that somebody else changed as well.

        Returns:
            The plan; not carried out if it has conflicts.

        Raises:
            Unavailable: when another apply is under way.
        """
        if dry_run:
            return self._plan(configuration, force)[0]
        with self._alone():
            found, want = self._plan(configuration, force)
            if found.conflicts:
                return found
            self._change(
                lambda now: attrs.evolve(
                    now,
                    applied=configuration,
                    ownership=now.ownership.release(want.released),
                    refused={} if force else still_refused(want, now),
                    offered=configuration.digest,
                )
            )
            self._keep("operator", "apply", f"file {configuration.digest[:12]}")
            return self._carried_out(found, want, configuration=configuration)

    def undo(self, number: int) -> Plan:
        """Bring the host back to an earlier revision of what was desired, as a new revision.

        Args:
            number: of the revision.

        Returns:
            The plan.

        Raises:
            LookupError: if that is not kept, or the file of that time can no longer be read.
            Unavailable: when there is no store that lasts, or an apply is under way.
        """
        if self.keeper is None:
            raise Unavailable("history", 'nothing is kept: add [store] with url = "sqlite:jackfield.db"')
        with self._alone():
            there = self.keeper.load(number)
            if there is None or there.applied is None:
                kept = ", ".join(f"d{each.number}" for each in self.keeper.history)
                reason = "is not kept, or its file can no longer be read"
                raise LookupError(f"revision d{number} {reason}: use one of {kept}")
            configuration, past, before = there.applied, there.kept, self.desired.ownership
            self._change(
                lambda now: attrs.evolve(now, applied=configuration, ownership=past.ownership, refused=past.refused)
            )
            self._keep("operator", "undo", f"d{number}: {there.revision.verb} {there.revision.what}")
            found, want = self._plan(configuration, moved=rerouted(before, past.ownership))
            return self._carried_out(attrs.evolve(found, conflicts=()), want, configuration=configuration)

    @property
    def history(self) -> "tuple[DesiredRevision, ...]":
        """The changes of what is desired that are kept, the oldest first; none without a store that lasts."""
        return () if self.keeper is None else self.keeper.history

    def left_out(self, name: str) -> PluginConfig | None:
        """Give what the last applied file says of a plugin that somebody has unloaded; None if nobody has."""
        written = self.desired.ownership.fields.get(("plugin", name, "loaded"))
        return self.desired.applied.plugins.get(name) if written is not None and written.value is None else None

    def at_start(self) -> Wanted | None:
        """Tell which plugins are to run when the host starts; None where their own settings say that."""
        return None if self.keeper is None else wanted(self.desired.applied, self.desired)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # Not waited for: the other one may be waiting for a plugin which waits for this.
        if not self._under_way.acquire(blocking=False):
            raise Unavailable("apply", "another apply is under way: try again when it has ended")
        try:
            yield
        finally:
            self._under_way.release()

    def _carried_out(self, found: Plan, want: Wanted, *, configuration: Configuration) -> Plan:
        done = tuple([self._step(change, configuration, want) for change in found.changes])
        for name in want.held:
            self._steps.hold(name)
        return attrs.evolve(found, changes=done, applied=True)

    def _plan(
        self, configuration: Configuration, force: bool = False, moved: Collection[str] = ()
    ) -> tuple[Plan, Wanted]:
        desired = self.desired
        want = wanted(configuration, desired, force=force)
        return plan(configuration, want, desired, self._steps.actual(), force=force, moved=moved), want

    def _step(self, change: Change, new: Configuration, want: Wanted) -> Change:
        try:
            faults = self._do(change, new, want)
        except JackfieldError as error:
            return attrs.evolve(change, status="failed", faults=_faults(change, error, new))
        return attrs.evolve(change, status="done", faults=faults)

    def _do(  # one case for each kind
        self, change: Change, new: Configuration, want: Wanted
    ) -> tuple[Fault, ...]:
        steps, name = self._steps, change.name
        match change.kind:
            case "abort":
                steps.abort(name)
            case "tenants" | "flows" | "schedules":
                return self._whole(change.kind, new)
            case "route":
                self._route(name, new, want)
            case "remove":
                left = steps.unload(name)
                self._change(lambda now: now.unloaded(name))
                return left
            case "add" | "change":
                left = steps.unload(name, keep_state=True) if change.kind == "change" else ()
                # Before the load: one that fails was meant so, too, and is seen to have failed.
                self._change(lambda now: now.loaded(want.plugins[name]))
                return (*left, *steps.load(want.plugins[name], start=name in want.running))
            case "reload":
                return steps.reload(name)
            case "upgrade":
                steps.upgrade(want.plugins[name])
            case "start":
                steps.start(name)
            case "stop":
                steps.stop(name)
        return ()

    def _whole(self, kind: str, new: Configuration) -> tuple[Fault, ...]:
        """Take over what changes as a whole."""
        if kind == "tenants":
            self._steps.tenants(new.tenants)
            self._change(lambda now: attrs.evolve(now, tenants=new.tenants))
        elif kind == "schedules":
            self._steps.schedules(new)
            self._change(lambda now: attrs.evolve(now, schedules=new.schedules))
        else:
            left = self._steps.flows(new.flows)
            self._change(lambda now: attrs.evolve(now, flows=new.flows))
            return left
        return ()

    def _route(self, name: str, new: Configuration, want: Wanted) -> None:
        rule = new.routes.get(name)
        written = want.ownership.fields.get(("route", name, "default"))
        self._steps.route(name, rule, default=None if written is None else written.value)
        routes = {key: value for key, value in self.desired.routes.items() if key != name}
        if rule is not None:
            routes[name] = rule
        self._change(lambda now: attrs.evolve(now, routes=routes))

    # --- What others do ---------------------------------------------------------------------------------------------

    def loaded(self, plugin: PluginConfig, *, by: str = "operator", verb: str = "load") -> None:
        """Note that somebody loaded a plugin."""
        self._change(lambda now: attrs.evolve(now.loaded(plugin), ownership=now.ownership.release([_up(plugin.name)])))
        self.note(("plugin", plugin.name, "loaded"), plugin, by=by, verb=verb)

    def unloaded(self, name: str, *, by: str = "operator", verb: str = "unload") -> None:
        """Note that somebody unloaded a plugin."""
        self._change(lambda now: attrs.evolve(now.unloaded(name), ownership=now.ownership.release([_up(name)])))
        self.note(("plugin", name, "loaded"), None, by=by, verb=verb)

    def refused(self, plugin: PluginConfig, digest: str, reason: str, *, by: str) -> None:
        """Note that somebody aborted a version that the file asks for: an apply of the same does not try it again."""
        refusal = Refusal((plugin, digest), reason, by, self._wall())
        self._change(lambda now: attrs.evolve(now, refused={**now.refused, plugin.name: refusal}))
        self._keep(by, "abort", f"plugin.{plugin.name}: {reason}")

    def started(self, name: str, *, by: str = "operator", verb: str = "start") -> None:
        """Note that somebody wants a plugin to run, be it in vain for now, and with it those that it depends on."""
        depends_on = {each: record.depends_on for each, record in self._steps.actual().records.items()}
        if name in depends_on:
            needs = reached(depends_on[name], depends_on)
            self._change(lambda now: attrs.evolve(now, ownership=now.ownership.release(map(_up, needs))))
            self.note(_up(name), value=True, by=by, verb=verb)

    def stopped(self, name: str, *, by: str = "operator", verb: str = "stop") -> None:
        """Note that somebody stopped a plugin."""
        self.note(_up(name), value=False, by=by, verb=verb)

    def routed(self, defaults: Mapping[str, str], *, by: str = "operator", verb: str) -> None:
        """Note that somebody chose the default version of some functions."""
        what = [self._written(("route", name, "default"), version, by, verb) for name, version in defaults.items()]
        if what:  # one revision: a verdict that moves many is kept as a whole, or not at all
            more = f" and {len(what) - 1} more" if len(what) > 1 else ""
            self._keep(by, verb, f"{what[0]}{more}")

    def note(self, field: FieldKey, value: Any, *, by: str, verb: str) -> None:
        """Note that somebody wrote a field: it is theirs until the file says something else of it than it does now."""
        self._keep(by, verb, self._written(field, value, by, verb))

    def _written(self, field: FieldKey, value: Any, by: str, verb: str) -> str:
        at = self._wall()
        self._change(
            lambda now: attrs.evolve(
                now, ownership=now.ownership.note(field, value, base=now.base(field), by=by, verb=verb, at=at)
            )
        )
        kind, name, key = field
        said = value if not isinstance(value, PluginConfig) else value.path
        return f"{kind}.{name}.{key}: {'unloaded' if said is None else shown(said)}"

    def _keep(self, by: str, verb: str, what: str) -> None:
        if self.keeper is not None:
            with self._keeping:
                self.keeper.save(self.desired, by=by, verb=verb, what=what)

    def _change(self, change: Callable[[Desired], Desired]) -> None:
        with self._lock:
            self.desired = change(self.desired)


def _up(name: str) -> FieldKey:
    return ("plugin", name, "running")


def _faults(change: Change, error: JackfieldError, new: Configuration) -> tuple[Fault, ...]:
    faults = tuple(getattr(error, "faults", ()))
    if not faults and isinstance(error, PluginError):
        faults = (Fault(error.stage, error.plugin, change.name, error.reason, error.fix),)
    if not faults:
        faults = (Fault(change.kind, change.name, change.name, str(error)),)
    if change.kind != "upgrade" or change.name not in new.lines:
        return faults
    where = f"{new.file}:{new.lines[change.name]}"  # what was refused is what stands there
    return tuple(attrs.evolve(fault, where=fault.where or where) for fault in faults)
