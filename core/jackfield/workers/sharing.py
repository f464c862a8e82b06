"""Plugins that live in one process: which do, and what each of them may ask of the host."""

import threading
from collections.abc import Hashable
from typing import Any

import attrs

from jackfield.errors import Unavailable
from jackfield.model.call import Call
from jackfield.workers.messages import Said, Spans, named_member
from jackfield.workers.pool import Member
from jackfield.workers.pools import WorkerPools
from jackfield.workers.services import HostServices


class SharedServices:
    """Answers a process in which several plugins live, each by its own services.

    Which of them asks, the process says: they have the same grants, and nothing keeps them apart in there.

    Attributes:
        members: number of a plugin there → its services.
    """

    def __init__(self) -> None:
        self.members: dict[int, HostServices] = {}

    def answer(self, kind: str, body: Any, call: Call | None) -> Any:
        """Answer a question in this thread; as `HostServices.answer`."""
        services, plain = self._whose(kind)
        return services.answer(plain, body, call)

    async def aanswer(self, kind: str, body: Any, call: Call | None) -> Any:
        """Do the same on an event loop."""
        services, plain = self._whose(kind)
        return await services.aanswer(plain, body, call)

    def said(self, said: Said, call: Call | None) -> None:
        """Log what a plugin said."""
        number = said.fields.pop("@", 0)
        self._of(number).said(said, call)

    def spanned(self, spans: Spans, call: Call) -> None:
        """Take in the spans of a call, for the plugin whose function it runs."""
        owner = next((each for each in self.members.values() if each.owns(call.name)), self.members[0])
        owner.spanned(spans, call)

    def start(self, name: str, body: Any) -> None:
        """Do something in a thread of its own."""
        self.members[0].start(name, body)

    def _whose(self, kind: str) -> tuple[HostServices, str]:
        number, plain = named_member(kind)
        if number not in self.members:
            raise Unavailable("worker", "it asked for a plugin that does not live there", "protocol")
        return self.members[number], plain

    def _of(self, number: Any) -> HostServices:
        return self.members.get(number if isinstance(number, int) else 0, self.members[0])


@attrs.frozen(eq=False)
class Shared:
    """Processes that several plugins live in.

    Attributes:
        key: what they have in common.
        pools: their workers.
        services: what they may ask.
        there: the plugins that live there; once one has gone no other joins, since its code is still in them.
        joining: whoever has one imported there holds it: their numbers are in that order.
    """

    key: Hashable
    pools: WorkerPools
    services: SharedServices
    there: set[Member] = attrs.field(factory=set)
    joining: threading.Lock = attrs.field(factory=threading.Lock)
