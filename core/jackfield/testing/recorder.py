"""The observer that remembers: the fake that ships with the `Observer` port."""

from typing import Any

import attrs

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.model.spec import FunctionSpec


@attrs.frozen
class Seen:
    """One call as an observer saw it.

    Attributes:
        function: `name@version`.
        call: the call.
        outcome: how it ended.
        error: what its caller got raised, or None.
        duration: seconds.
    """

    function: str
    call: Call
    outcome: Outcome
    error: BaseException | None
    duration: float


class Recorder:
    """Remembers every call, in the order in which they ended.

    Examples:
        >>> from jackfield import Host
        >>> recorder = Recorder()
        >>> with Host(observers=[recorder]) as host:
        ...     _ = host.register("text.shout", str.upper)
        ...     _ = host.call("text.shout", "hello")
        >>> [(seen.function, seen.outcome.value) for seen in recorder.calls]
        [('text.shout@0', 'ok')]
    """

    def __init__(self) -> None:
        self.calls: list[Seen] = []

    def bind(self, spec: FunctionSpec) -> "_Bound":
        """Bind to one function version."""
        return _Bound(self.calls, spec.key)


class _Bound:
    def __init__(self, calls: list[Seen], function: str) -> None:
        self._calls = calls
        self._function = function

    def start(self, call: Call) -> None:
        """See a call begin: nothing to remember yet."""

    def finish(self, _state: Any, call: Call, outcome: Outcome, error: BaseException | None, duration: float) -> None:
        """Remember the call."""
        self._calls.append(Seen(self._function, call, outcome, error, duration))

    def close(self) -> None:
        """Forget nothing: the test wants to look at it."""
