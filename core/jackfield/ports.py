"""The contracts behind which parts of a host can be replaced: small Protocols, their adapters elsewhere."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol, Self, runtime_checkable

import attrs

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import FunctionSpec


class BoundObserver(Protocol):
    """An observer of one function version, its label children bound. Called on every call, from any thread.

    `start` and `finish` of one call run in the same context (thread or task), `finish` exactly once for every `start`.

    One that has `retried(call, outcome, error, duration)` is told, between the two, of every attempt that failed and is
    followed by another; `call.attempt` is its number.
    """

    def start(self, call: Call, /) -> Any:
        """See a call begin.

        Args:
            call: the call; its `trace` is filled in by the first observer that traces.

        Returns:
            Whatever `finish` needs; passed back as it is.
        """
        ...

    def finish(self, state: Any, call: Call, outcome: Outcome, error: BaseException | None, duration: float, /) -> None:
        """See a call end.

        Args:
            state: what `start` returned.
            call: the same call.
            outcome: how it ended.
            error: what the caller gets raised, or None; a `FunctionCrashed` has the original as `__cause__`.
            duration: seconds between start and end, on `time.perf_counter`'s clock.
        """
        ...

    def close(self) -> None:
        """Release what was bound for this function, at its unregistration: nothing here refers to it after this."""
        ...


@runtime_checkable
class Observer(Protocol):
    """Sees each call's start and outcome. Whatever an observer raises is logged and never reaches the caller.

    Observers are started in the order given and finished in reverse, so that spans, given first, are still open when
    the log record is written.
    """

    def bind(self, spec: FunctionSpec, /) -> BoundObserver:
        """Bind to one function version, once, when it is registered.

        Args:
            spec: the function. Names that are not registered are all seen under one spec named "(unknown)".
        """
        ...


@attrs.frozen
class ExecutorStats:
    """The counts of one executor at one moment.

    Attributes:
        enqueued: tasks accepted since the start.
        rejected: tasks refused since the start because a bound was reached.
        late: results that came after their deadline, since the start.
        pending: accepted and not yet running.
        busy: threads (or workers) that run something somebody waits for.
        idle: threads (or workers) that wait for work.
        lingering: threads whose caller has left at its deadline.
    """

    enqueued: int = 0
    rejected: int = 0
    late: int = 0
    pending: int = 0
    busy: int = 0
    idle: int = 0
    lingering: int = 0


def together(*counts: ExecutorStats) -> ExecutorStats:
    """Add up counts.

    Examples:
        >>> together(ExecutorStats(enqueued=2), ExecutorStats(enqueued=1, busy=1)).enqueued
        3
    """
    return ExecutorStats(*map(sum, zip(*map(attrs.astuple, counts), strict=True))) if counts else ExecutorStats()


class BoundExecutor(Protocol):
    """An executor that is bound to one function version. Called on every call, from any thread.

    What it raises is what the function's body raises, or one of its own: `DeadlineExceeded`, `ResourceExhausted`,
    `Unavailable`, `Cancelled`. Anything else that it raises arrives at the caller as the function's crash.
    """

    def run(self, call: Call, /) -> Any:
        """Run the function and wait for its result, at most until the call's deadline.

        Args:
            call: the call: payload, deadline, trace.

        Returns:
            What the function returns.

        Raises:
            DeadlineExceeded: when the time is up; the function may still be running.
            ResourceExhausted: when a bound is reached; the function never runs.
            Unavailable: when what would run it is not there, or was closed meanwhile.
        """
        ...

    def arun(self, call: Call, /) -> Awaitable[Any]:
        """Do the same without blocking the running event loop.

        The host cancels what this gives at the deadline, or when its caller is cancelled: then it ends at once, and
        raises `asyncio.CancelledError` only then.
        """
        ...

    def close(self) -> None:
        """Release what was bound: the function was unregistered, or is bound anew. Calls that are inside go on."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Where functions run. `jackfield.testing.executors.ExecutorSuite` is what every one must pass."""

    @property
    def injects(self) -> bool:
        """Whether dependencies are injected where the function runs; the host does not look for them here, then."""
        ...

    def refusal(self, spec: FunctionSpec, /) -> str:
        """Say why a function cannot run here, and what to do: `reason: fix`; "" if it can.

        Args:
            spec: a function whose policy names this executor. Whoever runs sync functions alone refuses async ones.
        """
        ...

    def bind(self, spec: FunctionSpec, local: Callable[[Call], Any], /) -> BoundExecutor:
        """Bind to one function version, once, when it is registered; again when what is injected into it changes.

        Args:
            spec: the function.
            local: the compiled body, which converts the payload, injects, calls the function, and raises what a caller
                is to get. A thread runs it, in a copy of the caller's context. Of an async function it gives a
                coroutine, to be run in a task of an asyncio loop. Whatever runs elsewhere sends name, payload,
                remaining time and trace instead, and compiles on the other side.
        """
        ...

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment."""
        ...


def missing_members(adapter: object, port: type) -> tuple[str, ...]:
    """Name what an adapter lacks of a port: one of an older port is refused by it, when the host is made.

    Args:
        adapter: what was given.
        port: the Protocol.

    Examples:
        >>> missing_members(lambda: 0.0, Clock)
        ('wall', 'on_jump')
    """
    wanted = {name: member for name, member in vars(port).items() if not name.startswith("_")}
    return tuple(
        name
        for name, member in wanted.items()
        if not hasattr(adapter, name) or (callable(member) and not callable(getattr(adapter, name)))
    )


@attrs.frozen
class Stored:
    """One value of a store.

    Attributes:
        value: the bytes.
        revision: of the store, when this value was written; grows with every write of any key.
    """

    value: bytes
    revision: int


@attrs.frozen
class Range:
    """What a store had under a prefix, all of it at one revision.

    Attributes:
        entries: key → value, sorted by key; read-only.
        revision: of the store, when this was all there was: `watch` goes on from here and misses nothing.
    """

    entries: Mapping[str, Stored]
    revision: int


@attrs.frozen
class StoreEvent:
    """One write, as `Store.watch` tells it.

    Attributes:
        key: what was written.
        revision: of the store, made by this very write.
        value: what was put; None when the key was deleted, or its lease has ended.
    """

    key: str
    revision: int
    value: bytes | None


class Lease(Protocol):
    """The sign of life of whoever holds it: keys put with it go when it ends.

    It ends when it is released, or when the store has seen no renewal for `ttl` seconds on its own monotonic clock: a
    holder whose machine slept, or whose wall clock jumped, has lost it, and hears so at its next `renew` or `put`. As a
    context manager it is released at the end of the block.
    """

    @property
    def id(self) -> str:
        """Name it, unlike any other."""
        ...

    @property
    def ttl(self) -> float:
        """Give the seconds that it lives without being renewed."""
        ...

    async def renew(self) -> None:
        """Begin its time anew; every third of it is often enough.

        Raises:
            LeaseEnded: if it was over already; what was put with it is gone, and may be somebody else's now.
        """
        ...

    async def release(self) -> None:
        """End it now, and delete what was put with it; nothing happens if it was over already."""
        ...

    async def __aenter__(self) -> Self:
        """Give the lease."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """Release it."""
        ...


@runtime_checkable
class Store(Protocol):
    """Keeps small values under keys; safe for any number of threads and event loops at once.

    Keys are paths as in `hosts/blue-1/state/billing`, values at most a mebibyte: `model.keys` has the rules, which
    adapters apply with `check_key`, `check_prefix`, `check_value`. Larger things are kept elsewhere, their digest here.

    Every write is atomic, concerns one key, and makes the next revision of the store. Reads see every write that has
    returned. There is no transaction over several keys: who needs one value to agree with another keeps both under one
    key, or writes the one that names the other last.

    `jackfield.testing.stores.StoreConformance` is the suite of tests that every adapter passes.

    Raises:
        Unavailable: from every method, when the store is closed or cannot be reached.
        ValueError: from every method, for a bad key or prefix.
    """

    async def get(self, key: str, /) -> Stored | None:
        """Read a value, or None."""
        ...

    async def put(self, key: str, value: bytes, /, *, expected: int | None = None, lease: Lease | None = None) -> int:
        """Write a value.

        Args:
            key: where.
            value: what.
            expected: write only if the key's revision is this one; 0 for a key that is not there. None writes anyway.
            lease: the key goes when this ends. Without it the key stays, even if an earlier value had a lease.

        Returns:
            The revision of this write; at least 1.

        Raises:
            StoreConflict: if something else was there than expected; nothing was written.
            LeaseEnded: if the lease is over; nothing was written.
            TypeError: if the value is not bytes.
            ValueError: if it is larger than a mebibyte.
        """
        ...

    async def delete(self, key: str, /, *, expected: int | None = None) -> int:
        """Forget a key.

        Args:
            key: which.
            expected: delete only if the key's revision is this one; 0 asserts that there is none. None deletes anyway.

        Returns:
            The revision of this write; 0 if there was nothing to delete, which makes no revision.

        Raises:
            StoreConflict: if something else was there than expected; nothing was deleted.
        """
        ...

    async def range(self, prefix: str = "", /) -> Range:
        """Read all values under a prefix at one revision.

        Args:
            prefix: a path that ends in "/" for all that is below it; "" for everything; any other path is that one key.
        """
        ...

    def watch(self, prefix: str = "", /, *, since: int) -> AsyncGenerator[StoreEvent, None]:
        """Follow the writes under a prefix: each once, in the order of their revisions, none left out.

        Args:
            prefix: as for `range`.
            since: begin with the first write after this revision; usually that of a `range`.

        Returns:
            The writes that have been and those to come; at least the last 500 small ones are kept. It has no end of its
            own: `contextlib.aclosing` ends it with its block, or cancel the task.

        Raises:
            StoreCompacted: from the iterator, when the next writes are not kept any more: at the beginning, or later if
                its reader is too slow. Read `range` again and go on from its revision.
        """
        ...

    async def lease(self, ttl: float, /) -> Lease:
        """Begin a lease.

        Args:
            ttl: seconds that it lives without being renewed.

        Raises:
            ValueError: if that is not a positive number.
        """
        ...

    async def close(self) -> None:
        """Release what the store holds; whoever still waits for a watch gets `Unavailable`. Closing twice is fine."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Where time comes from."""

    def __call__(self) -> float:
        """Give monotonic seconds."""
        ...

    def wall(self) -> float:
        """Give seconds since the epoch, to be shown."""
        ...

    def on_jump(self, wake: Callable[[], object], /) -> None:
        """Have something called whenever time does not just pass: who waits for a moment looks again.

        Args:
            wake: may be called from any thread.
        """
        ...
