"""The executor `inline`: sync functions where their caller is, async ones on the host's home loop."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.ports import BoundExecutor, ExecutorStats
from jackfield.runtime.home import HomeLoop


class InlineExecutor:
    """Run functions without a thread of their own; adapter of `ports.Executor`.

    A sync function runs in its caller's thread: `acall` of it holds up the event loop for as long as it takes, on the
    word of whoever wrote `executor="inline"` that it is short.

    Args:
        home: where async functions run.
    """

    injects = False

    def __init__(self, home: HomeLoop) -> None:
        self._home = home

    def refusal(self, spec: FunctionSpec) -> str:
        """Take every function."""
        del spec
        return ""

    def bind(self, spec: FunctionSpec, local: Callable[[Call], Any]) -> BoundExecutor:
        """Bind to one function; of a sync one `run` is the body itself, so that nothing is between."""
        return _AtHome(self._home, local) if spec.colour is Colour.ASYNC else _Here(local)

    def stats(self) -> ExecutorStats:
        """Give counts that are all zero: nothing waits here, and nobody counts."""
        return ExecutorStats()


@attrs.frozen
class _Here:
    run: Callable[[Call], Any]

    async def arun(self, call: Call, /) -> Any:
        """Run the body on the caller's loop."""
        return self.run(call)

    def close(self) -> None:
        """Do nothing."""


@attrs.frozen
class _AtHome:
    _home: HomeLoop
    _local: Callable[[Call], Any]

    def run(self, call: Call, /) -> Any:
        """Wait for the coroutine, from a thread without a running loop."""
        return self._home.call(call, self._local)

    def arun(self, call: Call, /) -> Awaitable[Any]:
        """Await the coroutine, here if this is the home loop."""
        return self._local(call) if self._home.is_here else self._home.hop(call, self._local)

    def close(self) -> None:
        """Do nothing: the loop is everybody's."""
