"""A call: the one value that is built for each call, and the context variable that carries it."""

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jackfield.model.headers import Headers
from jackfield.model.progress import listening, progress_of

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from jackfield.model.seen import Seen

NO_HEADERS: Mapping[str, str] = Headers({})

DRAW: Final = 30
"""Bits of what a share is compared with: the most that are one digit of Python's integers, which makes them quick."""

_REST: Final = 128 - DRAW
_numbering = threading.Lock()


def new_number() -> int:
    """Make a random number of 128 bits: unlikely to come twice, and no secret."""
    return getrandbits(128)


def draw_of(number: int) -> int:
    """Give what a share is compared with, from 0 to 2**30 - 1, for a call of this number."""
    return number >> _REST


class Call(msgspec.Struct, frozen=True, eq=False):
    """Who calls what, for whom, until when.

    A frozen `msgspec.Struct`, because it is the only object built on every call (54 ns; an attrs class takes nine times
    that). It never refers to the function itself, so that keeping a call does not keep an unregistered function alive.

    Attributes:
        name: the function's name; "" for the ambient call that `deadline()` opens outside any function.
        payload: what was passed; shown by no `repr` and no log.
        version: the version that runs; before routing, the one asked for, or "".
        revision: the revision of the snapshot that the whole call sees.
        deadline: absolute time on `time.monotonic`'s clock, in seconds, or None.
        tenant: whom the call is for, or None.
        rule: why this version runs: "asked", "header", "set" (that of a surrounding function of the same plugin),
            "tenant", "share", or "" for the default.
        number: the identifier as a number; made when first asked for, since most calls never are. Below 0, only what a
            share was compared with is drawn, as its complement.
        headers: as the caller gave them; found by their names in any case.
        parent: the call in whose body this one was made, or None.
        attempt: 1 for the first try.
        trace: the span this call runs in, or its parent's when no span of its own is recorded; None when nothing is
            traced.
        seen: what is noted of it while it is under way: calls in its body, queues that it has waited in. Not for
            functions.
    """

    name: str
    payload: Any = None
    version: str = ""
    revision: int = 0
    deadline: float | None = None
    tenant: str | None = None
    rule: str = ""
    number: int | None = None
    headers: Mapping[str, str] = NO_HEADERS
    parent: "Call | None" = None
    attempt: int = 1
    trace: "SpanContext | None" = None
    seen: "Seen | None" = None

    @property
    def id(self) -> str:
        """A random identifier, 32 hexadecimal digits."""
        number = self.number
        if number is None or number < 0:
            with _numbering:
                number = self.number
                if number is None:
                    number = new_number()
                elif number < 0:
                    number = (~number << _REST) | getrandbits(_REST)
                msgspec.structs.force_setattr(self, "number", number)
        return f"{number:032x}"

    @property
    def draw(self) -> int:
        """What a share is compared with, from 0 to 2**30 - 1: the same for a root call and all calls below it."""
        return draw_of(int(self.root.id, 16))

    @property
    def root(self) -> "Call":
        """The outermost call of the chain that this one belongs to."""
        call = self
        while call.parent is not None:
            call = call.parent
        return call

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Report how far this call has come, for whoever listens: a client of a door, or `pluginctl call`.

        Call it as often as is convenient: what is told is the last report, at the pace of whoever listens. Where nobody
        does, nothing happens. As `current_call()`, it belongs to the context of the call: a thread that the function
        starts itself reports through `contextvars.copy_context().run`.

        Args:
            done: how much is done.
            total: how much there is; None when that is not known.
            text: what it is at; of more than 1,000 characters the first are told.

        Raises:
            TypeError: when a number is none, or the text no `str`.
            ValueError: when a number is not finite.

        Examples:
            >>> Call("import").progress(3, 10, "airports")
        """
        said = progress_of(self.name, done, total, text)  # a mistake is one whether or not somebody listens
        listener = listening.get()
        if listener is not None:
            listener(said)

    def __repr__(self) -> str:
        """Show everything but the payload, which may hold secrets, and the headers, which often do."""
        return f"Call({self.name}@{self.version}, id={self.id}, tenant={self.tenant!r}, deadline={self.deadline})"


current: ContextVar[Call | None] = ContextVar("jackfield_call", default=None)
"""The call whose function is running in this context. For jackfield itself; functions use `current_call()`."""

begins: ContextVar[Callable[[Call], None] | None] = ContextVar("jackfield_begins", default=None)
"""What raises if the calls of this context must not begin any more; asked once they have waited for a place."""

came_in: ContextVar[tuple[str, str, float] | None] = ContextVar("jackfield_came_in", default=None)
"""What the calls of this context came in by: the kind of door, what was asked of it, and when, by `perf_counter`."""

in_step: ContextVar[tuple[Call | None, str] | None] = ContextVar("jackfield_step", default=None)
"""The call of a flow, and its step that this context is of; calls whose parent that call is are the step's."""


def current_call() -> Call:
    """Give the call whose function is running.

    Returns:
        The current `Call`: id, trace, tenant, version, attempt, headers.

    Raises:
        LookupError: outside any function of a host.
    """
    call = current.get()
    while call is not None and not call.name:  # an ambient call of `deadline()`, opened outside or inside a function
        call = call.parent
    if call is None:
        raise LookupError("current_call() is for the body of a function that a host runs; no call is under way here")
    return call
