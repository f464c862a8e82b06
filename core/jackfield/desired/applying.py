"""Carries a plan out, step by step, and keeps what is desired and what was done of it."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from jackfield.config import Configuration, PluginConfig
from jackfield.desired.documents import Kept, kept, merged
from jackfield.desired.fields import same
from jackfield.desired.noting import Noted
from jackfield.desired.ownership import Ownership, rerouted
from jackfield.desired.plan import Change, Plan
from jackfield.desired.planning import Wanted, plan, wanted
from jackfield.desired.rollouts import is_refused, is_taken, still_refused
from jackfield.desired.state import Desired, Tried
from jackfield.desired.steps import Steps
from jackfield.errors import Fault, JackfieldError, PluginError, Unavailable
from jackfield.log import host_log

if TYPE_CHECKING:
    from jackfield.desired.restoring import Restoration


_PATIENCE: Final = 5.0  # seconds


class Applier(Noted):
    """The desired state of one host, and how it gets there.

    Args:
        steps: what can be done to it.
        wall: seconds since the epoch.
    """

    def __init__(self, steps: Steps, wall: Callable[[], float] = time.time) -> None:
        super().__init__(steps, wall)
        self._under_way = threading.Lock()
        self._follows = False  # what is under way

    def boot(self, configuration: Configuration, restored: "Restoration | None" = None) -> None:
        """Take over what the host was made of.

        Args:
            configuration: that.
            restored: what a store that lasts has besides; None where there is none.
        """
        plugins = configuration.plugins if restored is None else restored.plugins
        self._change(
            lambda _: Desired(
                configuration,
                configuration,
                deployed=plugins,
                routes=configuration.routes,
                tenants=configuration.tenants,
                flows=configuration.flows,
                schedules=configuration.schedules,
                webhooks=configuration.webhooks,
                deliveries=configuration.deliveries,
                ownership=Ownership() if restored is None else restored.want.ownership,
                refused={} if restored is None else restored.refused,
                offered=configuration.digest if restored is None else restored.offered,
                trials={} if restored is None else restored.trials,
            )
        )
        if restored is not None:
            self.keeper, self._pending = restored.keeper, dict(restored.trials)
            if restored.changed:
                self._keep("file", "start", f"file {configuration.digest[:12]}")

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
            self._keep("operator", "apply", f"file {configuration.digest[:12]}", always=True)
            done = self._carried_out(found, want, configuration, force=force)
            self._amend()
            return done

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
                numbers = ", ".join(f"d{each.number}" for each in self.keeper.history)
                reason = "is not kept, or its file can no longer be read"
                raise LookupError(f"revision d{number} {reason}: use one of {numbers}")
            configuration, past, before = there.applied, there.kept, self.desired.ownership
            self._change(
                lambda now: attrs.evolve(now, applied=configuration, ownership=past.ownership, refused=past.refused)
            )
            self._keep("operator", "undo", f"d{number}: {there.revision.verb} {there.revision.what}", always=True)
            found, want = self._plan(configuration, moved=rerouted(before, past.ownership))
            # Somebody wants just this version back, be it an older one that has not all that the newer one has.
            done = self._carried_out(attrs.evolve(found, conflicts=()), want, configuration, force=True)
            self._amend()
            return done

    def follow(self) -> Plan | None:
        """Bring the host to what another one on the same store has written, and write nothing of it again.

        Returns:
            What that took; None if nobody has written anything since.

        Raises:
            Unavailable: when the store is away, or an apply is under way: then it is to be asked again.
            ValueError: if what is there cannot be read.
        """
        if self.keeper is None or not self.keeper.is_behind():
            return None
        with self._alone(follows=True):
            with self._keeping:
                news = self.keeper.news()
                if news is None:
                    return None
                before, theirs = self.desired, news.kept
                configuration = before.applied if news.applied is None else news.applied
                with self._lock:  # what a verb here is just about to write stays
                    now = merged(theirs, self.keeper.mine, kept(self.desired))
                    self.desired = attrs.evolve(
                        self.desired,
                        applied=configuration,
                        ownership=now.ownership,
                        refused=now.refused,
                        offered=now.offered,
                    )
                    self.keeper.took(self.desired)
            revision = news.revision
            host_log("INFO", f"follows d{revision.number}: {revision.verb} by {revision.by}: {revision.what}")
            if news.applied is None and revision.digest != before.applied.digest:
                reason = "its folders and variables are not those of this host, which keeps the file before"
                host_log("WARNING", f"d{revision.number} is of a file that cannot be read here: {reason}")
            self._move_trials(theirs)
            self._pending = {name: tried for name, tried in theirs.trials.items() if name not in self.desired.trials}
            found, want = self._plan(configuration, moved=rerouted(before.ownership, now.ownership))
            done = self._carried_out(attrs.evolve(found, conflicts=()), want, configuration, force=True)
            begun = {change.name for change in done.changes if (change.kind, change.status) == ("upgrade", "done")}
            begun |= self._begin_pending()
            self._look()
            with self._keeping:
                self.keeper.followed(self.desired, begun)
            if over := sorted(name for name in begun & theirs.trials.keys() if name not in self.desired.trials):
                # Somebody has ended them here before they were known to be the others', too.
                self._keep("operator", "canary", f"trial.{', '.join(over)}: no trial")
            for change in done.failed:
                for fault in change.faults:
                    host_log("WARNING", fault)
            return done

    def _move_trials(self, theirs: Kept) -> None:
        """Move and end the trials of this host as another one has done."""
        self._look()
        covered = {status.name: status.functions for status in self._steps.actual().canaries}
        for name, tried in self.desired.trials.items():
            there = theirs.trials.get(name)
            try:
                if there is not None and there.version == tried.version and not is_refused(tried, theirs):
                    if there.share != tried.share:
                        self._steps.ramp(name, there.share)
                elif is_taken(tried, self.desired, theirs, covered.get(name, ())):
                    self._steps.promote(name)
                else:
                    self._steps.abort(name)
            except JackfieldError as error:  # it has ended by itself
                host_log("WARNING", f"the trial of {name}@{tried.version}: {error}")
        self._look()

    def at_start(self) -> Wanted | None:
        """Tell which plugins are to run when the host starts; None where their own settings say that."""
        return None if self.keeper is None else wanted(self.desired.applied, self.desired)

    def resume(self) -> None:
        """Begin again, once the host runs, what was on trial when it ended; and what its file has said since."""
        desired = self.desired
        late = kept(desired).stable if self.keeper is not None else {}
        self._pending = dict(desired.trials)
        if not late and not self._pending:
            return
        with self._alone():
            found, want = self._plan(desired.applied)
            for change in found.changes:
                if change.name in late and change.kind in ("upgrade", "change"):
                    for fault in self._step(change, desired.applied, want, force=False).faults:
                        host_log("WARNING", fault)
            self._begin_pending()
            self._amend()

    def _begin_pending(self) -> set[str]:
        """Begin what was on trial; give what could be."""
        begun = set()
        for name, tried in tuple(self._pending.items()):
            if tried.by != "file" and self._try_again(tried):  # else it is the file's, and a step of its plan
                begun.add(name)
            del self._pending[name]
        return begun

    def _try_again(self, tried: Tried) -> bool:
        try:
            self._steps.try_again(tried)
        except (JackfieldError, ValueError) as error:
            reason = "the calls stay with the default version"
            host_log("WARNING", f"the trial of {tried.name}@{tried.version} cannot go on: {reason}", error)
            return False
        return True

    @contextmanager
    def _alone(self, *, follows: bool = False) -> Iterator[None]:
        # Hardly waited for: the other one may be waiting for a plugin which waits for this. Nobody here knows of one
        # that follows another host.
        if not self._under_way.acquire(timeout=_PATIENCE if self._follows else 0.0):
            raise Unavailable("apply", "another apply is under way: try again when it has ended")
        self._follows = follows
        try:
            yield
        finally:
            self._follows = False
            self._under_way.release()

    def _carried_out(self, found: Plan, want: Wanted, configuration: Configuration, *, force: bool) -> Plan:
        done = tuple([self._step(change, configuration, want, force=force) for change in found.changes])
        for name in want.held:
            self._steps.hold(name)
        return attrs.evolve(found, changes=done, applied=True)

    def _plan(
        self, configuration: Configuration, force: bool = False, moved: Collection[str] = ()
    ) -> tuple[Plan, Wanted]:
        desired = self.desired
        want = wanted(configuration, desired, force=force)
        return plan(configuration, want, desired, self._steps.actual(), force=force, moved=moved), want

    def _step(self, change: Change, new: Configuration, want: Wanted, *, force: bool) -> Change:
        try:
            faults = self._do(change, new, want, force=force)
        except JackfieldError as error:
            return attrs.evolve(change, status="failed", faults=_faults(change, error, new))
        return attrs.evolve(change, status="done", faults=faults)

    def _do(  # one case for each kind
        self, change: Change, new: Configuration, want: Wanted, *, force: bool
    ) -> tuple[Fault, ...]:
        steps, name = self._steps, change.name
        match change.kind:
            case "abort":
                steps.abort(name)
            case "tenants" | "flows" | "schedules" | "webhooks" | "deliveries":
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
                steps.upgrade(want.plugins[name], share=self._share_of(want.plugins[name]), force=force)
            case "start":
                steps.start(name)
            case "stop":
                steps.stop(name)
        return ()

    def _share_of(self, plugin: PluginConfig) -> float | None:
        """Give the share that a version had which was on trial when the host ended; None for what its file says."""
        tried = self._pending.get(plugin.name)
        begun = tried is not None and tried.config is not None and same(tried.config, plugin)
        return tried.share if tried is not None and begun else None

    def _whole(self, kind: str, new: Configuration) -> tuple[Fault, ...]:
        """Take over what changes as a whole."""
        if kind == "tenants":
            self._steps.tenants(new.tenants)
            self._change(lambda now: attrs.evolve(now, tenants=new.tenants))
        elif kind == "schedules":
            self._steps.schedules(new)
            self._change(lambda now: attrs.evolve(now, schedules=new.schedules))
        elif kind == "webhooks":  # whoever takes them reads what was applied last
            self._change(lambda now: attrs.evolve(now, webhooks=new.webhooks))
        elif kind == "deliveries":
            self._steps.deliveries(new)
            self._change(lambda now: attrs.evolve(now, deliveries=new.deliveries))
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
