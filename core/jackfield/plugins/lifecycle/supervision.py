"""Asking plugins how they are, and acting on the answers."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from jackfield.errors import Fault, PluginError
from jackfield.model.record import Health, PluginState
from jackfield.plugins.lifecycle.board import Board, Live
from jackfield.plugins.lifecycle.restarts import Restarts
from jackfield.plugins.lifecycle.timetable import Repetition, Timetable
from jackfield.runtime.pool import Pool

Fail = Callable[[str, Fault, Live], object]


class Supervision:
    """Checks the health of plugins, when asked and every so often.

    Args:
        board: where states stand.
        timetable: what keeps the time.
        hands: where the threads come from.
        restarts: is told who is well.
        fail: fails a plugin, if the start that was checked is still the present one.
    """

    def __init__(self, board: Board, timetable: Timetable, hands: Pool, restarts: Restarts, fail: Fail) -> None:
        self._board = board
        self._timetable = timetable
        self._hands = hands
        self._restarts = restarts
        self._fail = fail
        self._repetition: Repetition | None = None

    def start(self, interval: float, timeout: float) -> None:
        """Begin to check every so often, in place of any checks before."""
        with self._board.lock:
            self.stop()
            self._repetition = Repetition(self._timetable, interval, partial(self._round, timeout))

    def stop(self) -> None:
        """Begin no more checks."""
        with self._board.lock:
            repetition, self._repetition = self._repetition, None
        if repetition is not None:
            repetition.cancel()

    def check(self, names: Iterable[str], timeout: float) -> Mapping[str, Health]:
        """Ask some plugins, all at once.

        Args:
            names: which.
            timeout: seconds that one answer may take.
        """
        return MappingProxyType({name: health for name, (health, _) in self._ask(names, timeout).items()})

    def _ask(self, names: Iterable[str], timeout: float) -> dict[str, tuple[Health, Live | None]]:
        asked: dict[str, tuple[Callable[[], Health], Live | None]] = {}
        for name in names:
            with self._board.lock:
                slot = self._board.slots[name]
                state, live = slot.state, slot.live
            if state is not PluginState.RUNNING or live is None or live.instance is None:
                asked[name] = partial(Health, name, healthy=False, reason=f"it is {state}"), None
            elif live.instance.has("health"):
                asked[name] = (
                    partial(_answer, name, live.instance.begin("health", timeout=timeout, hands=self._hands)),
                    live,
                )
            else:
                asked[name] = partial(Health, name, healthy=True), live
        return {name: (wait(), live) for name, (wait, live) in asked.items()}

    def _round(self, timeout: float, done: Callable[[], None]) -> None:
        self._hands.start("jackfield-supervision", partial(self._check_all, timeout, done))

    def _check_all(self, timeout: float, done: Callable[[], None]) -> None:
        try:
            for name, (health, live) in self._ask(self._board.records, timeout).items():
                if live is None:
                    continue
                if health.healthy:
                    with self._board.lock:
                        self._restarts.well(self._board.slots[name])
                else:
                    fault = Fault("health", name, name, health.reason, "see to what the plugin reports, then start it")
                    self._fail(name, fault, live)
        finally:
            done()


def _answer(name: str, wait: Callable[[], object]) -> Health:
    try:
        given = wait()
    except PluginError as error:
        return Health(name, healthy=False, reason=error.reason)
    if given is False:
        return Health(name, healthy=False, reason="health() gave False")
    return Health(name, healthy=True, details=None if given is None or given is True else given)
