"""One start or one stop of one plugin: in a thread of its own, under its deadline, whatever the plugin does."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

from jackfield.errors import Fault
from jackfield.model.call import Call, current
from jackfield.model.record import PluginState
from jackfield.observe.stack import frames
from jackfield.plugins.lifecycle.board import Attempt, Board, Live, Outcome, Slot
from jackfield.plugins.lifecycle.instance import Instance, TookTooLong, fault_of
from jackfield.plugins.lifecycle.work import Term
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool

_GRACE = 1.0
"""Seconds, or a quarter of the stop timeout: how long background work may take to end before the object is stopped."""


class Runner:
    """Runs starts and stops, and decides what a plugin becomes by them.

    Args:
        board: where it is written.
        home: where async methods run.
        hands: where threads come from.
        open_term: begins the background work of a plugin.
        on_failure: is told, under the lock, of a plugin whose start or health has failed.
    """

    def __init__(
        self,
        board: Board,
        home: HomeLoop,
        hands: Pool,
        open_term: Callable[[str], Term],
        on_failure: Callable[[Slot], object],
    ) -> None:
        self._board = board
        self._home = home
        self._hands = hands
        self._open_term = open_term
        self._on_failure = on_failure

    # ---- the lock is held by the caller ----

    def start(self, slot: Slot) -> Attempt:
        """Bring a plugin to `starting`; `go` begins the work itself, once the lock is released."""
        definition = slot.definition
        assert definition is not None  # noqa: S101  # for the type checker: only what is defined is started
        slot.live = Live(definition, self._open_term(slot.name))
        now = monotonic()
        slot.attempt = attempt = Attempt(
            slot, slot.live, now, now + definition.start_timeout, "making the plugin object", starting=True
        )
        self._board.change(slot, PluginState.STARTING)
        return attempt

    def stop(self, slot: Slot, then: Outcome, until: float | None = None) -> Attempt:
        """Bring a plugin to `stopping` that runs, or whose start has just ended while somebody wants it stopped.

        Args:
            slot: which.
            then: what it is to become.
            until: when to give it up even before its own timeout, on `time.monotonic`'s clock.
        """
        live = slot.live
        assert live is not None  # noqa: S101  # for the type checker: it runs
        now = monotonic()
        ends = now + live.definition.stop_timeout
        if until is not None:
            ends = max(min(ends, until), now)
        slot.attempt = attempt = Attempt(slot, live, now, ends, "taking its functions away", starting=False, then=then)
        if slot.state is not PluginState.STOPPING:
            self._board.change(slot, PluginState.STOPPING)
        return attempt

    def interrupt(self, attempt: Attempt, then: Outcome) -> None:
        """Have a start end early, and the plugin be stopped after it: an async one is cancelled, a sync one told.

        Args:
            attempt: the start.
            then: what the plugin is to become.
        """
        attempt.then, attempt.cancelled = then, True
        self._board.change(attempt.slot, PluginState.STOPPING)
        if attempt.waits is not None:
            attempt.waits.cancel()
        attempt.live.term.ask_to_end()

    def hurry(self, attempt: Attempt, until: float | None) -> None:
        """Have a start or stop, and what follows it, given up no later than at a time, if there is one."""
        if until is not None:
            attempt.ends = min(attempt.ends, until)
            attempt.until = until

    # ---- the lock is not held ----

    def go(self, attempt: Attempt) -> None:
        """Begin the work of an attempt, in a thread of its own."""
        stage, body = ("start", self._start) if attempt.starting else ("stop", self._stop)
        try:
            self._hands.start(f"{attempt.slot.name}:{stage}", partial(body, attempt))
        except RuntimeError as error:  # no more threads
            fault = fault_of(error, stage, attempt.slot.name, "starting a thread")
            if attempt.starting:
                self._settle_start(attempt, fault)
            else:
                self._settle_stop(attempt, [fault], ended=False)

    def expire(self, attempt: Attempt) -> None:
        """Give up a start or stop whose time is up: what hangs stays behind in its thread."""
        with self._board.lock:
            slot = attempt.slot
            if slot.attempt is not attempt:
                return
            was_starting = slot.state is PluginState.STARTING
            slot.attempt = slot.live = None
            fault = attempt.failure or _overdue(attempt)
            if not attempt.starting and attempt.then[0] is PluginState.FAILED:
                self._board.say("ERROR", fault)
                fault = attempt.then[1] or fault
            self._board.change(slot, PluginState.FAILED, fault, functions=())
            if was_starting or attempt.then[0] is PluginState.FAILED:
                self._on_failure(slot)
            if attempt.waits is not None:
                attempt.waits.cancel()
        attempt.live.term.ask_to_end()
        self._finish(attempt)

    # ---- in the thread of the attempt ----

    def _start(self, attempt: Attempt) -> None:
        live = attempt.live
        definition = live.definition
        self._prepare(attempt)
        fault: Fault | None = None
        stack: list[str] = []
        functions: tuple[str, ...] = ()
        try:
            target = definition.make() if definition.make is not None else None
            live.instance = Instance(definition.name, target, self._home)
            attempt.doing = "start()"
            live.instance.invoke("start", ends=attempt.ends, watch=partial(self._watch, attempt))
            live.started = True
            if self._may_activate(attempt):
                attempt.doing = "registering its functions"
                functions = tuple(definition.activate(target))
                live.activated = True
        except TookTooLong:
            fault = _overdue(attempt)
        except BaseException as error:  # noqa: BLE001  # whatever a plugin raises fails that plugin alone
            fault, stack = fault_of(error, "start", definition.name, attempt.doing), frames(error)
        if fault is not None:
            attempt.failure = fault
            self._undo(attempt)
        if not self._settle_start(attempt, fault, functions, stack):
            with self._board.lock:
                self._board.say("WARNING", f"plugin {definition.name}: its start ended after it was given up")
            self._undo(attempt)
            self._board.flush()

    def _stop(self, attempt: Attempt) -> None:
        live, ends = attempt.live, attempt.ends
        self._prepare(attempt)
        faults: list[Fault] = []
        if live.activated:
            self._guarded(attempt, live.definition.deactivate, faults)
        live.term.ask_to_end()
        attempt.doing = "ending its background work"
        live.term.join(min(ends, monotonic() + min(_GRACE, live.definition.stop_timeout / 4)))
        ended = True
        if live.started and live.instance is not None:
            attempt.doing = "stop()"
            invoke = partial(live.instance.invoke, "stop", ends=ends, watch=partial(self._watch, attempt))
            ended = self._guarded(attempt, invoke, faults)
        if left := live.term.alive():
            attempt.doing = f"ending its background work ({', '.join(left)})"
            if live.term.join(ends):
                faults.append(_overdue(attempt))
                ended = False
        if not self._settle_stop(attempt, faults, ended=ended):
            with self._board.lock:
                self._board.say("WARNING", f"plugin {live.definition.name}: its stop ended after it was given up")
            self._board.flush()

    def _prepare(self, attempt: Attempt) -> None:
        current.set(Call("", deadline=attempt.ends))  # so that the plugin may ask for `remaining()`
        attempt.live.term.enter()

    def _watch(self, attempt: Attempt, future: "Future[Any]") -> None:
        """Note what an attempt waits for, so that it can be cancelled; cancel it if that is wanted already."""
        with self._board.lock:
            attempt.waits = future
            if attempt.cancelled or attempt.slot.attempt is not attempt:
                future.cancel()

    def _may_activate(self, attempt: Attempt) -> bool:
        return attempt.slot.attempt is attempt and not attempt.cancelled  # a guess: settling decides under the lock

    def _guarded(self, attempt: Attempt, body: Callable[[], Any], faults: list[Fault]) -> bool:
        """Do one step of a stop; give whether it has ended, well or not."""
        try:
            body()
        except TookTooLong:
            faults.append(_overdue(attempt))
            return False
        except BaseException as error:  # noqa: BLE001  # the other steps must be taken
            fault = fault_of(error, "stop", attempt.slot.name, attempt.doing)
            faults.append(fault)
            with self._board.lock:
                self._board.say("ERROR", fault, stack=frames(error))
        return True

    def _undo(self, attempt: Attempt) -> None:
        """Take back what a start did that failed, or that came too late."""
        live = attempt.live
        faults: list[Fault] = []
        live.term.ask_to_end()
        with self._board.lock:
            newer = attempt.slot.live if attempt.slot.live is not live else None
        # After a start that was given up another one may have begun, of the same object if that is not made each time.
        if live.activated and newer is None:
            attempt.doing = "taking its functions away"
            self._guarded(attempt, live.definition.deactivate, faults)
        shared = newer is not None and newer.instance is not None and newer.instance.target is _target(live)
        if live.started and live.instance is not None and not shared:
            attempt.doing = "stop()"
            ends = monotonic() + live.definition.stop_timeout
            self._guarded(attempt, partial(live.instance.invoke, "stop", ends=ends), faults)
        live.term.join(min(attempt.ends, monotonic() + _GRACE))

    # ---- deciding ----

    def _settle_start(
        self, attempt: Attempt, fault: Fault | None, functions: tuple[str, ...] = (), stack: list[str] | None = None
    ) -> bool:
        with self._board.lock:
            slot = attempt.slot
            if slot.attempt is not attempt:
                return False
            slot.attempt = following = None
            if slot.state is PluginState.STOPPING and fault is None:
                following = self.stop(slot, attempt.then, attempt.until)
            elif slot.state is PluginState.STOPPING:
                slot.live = None
                self._board.change(slot, *attempt.then)
            elif fault is None:
                self._board.change(slot, PluginState.RUNNING, functions=functions)
            else:
                slot.live = None
                self._board.change(slot, PluginState.FAILED, fault, stack=stack)
                self._on_failure(slot)
        if following is not None:
            self.go(following)
        self._finish(attempt)
        return True

    def _settle_stop(self, attempt: Attempt, faults: list[Fault], *, ended: bool) -> bool:
        with self._board.lock:
            slot = attempt.slot
            if slot.attempt is not attempt:
                return False
            slot.attempt = slot.live = None
            state, reason = attempt.then
            if ended or state is PluginState.FAILED:
                self._board.change(slot, state, reason or next(iter(faults), None), functions=())
            else:
                self._board.change(slot, PluginState.FAILED, faults[-1], functions=())
            if state is PluginState.FAILED:
                self._on_failure(slot)
        self._finish(attempt)
        return True

    def _finish(self, attempt: Attempt) -> None:
        try:
            self._board.flush()
        finally:
            attempt.done.set_result(None)


def _target(live: Live) -> object | None:
    return live.instance.target if live.instance is not None else None


def _overdue(attempt: Attempt) -> Fault:
    name = attempt.slot.name
    stage = "start" if attempt.starting else "stop"
    how = "let its threads watch Background.stopping" if "background" in attempt.doing else f"make {stage}() end sooner"
    long = " (long work belongs into Background.spawn)" if attempt.starting else ""
    reason = f"{attempt.doing} took longer than {attempt.ends - attempt.began:.3g} s, and is left behind in its thread"
    return Fault(stage, name, name, reason, f"{how}{long}, or raise {stage}_timeout")
