"""Several plugins in one process: what a further one has of the link that all of them use."""

from typing import Any

from jackfield.workers.channel import Channel
from jackfield.workers.inside.link import Link


class MemberLink(Link):
    """The link of a plugin that lives in a process with others: what it asks and says has its number on it.

    Args:
        first: that of the process.
        number: of the plugin there.
    """

    def __init__(self, first: Link, number: int) -> None:
        self._first, self._number = first, number

    @property
    def side(self) -> Channel[Any]:  # type: ignore[override]  # there is one for all of them
        """The channel for everything that is no call."""
        return self._first.side

    def ask(self, kind: str, body: Any, what: str, deadline: float | None = None, *, member: int = 0) -> Any:
        """Ask the host something; as `Link.ask`."""
        return self._first.ask(kind, body, what, deadline, member=member or self._number)

    async def aask(self, kind: str, body: Any, what: str, *, member: int = 0) -> Any:
        """Do the same without blocking the running event loop."""
        return await self._first.aask(kind, body, what, member=member or self._number)

    def say(
        self, level: str, text: str, fields: dict[str, Any], where: tuple[str, str, int], *, member: int = 0
    ) -> None:
        """Have the host log something; as `Link.say`."""
        self._first.say(level, text, fields, where, member=member or self._number)
