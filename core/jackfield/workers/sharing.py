"""Plugins that live in one process: which do, and what each of them may ask of the host."""

import threading
from collections.abc import Hashable
from typing import Any

import attrs

from jackfield.errors import Unavailable
from jackfield.model.call import Call
from jackfield.workers.members import Member
from jackfield.workers.messages import Request, Said, Spans
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

    def answer(self, request: Request, body: Any, call: Call | None) -> Any:
        """Answer a question in this thread; as `HostServices.answer`."""
        return self._whose(request).answer(request.kind, body, call)

    async def aanswer(self, request: Request, body: Any, call: Call | None) -> Any:
        """Do the same on an event loop."""
        return await self._whose(request).aanswer(request.kind, body, call)

    def said(self, said: Said, call: Call | None) -> None:
        """Log what a plugin said."""
        self.members.get(said.member, self.members[0]).said(said, call)

    def spanned(self, spans: Spans, call: Call) -> None:
        """Take in the spans of a call, for the plugin whose function it runs."""
        owner = next((each for each in self.members.values() if each.owns(call.name)), self.members[0])
        owner.spanned(spans, call)

    def start(self, name: str, body: Any) -> None:
        """Do something in a thread of its own."""
        self.members[0].start(name, body)

    def _whose(self, request: Request) -> HostServices:
        if request.member not in self.members:
            raise Unavailable("worker", "it asked for a plugin that does not live there", "protocol")
        return self.members[request.member]


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
