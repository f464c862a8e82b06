"""The steps of a start and of a stop: scripts that run in a thread, whatever the plugin does in them.

A plain start and stop use them, and so does a swap, which starts the new version and stops the old one. Each script
ends with a result or an error; the control loop, which waits for it under a time limit, decides what that means. A
script that ends after it was given up takes back what it did.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

import attrs

from jackfield.errors import Fault, PluginError, ResourceExhausted
from jackfield.log import host_log
from jackfield.model.call import Call, current
from jackfield.plugins.deployment import Deployment
from jackfield.plugins.handover import give_state, take_state
from jackfield.plugins.instance import Instance, TookTooLong, fault_of
from jackfield.plugins.roster import ASKING, Attempt, Live
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool
from jackfield.stack import frames
from jackfield.strangers import is_a

T = TypeVar("T")

_GRACE: Final = 1.0
"""Seconds, or a quarter of the stop timeout: how long background work may take to end before the object is stopped."""

_RETRY: Final = 0.1
"""Seconds between two looks for a thread, when the system gives none."""


@attrs.define
class Stopped:
    """What a stop came to.

    Attributes:
        state: what the object gave as its state, to be kept; None when it gave none.
        faults: what went wrong.
        ended: whether nothing of it runs any more.
    """

    state: bytes | None = None
    faults: list[Fault] = attrs.field(factory=list)
    ended: bool = True


class Steps:
    """Starts and stops single plugins, in threads.

    Args:
        deployment: where the plugins run.
        home: where async methods run.
        pool: where the threads come from.
    """

    def __init__(self, deployment: Deployment, home: HomeLoop, pool: Pool) -> None:
        self._deployment = deployment
        self._home = home
        self.pool = pool
        self._endings: deque[asyncio.Future[bool]] = deque()
        self._told_by: asyncio.AbstractEventLoop | None = None  # the loop that is about to look at the endings
        self._awaited: dict[Attempt, asyncio.Future[bool]] = {}
        self._timer: asyncio.TimerHandle | None = None  # one for all: looks when the first of them is overdue

    async def run(self, attempt: Attempt, script: Callable[[], T], late: Callable[[Attempt], object]) -> T:
        """Run a script in a thread and await it on the control loop, at most until the attempt ends.

        Args:
            attempt: whose script it is.
            script: what to run.
            late: takes back what the script did, in its thread, if it ends after it was given up.

        Returns:
            What the script returns.

        Raises:
            TimeoutError: when it is given up; it is left behind in its thread.
            ResourceExhausted: if the system gives no more threads.
            BaseException: whatever the script raises.
        """
        name, loop = attempt.live.bundle.name, asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()  # whether it has before its time was up

        held = [(attempt, script, late)]

        def job() -> None:
            # Taken out, to be let go of before anybody knows of the end: what is unloaded then must be gone.
            attempt, script, late = held.pop()
            current.set(Call("", deadline=attempt.deadline))  # so that the plugin may ask for `remaining()`
            attempt.live.term.enter()
            attempt.outcome = _outcome(attempt, script)
            if attempt.settle():
                del attempt, script, late
                self._tell(loop, ended)
                return
            host_log("WARNING", f"plugin {name}: its {attempt.stage} ended after it was given up")
            if attempt.outcome[1] is None:
                late(attempt)

        self._awaited[attempt] = ended
        if self._timer is None or attempt.ends < self._timer.when():
            self._give_up()
        try:
            await self._begin(attempt, job)
            in_time = await ended
        except asyncio.CancelledError:  # the loop ends: nothing is to follow on it, even if this has ended just now
            if attempt.settle():
                attempt.interrupt()
            raise
        finally:
            del self._awaited[attempt]
            if not self._awaited:
                self._give_up()
        if not in_time and attempt.settle():  # else it has ended in this very moment
            attempt.interrupt()
            raise TimeoutError
        value, failure = attempt.outcome
        if failure is not None:
            raise failure
        result: T = value
        return result

    def hurry(self, until: float) -> None:
        """Have all that is under way given up no later than at a time on the host's clock."""
        for attempt in self._awaited:
            attempt.ends = min(attempt.ends, until)
        self._give_up()

    def _give_up(self) -> None:
        """Have nobody await any longer what is overdue, and look again when the next one is."""
        for attempt, ended in self._awaited.items():
            if attempt.ends <= ended.get_loop().time() and not ended.done():
                ended.set_result(False)
        if self._timer is not None:
            self._timer.cancel()
        left = [attempt.ends for attempt, ended in self._awaited.items() if not ended.done()]
        self._timer = asyncio.get_running_loop().call_at(min(left), self._give_up) if left else None

    def _tell(self, loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[bool]") -> None:
        """Wake up who awaits a script, from its thread; those that end at once are told together."""
        self._endings.append(ended)
        if self._told_by is not loop:
            self._told_by = loop
            try:
                loop.call_soon_threadsafe(self._tell_all)
            except RuntimeError:  # it is closed: nobody waits any more
                self._told_by = None

    def _tell_all(self) -> None:
        self._told_by = None  # before it looks: whoever comes from here on has it look again
        while self._endings:
            ended = self._endings.popleft()
            if not ended.done():  # else its waiter was cancelled
                ended.set_result(True)

    async def _begin(self, attempt: Attempt, job: Callable[[], object]) -> None:
        """Get a thread. A stop must take place: when the system gives none, it asks again while there is time."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.pool.start(f"{attempt.live.bundle.name}:{attempt.stage}", job)
            except ResourceExhausted:
                if attempt.stage == "start" or loop.time() + _RETRY > attempt.ends:
                    attempt.live.term.ask_to_end()
                    raise
                await asyncio.sleep(_RETRY)
            else:
                return

    # ---- in the thread of an attempt ----

    def bring_up(self, attempt: Attempt, state: Callable[[], bytes | None], *, check: bool = False) -> None:
        """Load, make, restore and start a plugin; whatever fails is taken back before it is raised.

        Args:
            attempt: the start.
            state: gives what an earlier instance gave as its state, or None; asked only if the plugin can take it.
            check: whether to ask for its health, too.

        Raises:
            TookTooLong: if an async method was cancelled at its time.
            BaseException: whatever the plugin raises.
        """
        live = attempt.live
        try:
            if live.bundle.fault is not None:
                attempt.doing = "loading it"
                live.bundle = self._deployment.load(live.bundle)
            _proceed(attempt)
            attempt.doing = "making the plugin object"
            live.instance = Instance(live.bundle.name, self._deployment.make(live.bundle), self._home)
            if live.instance.has("restore"):
                attempt.doing = ASKING
                if (given := state()) is not None:
                    attempt.doing = "restore()"
                    give_state(live.instance, given, attempt.deadline)
            _proceed(attempt)
            attempt.doing = "start()"
            live.instance.invoke("start", ends=attempt.deadline, watch=attempt.watch)
            live.started = True
            if check:
                _check_health(attempt)
        except BaseException:
            self.undo(attempt)
            raise

    def start(self, attempt: Attempt, state: Callable[[], bytes | None], before: Attempt | None = None) -> None:
        """Bring a plugin up and make its functions callable, unless somebody wants it to end by then.

        Args:
            attempt: the start.
            state: gives what an earlier instance gave as its state, or None.
            before: the stop of an earlier instance that is still to be done, or None.
        """
        if before is not None:
            self.stop(before, keep=False)
        self.bring_up(attempt, state)
        live = attempt.live
        if attempt.cancelled:
            return
        attempt.doing = "registering its functions"
        try:
            target = live.instance.target if live.instance is not None else None
            live.specs = self._deployment.activate(live.bundle, target)
        except BaseException:
            self.undo(attempt)
            raise

    def stop(self, attempt: Attempt, *, keep: bool) -> Stopped:
        """Take a plugin's functions away, let its calls finish, end its background work, ask for its state, stop it.

        Args:
            attempt: the stop.
            keep: whether its state is wanted.
        """
        live, stopped = attempt.live, Stopped()
        if live.specs:
            attempt.doing = "taking its functions away"
            self._guarded(attempt, partial(self._withdraw, live, attempt.deadline), stopped)
        live.term.ask_to_end()
        attempt.doing = "ending its background work"
        live.term.join(min(attempt.deadline, monotonic() + min(_GRACE, live.bundle.stop_timeout / 4)))
        if keep and live.started and live.instance is not None:
            attempt.doing = "snapshot()"
            state = self._guarded(attempt, partial(take_state, live.instance, attempt.deadline), stopped)
            stopped.state = state if isinstance(state, bytes) else None
        self.stop_object(attempt, stopped)
        return stopped

    def stop_object(self, attempt: Attempt, stopped: Stopped) -> None:
        """Stop a plugin's object, and wait for the end of its background work."""
        live = attempt.live
        live.term.ask_to_end()
        if live.started and live.instance is not None:
            attempt.doing = "stop()"
            invoke = partial(live.instance.invoke, "stop", ends=attempt.deadline, watch=attempt.watch)
            self._guarded(attempt, invoke, stopped)
        if left := live.term.alive():
            attempt.doing = f"ending its background work ({', '.join(left)})"
            if live.term.join(attempt.deadline):
                stopped.faults.append(attempt.overdue())
                stopped.ended = False

    def undo(self, attempt: Attempt) -> None:
        """Take back what a start did that failed, or that came too late."""
        live, stopped = attempt.live, Stopped()
        doing = attempt.doing
        live.term.ask_to_end()
        if live.specs:
            self._guarded(attempt, partial(self._deployment.withdraw, live.bundle.name, live.specs), stopped)
        if live.started and live.instance is not None:
            ends = monotonic() + live.bundle.stop_timeout
            attempt.doing = "stop()"
            self._guarded(attempt, partial(live.instance.invoke, "stop", ends=ends), stopped)
        live.term.join(min(attempt.deadline, monotonic() + _GRACE))
        attempt.doing = doing

    def _withdraw(self, live: Live, deadline: float) -> None:
        gone = self._deployment.withdraw(live.bundle.name)
        left = self._deployment.drain(gone, max(deadline - monotonic(), 0.0))
        if left:
            reason = f"calls of {', '.join(left)} have not ended"
            raise PluginError(live.bundle.name, "stop", reason, "give them deadlines")

    def _guarded(self, attempt: Attempt, body: Callable[[], Any], stopped: Stopped) -> Any:
        """Do one step of a stop: whatever it raises, the others must be taken."""
        try:
            return body()
        except TookTooLong:
            stopped.faults.append(attempt.overdue())
            stopped.ended = False
        except BaseException as error:  # noqa: BLE001  # as it says
            fault = fault_of(error, "stop", attempt.live.bundle.name, attempt.doing)
            stopped.faults.append(fault)
            host_log("ERROR", fault, stack=frames(error))
        return None


def _outcome(attempt: Attempt, script: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Run a script and give what it comes to: whatever a plugin raises fails that plugin alone."""
    try:
        return script(), None
    except asyncio.CancelledError as error:  # the plugin's own: on the control loop it would mean the task there
        name = attempt.live.bundle.name
        fault = fault_of(error, attempt.stage, name, attempt.doing)
        return None, PluginError(name, fault.stage, fault.reason, fault.fix, (fault,))
    except BaseException as error:  # noqa: BLE001  # as it says
        return None, error


def _proceed(attempt: Attempt) -> None:
    """End a script that nobody wants the rest of."""
    if attempt.cancelled:
        raise TookTooLong


def _check_health(attempt: Attempt) -> None:
    live = attempt.live
    attempt.doing = "health()"
    if (
        live.instance is not None
        and live.instance.invoke("health", ends=attempt.deadline, watch=attempt.watch) is False
    ):
        raise PluginError(live.bundle.name, "health", "health() of the new version gave False", "see its log")


def as_fault(error: BaseException, attempt: Attempt) -> Fault:
    """Say why a start or stop has failed."""
    if is_a(error, (TookTooLong, TimeoutError, CancelledError)):
        return attempt.overdue()
    return fault_of(error, attempt.stage, attempt.live.bundle.name, attempt.doing)
