"""How what is being done came into the process."""

from contextvars import ContextVar
from typing import Final

import msgspec


class Entrance(msgspec.Struct, frozen=True):
    """Where a request has come in, and from whom; a door sets it before it asks whose the request is.

    Attributes:
        door: the kind of door; "" for what this process does by itself.
        client: the address of whoever asks, as far as the door knows it.
        subject: the subject of a client certificate that the door has verified, as RFC 4514 writes it.
        asked: what for.
        since: when, by `perf_counter`; 0 where that is not known.
    """

    door: str = ""
    client: str = ""
    subject: str = ""
    asked: str = ""
    since: float = 0.0


entrance: Final[ContextVar[Entrance]] = ContextVar("jackfield_entrance", default=Entrance())  # noqa: B039  # frozen
