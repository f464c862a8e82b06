"""The life of singletons: made once under racing threads and tasks, closed in reverse order of creation.

Whoever needs a singleton first begins an attempt; all others wait for that attempt, threads by blocking, coroutines
without blocking their loop. An attempt goes its own way: it does not end when the call that began it is cancelled, does
not see that call's deadline, and what it does to context variables stays in a context of its own, in which the object
is closed later: an async generator's in the very task. A failed attempt fails those who waited for it, and is
forgotten: the next one who asks begins another.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from typing import Any

import attrs

from jackfield.errors import DependencyCycle, Fault, InjectionError, Unavailable
from jackfield.injection.deriving import Shape, assembled
from jackfield.injection.providers import Provider
from jackfield.injection.teardown import afinish, afirst, finish, first
from jackfield.log import host_log
from jackfield.model.call import current
from jackfield.model.spec import MISSING, Colour
from jackfield.strangers import is_a


class _Attempt:
    """One try at making one singleton. `done` gets what went wrong, or None; nobody can cancel it."""

    __slots__ = (
        "cell",
        "context",
        "done",
        "ending",
        "failure",
        "generator",
        "left",
        "outer",
        "task",
        "thread",
        "waits_for",
    )

    def __init__(self, cell: "Cell", outer: "_Attempt | None") -> None:
        self.cell = cell
        self.outer = outer
        self.waits_for: _Attempt | None = None
        self.context: Context = copy_context()
        self.generator: Any = None
        self.failure: BaseException | None = None  # what the teardown of an async generator raised
        self.task: asyncio.Task[None] | None = None
        self.thread: weakref.ref[threading.Thread] | None = None
        self.left = threading.Event()  # whoever made it by a sync provider is out of its context: one can enter it
        self.ending = asyncio.Event()  # what the task of an async generator waits for, to close it
        self.done: Future[BaseException | None] = Future()
        self.done.set_running_or_notify_cancel()  # from here on a waiter that is cancelled cannot cancel it

    def chain(self) -> "list[_Attempt]":
        """Give the attempts that this one is part of, outermost first, this one last."""
        chain: list[_Attempt] = [self]
        attempt = self.outer
        while attempt is not None:
            chain.append(attempt)
            attempt = attempt.outer
        return chain[::-1]


_making: ContextVar[_Attempt | None] = ContextVar("jackfield_making", default=None)


Start = Callable[[str, Callable[[], object]], object]
"""Begins something in a thread that has a name meanwhile; raises `ResourceExhausted` if there is none."""


def own_thread(name: str, body: Callable[[], object]) -> None:
    """Begin something in a thread of its own: for an injector without a host, and thereby without a pool."""
    threading.Thread(target=body, name=name, daemon=True).start()


class Vault:
    """The singletons of one host: which are made, in which order, and on which loop the async ones live.

    Args:
        start: where the threads come from in which sync singletons are made and closed for coroutines.
    """

    def __init__(self, start: Start = own_thread) -> None:
        self.start = start
        self.lock = threading.Lock()
        self.made: list[Cell] = []
        self.pending: set[_Attempt] = set()
        self.home: asyncio.AbstractEventLoop | None = None


class Cell:
    """The place of one singleton. Generated code reads `value` and, while that is `MISSING`, asks `get` or `aget`.

    Args:
        provider: what makes it.
        vault: whose singletons it belongs to.
        arguments: gives the factory's keyword arguments; those that are cells stand for their singletons.

    Attributes:
        value: the object, or `MISSING`.
        sealed: whether it is to be closed, so that nothing can be made any more.
    """

    __slots__ = ("_arguments", "_attempt", "_vault", "provider", "sealed", "value")

    def __init__(self, provider: Provider, vault: Vault, arguments: Callable[[], Mapping[str, Any]]) -> None:
        self.value: Any = MISSING
        self.provider = provider
        self._vault = vault
        self._arguments = arguments
        self._attempt: _Attempt | None = None
        self.sealed = False

    def get(self) -> Any:
        """Give the object, made by this thread if nobody makes it yet; for sync providers.

        Raises:
            DependencyCycle: if making it turns out to need it.
            Unavailable: if it was closed.
            BaseException: whatever the provider raises.
        """
        while (value := self.value) is MISSING:
            attempt, mine = self._join()
            if mine:
                self._make_here(attempt)
            try:
                self._settle(attempt.done.result(), mine)
            finally:
                _leave()
                del attempt  # an error refers to this frame, and the attempt to the error
        return value

    async def aget(self) -> Any:
        """Give the object without blocking the running loop: a sync provider runs in a thread of its own.

        Raises:
            DependencyCycle: if making it turns out to need it.
            Unavailable: if it was closed.
            BaseException: whatever the provider raises.
        """
        while (value := self.value) is MISSING:
            attempt, mine = self._join()
            if mine:
                self._start(attempt)
            try:
                self._settle(await asyncio.wrap_future(attempt.done), mine)
            finally:
                _leave()
                del attempt
        return value

    def _join(self) -> tuple[_Attempt, bool]:
        """Join the attempt that is under way, or begin one, which is then the caller's to make."""
        outer = _making.get()
        chain = outer.chain() if outer is not None else []
        with self._vault.lock:
            if self.sealed or any(member.cell.sealed for member in chain):
                raise self._closed()
            attempt = self._attempt
            if attempt is None:
                attempt = self._attempt = _Attempt(self, outer)
                self._vault.pending.add(attempt)
                return attempt, True
            ahead: _Attempt | None = attempt
            while chain and ahead is not None:
                if ahead in chain:
                    raise _needs_itself([member.cell for member in chain[chain.index(ahead) :]])
                ahead = ahead.waits_for
            for member in chain:
                member.waits_for = attempt
            return attempt, False

    def _settle(self, error: BaseException | None, mine: bool) -> None:
        # Somebody else's interruption is not ours: try again. Somebody else's failure would be ours as well.
        if error is not None and (mine or is_a(error, Exception)):
            raise error

    def _start(self, attempt: _Attempt) -> None:
        if self.provider.colour is Colour.SYNC:
            try:
                self._vault.start(f"jackfield {self.provider.label}", lambda: self._make_here(attempt))
            except Exception as error:  # noqa: BLE001  # raised by whoever waits
                self._fail(attempt, error)
            return
        loop = asyncio.get_running_loop()
        with self._vault.lock:
            home = self._vault.home = self._vault.home or loop
        if home is not loop:
            reason, fix = "an async singleton is only made on the host's home loop", "call it through host.acall"
            fault = Fault("inject", self.provider.plugin, self.provider.label, reason, fix)
            self._fail(attempt, InjectionError((fault,)))
            return
        attempt.task = loop.create_task(self._amake(attempt), context=attempt.context)
        attempt.task.add_done_callback(lambda _: self._fail(attempt, asyncio.CancelledError()))  # never started

    def _make_here(self, attempt: _Attempt) -> None:
        try:
            attempt.context.run(self._make, attempt)
        finally:
            attempt.left.set()

    def _make(self, attempt: _Attempt) -> None:
        try:
            _enter(attempt)
            given = {name: _now(one) for name, one in self._arguments().items()}
            attempt.thread = weakref.ref(threading.current_thread())
            made = self.provider.factory(**given)
            if self.provider.generator:
                attempt.generator, made = made, first(self.provider, made)
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            self._fail(attempt, error)
            return
        if self._publish(attempt, made):
            return
        if attempt.generator is not None:
            try:
                finish(self.provider, attempt.generator)
            except BaseException as error:  # noqa: BLE001  # nobody is left to raise it to
                log_failure(self.provider, error)
        self._fail(attempt, self._closed())

    async def _amake(self, attempt: _Attempt) -> None:
        try:
            _enter(attempt)
            given = {name: await _soon(one) for name, one in self._arguments().items()}
            made = self.provider.factory(**given)
            if self.provider.generator:
                attempt.generator, made = made, await afirst(self.provider, made)
            else:
                made = await made
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            self._fail(attempt, error)
            return
        if self._publish(attempt, made):
            if attempt.generator is not None:
                await self._keep(attempt)
            return
        if attempt.generator is not None:
            try:
                await afinish(self.provider, attempt.generator)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # nobody is left to raise it to
                log_failure(self.provider, error)
        self._fail(attempt, self._closed())

    async def _keep(self, attempt: _Attempt) -> None:
        """Close a generator in the task that opened it: there alone can a task group or a cancel scope be left."""
        try:
            await attempt.ending.wait()
        except asyncio.CancelledError:  # the loop ends, and nobody has closed it
            await attempt.generator.aclose()
            raise
        try:
            await afinish(self.provider, attempt.generator)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # raised by `aclose`; a loop would end with a SystemExit of a task
            attempt.failure = error

    def _publish(self, attempt: _Attempt, made: Any) -> bool:
        """Make the object known, unless the cell was sealed meanwhile."""
        with self._vault.lock:
            if self.sealed:
                return False
            self._vault.pending.discard(attempt)
            self._vault.made.append(self)
            attempt.outer = None
            if attempt.generator is None:
                attempt.context = Context()  # nothing will be closed in it; let go of what it refers to
            self.value = made
        attempt.done.set_result(None)
        return True

    def _fail(self, attempt: _Attempt, error: BaseException) -> None:
        with self._vault.lock:
            if attempt.done.done():
                return
            self._vault.pending.discard(attempt)
            self._attempt = None
            attempt.outer = None
        attempt.done.set_result(error)

    def _closed(self) -> Unavailable:
        return Unavailable(str(self.provider.key), "it is closed: its plugin was unloaded, or the host has stopped")

    @property
    def awaits(self) -> bool:
        """Whether closing it takes an event loop."""
        return self.provider.generator and self.provider.colour is Colour.ASYNC

    @property
    def is_mine(self) -> bool:
        """Whether this very thread has made it: what it is may be bound to the thread."""
        attempt = self._attempt
        maker = attempt.thread if attempt is not None else None
        return maker is not None and maker() is threading.current_thread()

    def close(self) -> None:
        """Forget the object, and let a sync generator clean up, in the context in which it began."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.generator is not None:
            attempt.left.wait()  # those who wait for the object can have it some instructions before
            attempt.context.run(finish, self.provider, attempt.generator)

    async def aclose(self) -> None:
        """Do the same for an async generator; on the home loop."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.generator is not None and attempt.task is not None:
            attempt.ending.set()
            await asyncio.wait([attempt.task])  # not the task itself: who waits may be cancelled
            if not attempt.task.cancelled():
                attempt.task.result()
            if attempt.failure is not None:
                raise attempt.failure


