"""Canaries: a share of the calls, or some tenants, go to another version; promoted or aborted in one swap."""

import threading
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from jackfield.errors import FunctionNotFound, JackfieldError, PluginError
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.names import close_names
from jackfield.model.route import Route, Split
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.observe.logger import host_log
from jackfield.ports import BoundObserver, Observer
from jackfield.registry.functions import Functions
from jackfield.rollout import Analysis, Decision, Tally, Trial

_POLL: Final = 0.1  # seconds; a look that is not due costs some microseconds


class Canary:
    """One trial of a version. Without analysis it moves nothing by itself.

    Args:
        functions: where the routes are changed.
        snapshot: gives the current snapshot.
        name: a function's name, or a plugin's for all its functions that have that version.
        version: the version under trial.
        share: from 0.0 to 1.0.
        tenants: those that go there in any case.
        analysis: how the two versions are compared; None compares nothing.
        ended: is told once of what became of it.

    Raises:
        FunctionNotFound: if there is no such function or plugin, or no such version of it.
        PluginError: if the version is the default already, or the function is under another trial.
        ValueError: if the share is not a part of 1.
    """

    def __init__(
        self,
        functions: Functions,
        snapshot: Callable[[], Snapshot],
        name: str,
        *,
        version: str,
        share: float = 0.0,
        tenants: Iterable[str] = (),
        analysis: Analysis | None = None,
        ended: Callable[[CanaryStatus], object] = lambda _: None,
    ) -> None:
        self._functions = functions
        self._tell_end = ended
        self._lock = threading.RLock()
        covered = _covered(snapshot(), name, version)
        if analysis is not None and share:
            steps = (_checked(share), *(step for step in analysis.steps if step > share))
            analysis = attrs.evolve(analysis, steps=steps)
        elif analysis is not None and analysis.steps:
            share = analysis.steps[0]
        split = Split(name, ((version, _checked(share)),), dict.fromkeys(tenants, version), version)
        stable = snapshot().routes[covered[0]].default

        def begin(route: Route) -> Route:
            if route.default == version:
                reason = f"{route.name}@{version} is the default already"
                raise PluginError(name, "route", reason, "name a version that is not")
            if route.split is not None:
                trial = route.split.trial
                what = f"under trial already, with {trial}" if trial else "split by the configuration"
                fix = "promote or abort that canary first" if trial else "take its shares out of [routes] first"
                raise PluginError(name, "route", f"{route.name} is {what}", fix)
            return attrs.evolve(route, split=split)

        functions.reroute(begin, covered)
        self.status = CanaryStatus(
            name, version, stable, CanaryState.RUNNING, share, tuple(sorted(split.tenants)), covered
        )
        self._ended = threading.Event()
        self._watchers: dict[str, Observer] = {}
        if analysis is not None:
            under_trial, beside = Tally(), Tally()
            trial = Trial(analysis, under_trial, beside)
            for function in covered:
                self._watchers[f"{function}@{version}"] = _Watcher(under_trial)
                self._watchers[f"{function}@{stable}"] = _Watcher(beside)
            functions.watch(self._watchers)
            threading.Thread(target=self._follow, args=(trial,), name=f"jackfield-canary-{name}", daemon=True).start()

    def ramp(self, share: float, reason: str = "") -> None:
        """Change the share: raising it only adds tenants, lowering it only takes some away.

        Args:
            share: from 0.0 to 1.0.
            reason: for the status and the log.

        Raises:
            ValueError: if it is not a part of 1.
            PluginError: if the canary has ended.
        """
        checked = _checked(share)
        self._change(
            lambda route, split: attrs.evolve(route, split=attrs.evolve(split, shares=((split.trial, checked),)))
        )
        self._note(share=checked, reason=reason)

    def promote(self, reason: str = "") -> None:
        """Make the version the default of all its functions in one swap; the old one stays, to roll back to.

        Args:
            reason: for the status and the log.

        Raises:
            PluginError: if the canary has ended.
        """
        self._change(lambda route, split: attrs.evolve(route, default=split.trial, split=None))
        self.release()
        self._note(state=CanaryState.PROMOTED, reason=reason)

    def abort(self, reason: str = "") -> None:
        """Send everybody back to the default version, in one swap.

        Args:
            reason: for the status and the log.

        Raises:
            PluginError: if the canary has ended.
        """
        self._change(lambda route, _split: attrs.evolve(route, split=None), gone_is_fine=True)
        self.release()
        self._note(state=CanaryState.ABORTED, reason=reason)

    def _follow(self, trial: Trial) -> None:
        """Look as often as the plan says, and act on what is found; ends with the canary."""
        while not self._ended.wait(_POLL):
            verdict = trial.look()
            if verdict.decision is Decision.HOLD:
                self.status = attrs.evolve(self.status, reason=verdict.reason)
                continue
            try:
                if verdict.decision is Decision.FAIL:
                    self.abort(verdict.reason)
                elif verdict.step_passed and (share := trial.next_share) is not None:
                    self.ramp(share, verdict.reason)
                    trial.advance()
                elif verdict.step_passed:
                    self.promote(verdict.reason)
            except JackfieldError as error:  # somebody else ended it, or the function has gone
                host_log("WARNING", f"canary of {self.status.name}@{self.status.version}: {error}")
                self.release()

    def release(self) -> None:
        """End the analysis, and leave the routes as they are; the host calls this when it stops."""
        self._ended.set()
        self._functions.watch(self._watchers, until=True)

    def _change(self, change: Callable[[Route, Split], Route], *, gone_is_fine: bool = False) -> None:
        def checked(route: Route) -> Route:
            split = route.split
            if split is None or split.trial != self.status.version or split.salt != self.status.name:
                if gone_is_fine:
                    return route
                reason = f"{route.name} is no longer under this trial: it was rolled back, or registered anew"
                raise PluginError(self.status.name, "route", reason, "abort this canary and make a new one")
            return change(route, split)

        with self._lock:
            if self.status.state is not CanaryState.RUNNING:
                reason = f"the canary of {self.status.version} has ended: {self.status.state}"
                raise PluginError(self.status.name, "route", reason, "make a new one")
            self._functions.reroute(checked, self.status.functions)

    def _note(self, **changes: object) -> None:
        with self._lock:
            self.status = attrs.evolve(self.status, **changes)  # type: ignore[arg-type]  # fields of its own
        status = self.status
        if status.state is not CanaryState.RUNNING:
            self._tell_end(status)
        said = f": {status.reason}" if status.reason else ""
        host_log("INFO", f"canary of {status.name}@{status.version}: {status.state}, {status.share:.0%}{said}")

    def __repr__(self) -> str:
        """Show the status."""
        return f"Canary({self.status})"


class _Watcher:
    """An observer whose bound form is there already: one tally for all functions of a trial."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def bind(self, _spec: FunctionSpec, /) -> BoundObserver:
        """Give the tally."""
        return self._tally


def _checked(share: float) -> float:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share is a part of 1, from 0.0 to 1.0, not {share}; 20 % is 0.2")
    return float(share)


def _covered(snapshot: Snapshot, name: str, version: str) -> tuple[str, ...]:
    """Give the functions that a name means: that function, or those of that plugin that have the version."""
    route = snapshot.routes.get(name)
    if route is not None:
        if version not in route.endpoints:
            raise FunctionNotFound(name, version=version, versions=tuple(sorted(route.endpoints)))
        return (name,)
    of_plugin = [
        route for route in snapshot.routes.values() if any(e.spec.plugin == name for e in route.endpoints.values())
    ]
    covered = tuple(sorted(route.name for route in of_plugin if version in route.endpoints))
    if covered:
        return covered
    versions = tuple(sorted({version for route in of_plugin for version in route.endpoints}))
    known = {*snapshot.routes, *(route.spec.plugin for route in snapshot.routes.values())}
    raise FunctionNotFound(name, close_names(name, sorted(known)), version=version, versions=versions)
