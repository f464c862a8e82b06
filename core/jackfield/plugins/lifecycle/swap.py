"""Replacing the running instance of a plugin by a new one without losing a call.

The order, and why:

1. the old one's `snapshot()` goes to the store: what cannot be stored stops the swap before anything has changed;
2. the new one is made, gets the state by `restore()`, starts, and is asked for its health: a failure in any of them
ends the
   new one, and the old one goes on as if nothing had been;
3. the pointer moves: the functions of the new one come and those of the old one go in one swap of the registry;
4. the old one drains: calls that are inside finish, or meet their deadlines;
5. its final `snapshot()` is stored beside;
6. it idles until `keep_warm` ends, so that a rollback of the registry finds it at work; then it stops.

A rollback moves calls, not state.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic

import attrs

from jackfield.errors import Fault, PluginError, Unavailable
from jackfield.model.call import Call, current
from jackfield.model.record import PluginState
from jackfield.plugins.lifecycle.board import Board, Live
from jackfield.plugins.lifecycle.handover import give_state, take_state
from jackfield.plugins.lifecycle.instance import Instance, fault_of
from jackfield.plugins.lifecycle.plugin import PluginDefinition
from jackfield.plugins.lifecycle.work import Term
from jackfield.plugins.state import PluginStates
from jackfield.ports import Store
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool


@attrs.frozen
class SwapReport:
    """What a swap came to.

    Attributes:
        plugin: its name.
        old: the version that ran before.
        new: the version that runs now; the same when there was nothing to do.
        state_handed: whether the old instance's state was given to the new one.
        left: names of functions with calls that did not end in time, and are left behind in the old version.
        faults: what went wrong after the pointer had moved.
    """

    plugin: str
    old: str
    new: str
    state_handed: bool = False
    left: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


class Warm:
    """The old instances that idle, each until its time has come, nobody uses it, or the host stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[threading.Timer, tuple[str, Callable[[], None]]] = {}
        self._closed = False

    def keep(self, name: str, seconds: float, in_use: Callable[[], bool], end: Callable[[], None]) -> None:
        """Keep one.

        Args:
            name: whose it is, for the thread.
            seconds: how long; again as long whenever calls go to it when they are over.
            in_use: whether calls go to it.
            end: stops it.
        """

        def due() -> None:
            with self._lock:
                mine = self._idle.pop(timer, None) is not None
            if mine and in_use():
                self.keep(name, seconds, in_use, end)
            elif mine:
                end()

        timer = threading.Timer(seconds, due)
        timer.name, timer.daemon = f"jackfield-keep-warm-{name}", True
        with self._lock:
            if not self._closed:
                self._idle[timer] = name, end
                timer.start()
                return
        end()

    def close(self) -> None:
        """Stop all of them now, and whatever comes later at once."""
        with self._lock:
            self._closed = True
        for name in {name for name, _ in self._idle.copy().values()}:
            self.end(name)

    def end(self, plugin: str) -> None:
        """Stop those of one plugin now.

        Args:
            plugin: whose.
        """
        with self._lock:
            mine = [(timer, end) for timer, (name, end) in self._idle.items() if name == plugin]
            for timer, _ in mine:
                del self._idle[timer]
        for timer, end in mine:
            timer.cancel()
            end()

    def open(self) -> None:
        """Keep what comes from now on, after a `close`."""
        with self._lock:
            self._closed = False