@attrs.frozen(eq=False)
class Gathered:
    """A collection whose members are yet to be made, where a singleton has one; see `deriving.gathered`.

    Attributes:
        shape: what it is made as.
        labels: of a mapping the keys.
        members: objects; a `Cell` stands for its singleton.
    """

    shape: Shape
    labels: tuple[str, ...]
    members: tuple[Any, ...]

    def get(self) -> Any:
        """Make it, and what is missing in it; for sync providers."""
        return assembled(self.shape, self.labels, [_now(member) for member in self.members])

    async def aget(self) -> Any:
        """Make it without blocking the running loop."""
        return assembled(self.shape, self.labels, [await _soon(member) for member in self.members])


def _now(one: Any) -> Any:
    return one.get() if isinstance(one, Cell | Gathered) else one


async def _soon(one: Any) -> Any:
    return await one.aget() if isinstance(one, Cell | Gathered) else one


def _enter(attempt: _Attempt) -> None:
    """Set up the attempt's own context: a singleton outlives the call that happens to need it first."""
    _making.set(attempt)
    current.set(None)


def _leave() -> None:
    outer = _making.get()
    for member in outer.chain() if outer is not None else ():
        member.waits_for = None


def _needs_itself(circle: list[Cell]) -> DependencyCycle:
    first = circle[0].provider
    drawing = " → ".join(cell.provider.label for cell in (*circle, circle[0]))
    reason = f"making it needs it: {drawing}"
    fix = "do not call a function that needs it while it is being made"
    return DependencyCycle((Fault("inject", first.plugin, first.label, reason, fix),), drawing)


def log_failure(provider: Provider, error: BaseException) -> None:
    """Say that a teardown failed that nobody waits for."""
    host_log("WARNING", f"{provider}: its teardown failed", error)
