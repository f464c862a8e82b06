"""What is desired of one host: who has written which field last, kept with each change."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from jackfield.config import Configuration, PluginConfig
from jackfield.desired.fields import shown
from jackfield.desired.ownership import FieldKey
from jackfield.desired.planning import reached
from jackfield.desired.state import EMPTY, Desired, Refusal, Tried
from jackfield.desired.steps import Steps

if TYPE_CHECKING:
    from jackfield.desired.keeping import DesiredRevision, Keeper


class Noted:
    """The desired state of one host, as verbs, verdicts and applies write it.

    Args:
        steps: what there is to be seen of the host.
        wall: seconds since the epoch.
    """

    def __init__(self, steps: Steps, wall: Callable[[], float]) -> None:
        self._steps = steps
        self._wall = wall
        self._lock = threading.RLock()  # for the exchange of one value; nothing else happens under it
        self._keeping = threading.Lock()  # one revision after the other
        self.desired = Desired()
        self.keeper: Keeper | None = None
        self._pending: dict[str, Tried] = {}  # what is to be tried again, and is not yet

    @property
    def configuration(self) -> Configuration | None:
        """The last applied one."""
        applied = self.desired.applied
        return None if applied is EMPTY else applied

    @property
    def history(self) -> "tuple[DesiredRevision, ...]":
        """The changes of what is desired that are kept, the oldest first; none without a store that lasts."""
        return () if self.keeper is None else self.keeper.history

    def left_out(self, name: str) -> PluginConfig | None:
        """Give what the last applied file says of a plugin that somebody has unloaded; None if nobody has."""
        written = self.desired.ownership.fields.get(("plugin", name, "loaded"))
        return self.desired.applied.plugins.get(name) if written is not None and written.value is None else None

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
        said = [self._written(("route", name, "default"), version, by, verb) for name, version in defaults.items()]
        what = [each for each in said if each]
        if what:  # one revision: a verdict that moves many is kept as a whole, or not at all
            more = f" and {len(what) - 1} more" if len(what) > 1 else ""
            self._keep(by, verb, f"{what[0]}{more}")

    def tried(self, name: str, *, by: str, verb: str) -> None:
        """Note that a trial has begun, goes to others, or has ended."""
        before = self.desired.trials
        self._look()
        if self.desired.trials != before:
            there = self.desired.trials.get(name)
            said = "no trial" if there is None else f"{there.share:.0%} to {there.version}"
            self._keep(by, verb, f"trial.{name}: {said}")

    def _look(self) -> None:
        """See what is on trial, if the host runs: when it stops, all trials end, and stay wanted."""
        if self.keeper is None:
            return
        with self._lock:  # a look is a read of one snapshot, and the later one counts
            if (there := self._steps.trials()) is not None:
                self.desired = attrs.evolve(self.desired, trials={**self._pending, **there})

    def note(self, field: FieldKey, value: Any, *, by: str, verb: str) -> None:
        """Note that somebody wrote a field: it is theirs until the file says something else of it than it does now."""
        if what := self._written(field, value, by, verb):
            self._keep(by, verb, what)

    def _written(self, field: FieldKey, value: Any, by: str, verb: str) -> str:
        """Write a field; give what is to be told of it, "" if it has been written so already."""
        there = self.desired.ownership.fields.get(field)
        if there is not None and (there.value, there.base) == (value, self.desired.base(field)):
            return ""
        at = self._wall()
        self._change(
            lambda now: attrs.evolve(
                now, ownership=now.ownership.note(field, value, base=now.base(field), by=by, verb=verb, at=at)
            )
        )
        kind, name, key = field
        said = value if not isinstance(value, PluginConfig) else value.path
        return f"{kind}.{name}.{key}: {'unloaded' if said is None else shown(said)}"

    def _keep(self, by: str, verb: str, what: str, *, always: bool = False) -> None:
        if self.keeper is not None:
            self._look()
            with self._keeping:
                self.keeper.save(self.desired, by=by, verb=verb, what=what, always=always)

    def _amend(self) -> None:
        """Have the newest revision say what its steps have come to."""
        if self.keeper is not None:
            self._look()
            with self._keeping:
                self.keeper.amend(self.desired)

    def _change(self, change: Callable[[Desired], Desired]) -> None:
        with self._lock:
            self.desired = change(self.desired)


def _up(name: str) -> FieldKey:
    return ("plugin", name, "running")