class Swap:
    """One replacement of one plugin's instance.

    Args:
        board: where the plugin's state stands.
        home: where async methods run.
        hands: where threads come from.
        open_term: begins the background work of the new instance.
        reopen_term: makes an earlier term the current one again.
        store: where states go.
        warm: keeps the old instance.
    """

    def __init__(
        self,
        board: Board,
        home: HomeLoop,
        hands: Pool,
        open_term: Callable[[str], Term],
        reopen_term: Callable[[Term], None],
        store: Store,
        warm: Warm,
    ) -> None:
        self._board = board
        self._home = home
        self._hands = hands
        self._open_term = open_term
        self._reopen_term = reopen_term
        self._states = PluginStates(store, "local")
        self._warm = warm

    def run(
        self,
        name: str,
        definition: PluginDefinition,
        *,
        drain: Callable[[float], tuple[str, ...]],
        in_use: Callable[[], bool],
        keep_warm: float,
    ) -> SwapReport:
        """Replace the running instance.

        Args:
            name: the plugin; it is running.
            definition: the new version; its `activate` moves the pointer.
            drain: waits, at most some seconds, for the calls inside the old version; names what is left.
            in_use: whether calls go to the old version, after a rollback.
            keep_warm: seconds that the old instance idles before it stops.

        Raises:
            PluginError: with the stage that failed; then the old instance runs on, and serves.
        """
        with self._board.lock:
            slot = self._board.slot(name)
            old = slot.live
            if slot.state is not PluginState.RUNNING or old is None:
                raise PluginError(name, "reload", f"it is {slot.state}, not running", f"start {name!r} first")
        state = self._saved(old)
        fresh = self._begin(name, definition, old, state)
        with self._board.lock:
            undisturbed = slot.live is old and slot.attempt is None  # no stop has begun
            if undisturbed:
                slot.definition, slot.live = definition, fresh
        if not undisturbed:
            self._end(fresh, [])
            reason = f"it is {slot.state}: somebody stopped it, or it failed, meanwhile"
            raise PluginError(name, "reload", reason, f"start {name!r}, then reload it again")
        target = fresh.instance.target if fresh.instance is not None else None
        try:
            functions = tuple(definition.activate(target))
            fresh.activated = True
        except BaseException as error:
            with self._board.lock:
                slot.definition, slot.live = old.definition, old
            self._end(fresh, [])
            self._reopen_term(old.term)
            raise _as_plugin_error(error, "register", name) from error
        with self._board.lock:
            if slot.live is fresh:  # else it was stopped in this moment, and its record says so
                self._board.edit(slot, version=definition.version, functions=functions, location=definition.location)
            self._board.say("INFO", f"plugin {name}: {old.definition.version} → {definition.version}")
        self._board.flush()
        left = drain(old.definition.stop_timeout)
        faults: list[Fault] = []
        try:
            self._saved(old)
        except PluginError as error:
            faults.append(Fault(error.stage, name, name, error.reason, error.fix))
        if keep_warm > 0:
            self._warm.keep(name, keep_warm, in_use, lambda: self._end(old, []))
        else:
            self._end(old, faults)
        return SwapReport(name, old.definition.version, definition.version, state is not None, left, tuple(faults))

    def _saved(self, live: Live) -> bytes | None:
        if live.instance is None:
            return None
        state = take_state(live.instance, live.definition.stop_timeout, self._hands)
        if state is not None:
            try:
                self._home.run(self._states.save(live.definition.name, live.definition.version, state))
            except ValueError as error:
                raise PluginError(live.definition.name, "snapshot", str(error), "keep large state elsewhere") from error
            except Unavailable as error:
                fix = "see that the store can be reached, then try again"
                raise PluginError(live.definition.name, "snapshot", str(error), fix) from error
        return state

    def _begin(self, name: str, definition: PluginDefinition, old: Live, state: bytes | None) -> Live:
        """Make, restore and start the new instance, and ask for its health; on failure nothing of it stays."""
        fresh = Live(definition, self._open_term(name))
        ends = monotonic() + definition.start_timeout

        def body() -> None:
            current.set(Call("", deadline=ends))
            fresh.term.enter()
            fresh.instance = Instance(name, definition.make() if definition.make is not None else None, self._home)
            left = ends - monotonic()
            if state is not None and fresh.instance.has("restore"):
                give_state(fresh.instance, state, left, self._hands)
            fresh.instance.invoke("start", ends=ends)
            fresh.started = True
            if fresh.instance.invoke("health", ends=ends) is False:
                raise PluginError(name, "health", "health() of the new version gave False", "see its log")

        try:
            self._wait(name, body, definition.start_timeout, late=lambda: self._end(fresh, []))
        except BaseException as error:
            self._end(fresh, [])
            self._reopen_term(old.term)
            raise _as_plugin_error(error, "start", name) from error
        return fresh

    def _wait(self, name: str, body: Callable[[], None], timeout: float, late: Callable[[], None]) -> None:
        """Run the body in a thread and wait for it; if it comes back after that, `late` undoes what it did."""
        done: Future[BaseException | None] = Future()
        given_up = threading.Event()

        def contained() -> None:
            try:
                body()
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
                done.set_result(error)
            else:
                done.set_result(None)
            if given_up.is_set():
                late()

        self._hands.start(f"{name}:swap", contained)
        try:
            error = done.result(timeout)
        except TimeoutError:
            given_up.set()
            reason = f"the new version took longer than {timeout:g} s to start"
            raise PluginError(name, "start", reason, "raise start_timeout, or make start() return sooner") from None
        if error is not None:
            raise error

    def _end(self, live: Live, faults: list[Fault]) -> None:
        """Stop an instance and its background work, whatever it does."""
        name, timeout = live.definition.name, live.definition.stop_timeout
        live.term.ask_to_end()
        if live.started and live.instance is not None:
            try:
                live.instance.bounded("stop", timeout=timeout, hands=self._hands)
            except PluginError as error:
                faults.append(Fault("stop", name, name, error.reason, error.fix))
        left = live.term.join(monotonic() + timeout)
        faults += [Fault("stop", name, name, f"its background work {each} has not ended") for each in left]
        with self._board.lock:
            for fault in faults:
                self._board.say("ERROR", fault)
        self._board.flush()


def _as_plugin_error(error: BaseException, stage: str, name: str) -> PluginError:
    if isinstance(error, PluginError):
        return error
    fault = fault_of(error, stage, name, f"the new version's {stage}")
    return PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
