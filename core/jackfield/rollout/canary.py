"""Canaries: a share of the calls, or some tenants, go to another version; promoted or aborted in one swap."""

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any, Final

import attrs

from jackfield.errors import JackfieldError, ResourceExhausted
from jackfield.log import host_log
from jackfield.model.canary import CanaryState, CanaryStatus
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.ports import BoundObserver, Observer
from jackfield.registry import trials
from jackfield.registry.functions import Functions
from jackfield.rollout import Analysis, Decision, Tally, Trial, Verdict
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool

Promoted = Callable[[CanaryStatus, str], object]
Aborted = Callable[[CanaryStatus, str], object]
Moved = Callable[[CanaryStatus, str, str], object]

_LOOK: Final = 0.1  # seconds; a look that is not due costs some microseconds
_ELSEWHERE: Final = "judged by whichever host of its store is elected, over the calls of all"


class Canary:
    """One trial of a version: a handle on what the snapshot says of it. Without analysis it moves nothing by itself."""

    def __init__(
        self,
        functions: Functions,
        status: CanaryStatus,
        promoted: Promoted,
        aborted: Aborted | None = None,
        moved: Moved | None = None,
    ) -> None:
        self._functions = functions
        self._seen = status
        self._promoted = promoted
        self._aborted = aborted
        self._moved = moved
        self.asked: Analysis | None = None  # as it was given, be the share that it begins with another one
        self.analysis: Analysis | None = None
        self._looks: Future[None] | None = None
        self._watchers: dict[str, Observer] = {}
        self.tallies: tuple[Tally, Tally] | None = None  # of the version on trial, and of the one beside it

    @property
    def status(self) -> CanaryStatus:
        """What there is to know of it now. It ends by itself in the very swap in which its version goes."""
        self._seen = trials.current(self._functions.state.snapshot, self._seen)
        return self._seen

    def ramp(self, share: float, reason: str = "") -> None:
        """Change the share: raising it only adds tenants, lowering it only takes some away.

        Args:
            share: from 0.0 to 1.0.
            reason: for the status and the log.

        Raises:
            ValueError: if it is not a part of 1.
            PluginError: if the canary has ended.
        """
        self._ramp(share, reason, "operator")

    def _ramp(self, share: float, reason: str, by: str) -> None:
        self._change(share=_checked(share), reason=reason)
        self._tell("ramp", by)

    def promote(self, reason: str = "") -> None:
        """Make the version the default of all its functions in one swap; the old one stays, to roll back to.

        Args:
            reason: for the status and the log.

        Raises:
            PluginError: if the canary has ended.
        """
        self._promote(reason, "operator")

    def _promote(self, reason: str, by: str) -> None:
        self._change(state=CanaryState.PROMOTED, reason=reason)
        self.release()
        self._promoted(self._seen, by)

    def abort(self, reason: str = "", *, by: str = "operator") -> None:
        """Send everybody back to the default version, in one swap. One that was aborted already stays so.

        Args:
            reason: for the status and the log.
            by: who does it.

        Raises:
            PluginError: if the canary was promoted.
        """
        if self.status.state is not CanaryState.ABORTED:
            self._change(state=CanaryState.ABORTED, reason=reason)
        self.release()
        if self._aborted is not None:
            self._aborted(self._seen, by)
        self._tell("abort", by)

    def _tell(self, verb: str, by: str) -> None:
        if self._moved is not None:
            self._moved(self._seen, verb, by)

    def release(self) -> None:
        """End the analysis, and leave the routes as they are; the host calls this when it stops."""
        looks, self._looks = self._looks, None
        if looks is not None:
            looks.cancel()
        self._functions.watch(self._watchers, until=True)

    def follow(self, analysis: Analysis, control: ControlLoop, pool: Pool, judges: Callable[[], bool]) -> None:
        """Compare the two versions from now on, and act on what is found.

        Args:
            analysis: how.
            control: where the looks are taken.
            pool: where what they come to is carried out, since that tells hooks.
            judges: tells whether this host looks, and no other one on its store.
        """
        self.analysis = analysis
        self.tallies = under_trial, beside = Tally(), Tally()
        status = self.status
        for function in status.functions:
            self._watchers[f"{function}@{status.version}"] = _Watcher(under_trial)
            self._watchers[f"{function}@{status.stable}"] = _Watcher(beside)
        self._functions.watch(self._watchers)
        trial = Trial(analysis, under_trial, beside, control.clock)
        self._looks = control.submit(_looks(weakref.ref(self), trial, pool, judges))

    def act(self, verdict: Verdict, trial: Trial) -> None:
        """Carry out what a look came to; for the analysis.

        Args:
            verdict: what it found.
            trial: goes on to its next step when this one has passed.
        """
        try:
            if verdict.decision is Decision.FAIL:
                self.abort(verdict.reason, by="canary")
            elif verdict.step_passed and (share := trial.next_share) is not None:
                self._ramp(share, verdict.reason, "canary")
                trial.advance()
            elif verdict.step_passed:
                self._promote(verdict.reason, "canary")
        except JackfieldError as error:  # somebody else has ended it
            host_log("WARNING", f"canary of {self._seen.name}@{self._seen.version}: {error}")
            self.release()

    def note(self, reason: str) -> None:
        """Have the status say what the last look found; for the analysis."""
        self._functions.decide(lambda snapshot: trials.noted(snapshot, self._seen, reason))

    def _change(self, **fields: Any) -> None:
        snapshot = self._functions.decide(lambda before: trials.changed(before, self._seen, **fields))
        self._seen = status = trials.current(snapshot, self._seen)
        said = f": {status.reason}" if status.reason else ""
        host_log("INFO", f"canary of {status.name}@{status.version}: {status.state}, {status.share:.0%}{said}")

    def __repr__(self) -> str:
        """Show the status."""
        return f"Canary({self.status})"


