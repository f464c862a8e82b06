"""Where the completed steps of a flow are kept, so that a run that is begun again does not do them twice."""

from contextvars import ContextVar
from typing import Any, Final, Protocol


class Nothing:
    """The type of `NOTHING`."""

    def __repr__(self) -> str:
        """Show the name."""
        return "NOTHING"


NOTHING: Final = Nothing()
"""What is recorded of a step that has not been completed; a result may be None."""


class Journal(Protocol):
    """What a durable run keeps of its steps.

    A step is named as in the flow; each item of one with `each` is a step of its own, as in `send[3]`.
    """

    async def recorded(self, step: str, /) -> Any:
        """Give the result of a step that was completed before, as plain data; `NOTHING` if it was not."""
        ...

    async def begin(self, step: str, function: str, /, *, idempotent: bool) -> None:
        """Take note that a step begins; only then its function is called.

        Args:
            step: it.
            function: what it calls.
            idempotent: whether that may be called again when its end is not known.

        Raises:
            JackfieldError: if it must not be called, since it was begun before and its end is not known. The run ends.
        """
        ...

    async def record(self, step: str, result: Any, /) -> None:
        """Keep the result of a step; when this has returned, the step is never done again.

        Args:
            step: it.
            result: plain data, which is not changed later.
        """
        ...

    async def failed(self, step: str, error: BaseException, /) -> None:
        """Take note that a step has failed: its end is known, and a later run does it again."""
        ...


current_journal: Final[ContextVar[Journal | None]] = ContextVar("jackfield_journal", default=None)
"""The journal of the call that is about to be made, and of that one alone: a flow that such a call calls is a part of
one of its steps. A flow without one runs in memory."""
