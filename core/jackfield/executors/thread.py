"""The executor `thread`: sync functions in daemon threads, so that their callers are freed at the deadline."""

from collections.abc import Callable
from typing import Any

import attrs

from jackfield.executors.seats import LINGERING, PENDING, SEATS, Seats
from jackfield.model.call import Call, begins
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.ports import BoundExecutor, ExecutorStats
from jackfield.runtime.pool import Pool


class ThreadExecutor:
    """Run sync functions in threads; adapter of `ports.Executor`.

    Args:
        pool: where the threads come from; the default is a pool of its own.
        seats: how many functions may run for callers that wait.
        lingering: how many threads may go on without a caller beside them.
        pending: how many calls may wait for a seat.
    """

    injects = False

    def __init__(
        self, pool: Pool | None = None, *, seats: int = SEATS, lingering: int = LINGERING, pending: int = PENDING
    ) -> None:
        self._seats = Seats(pool or Pool(), seats=seats, lingering=lingering, pending=pending)

    def refusal(self, spec: FunctionSpec) -> str:
        """Refuse async functions: what they await, and what is injected into them, belongs to the host's event loop."""
        if spec.colour is Colour.ASYNC:
            return (
                "it is async, and threads run sync functions: leave `executor` out to run it on the host's event loop, "
                "or declare it with `def`"
            )
        return ""

    def bind(self, spec: FunctionSpec, local: Callable[[Call], Any]) -> BoundExecutor:
        """Bind to one function."""
        del spec
        return _Bound(self._seats, local)

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment; `idle` are the threads that wait in the pool, whoever uses them next."""
        return self._seats.stats()

    def close(self) -> int:
        """Refuse new calls and those that wait for a seat.

        Returns:
            How many threads still run something.
        """
        return self._seats.close()


@attrs.frozen
class _Bound:
    _seats: Seats
    _local: Callable[[Call], Any]

    def run(self, call: Call, /) -> Any:
        """Wait for the result, at most until the call's deadline."""
        return self._seats.run(call, self._body())

    async def arun(self, call: Call, /) -> Any:
        """Await the result."""
        return await self._seats.arun(call, self._body())

    def _body(self) -> Callable[[Call], Any]:
        check, local = begins.get(), self._local
        if check is None:
            return local

        def checked(call: Call) -> Any:
            check(call)
            return local(call)

        return checked

    def close(self) -> None:
        """Do nothing: the threads are everybody's."""