class Canaries:
    """Begins canaries, and keeps the handles of those that the snapshot knows.

    Args:
        functions: where the routes are changed.
        control: where analyses look.
        pool: where they act.
        promoted: is told of each trial that was promoted, and by whom: `operator` or, by its analysis, `canary`.
        moved: is told of each that has begun, goes to others now, or was aborted: by which verb, and by whom.
        judges: tells whether analyses act here: of several hosts on one store one is elected.
    """

    def __init__(
        self,
        functions: Functions,
        control: ControlLoop,
        pool: Pool,
        promoted: Promoted,
        moved: Moved | None = None,
        judges: Callable[[], bool] = lambda: True,
    ) -> None:
        self._judges = judges
        self._functions = functions
        self._promoted = promoted
        self._moved = moved
        self._control = control
        self._pool = pool
        self._numbers = count(1)
        self._handles: dict[int, Canary] = {}

    def begin(
        self,
        name: str,
        *,
        version: str,
        share: float | None,
        tenants: Iterable[str],
        analysis: Analysis | None,
        labels: Mapping[str, str] | None = None,
        functions: Sequence[str] = (),
        promoted: Promoted | None = None,
        aborted: Aborted | None = None,
    ) -> Canary:
        """Begin a trial; as for `Host.canary`.

        Args:
            name: as there.
            version: as there.
            share: as there.
            tenants: as there.
            analysis: as there.
            labels: as there.
            functions: those that it covers; by default those that the name means.
            promoted: is told of its promotion, in place of whoever is told of all others'.
            aborted: is told when somebody aborts it, and who.
        """
        asked = analysis
        if share is None:
            share = 1.0 if labels and analysis is None else 0.0
        if analysis is not None and share:
            steps = (_checked(share), *(step for step in analysis.steps if step > share))
            analysis = attrs.evolve(analysis, steps=steps)
        elif analysis is not None and analysis.steps:
            share = analysis.steps[0]
        wanted = CanaryStatus(
            name,
            version,
            "",
            CanaryState.RUNNING,
            _checked(share),
            tuple(sorted({*tenants})),
            tuple(functions),
            number=next(self._numbers),
            labels=tuple(sorted((labels or {}).items())),
        )
        canary = Canary(self._functions, wanted, promoted or self._promoted, aborted, self._moved)
        canary.asked = asked
        self._handles[wanted.number] = canary
        try:
            self._functions.decide(lambda before: trials.begun(before, wanted)[0])
        except BaseException:
            del self._handles[wanted.number]
            raise
        if analysis is not None:
            canary.follow(analysis, self._control, self._pool, self._judges)
        if promoted is None:
            self.tell(canary.status, "canary", "operator")
        return canary

    def tell(self, status: CanaryStatus, verb: str, by: str) -> None:
        """Tell whoever wants to know that a trial has moved; of those that have somebody of their own, that does.

        Args:
            status: of the trial.
            verb: how.
            by: who.
        """
        if self._moved is not None:
            self._moved(status, verb, by)

    @property
    def all(self) -> tuple[Canary, ...]:
        """Those that run, and the last few that have ended, in the order in which they began."""
        snapshot = self._functions.state.snapshot
        first = min((status.number for status in snapshot.canaries), default=0)
        for number in [number for number in tuple(self._handles) if number < first]:
            self._handles.pop(number, None)
        return tuple(self._handle(snapshot, status) for status in snapshot.canaries)

    def _handle(self, snapshot: Snapshot, status: CanaryStatus) -> Canary:
        """Give the one handle on a canary."""
        made = Canary(self._functions, trials.current(snapshot, status), self._promoted, moved=self._moved)
        return self._handles.setdefault(status.number, made)

    def release(self) -> None:
        """End all analyses, and leave the routes as they are."""
        for canary in tuple(self._handles.values()):
            canary.release()


async def _looks(reference: "weakref.ref[Canary]", trial: Trial, pool: Pool, judges: Callable[[], bool]) -> None:
    """Look as often as the plan says, until the canary has ended, or nobody has it any more."""
    judging = True
    while (canary := reference()) is not None:
        before, judging = judging, judges()
        if judging and not before:
            trial.take_over(canary.status.share)
        job = _look(canary, trial) if judging else _wait(canary)
        name = f"canary {canary.status.name}"
        del canary
        if job is not None:
            with contextlib.suppress(ResourceExhausted):  # no thread to be had: the next look finds the same
                await pool.run(name, job)
            del job
        await asyncio.sleep(_LOOK)


def _look(canary: Canary, trial: Trial) -> Callable[[], None] | None:
    """Take one look, and give what is to be done about it."""
    status = canary.status
    if status.state is not CanaryState.RUNNING:
        return canary.release
    verdict = trial.look()
    if verdict.decision is not Decision.HOLD:
        return partial(canary.act, verdict, trial)
    return partial(canary.note, verdict.reason) if verdict.reason != status.reason else None


def _wait(canary: Canary) -> Callable[[], None] | None:
    """Leave the looks to another host, and give what is to be done about it."""
    status = canary.status
    if status.state is not CanaryState.RUNNING:
        return canary.release
    return partial(canary.note, _ELSEWHERE) if status.reason != _ELSEWHERE else None


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
