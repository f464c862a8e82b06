"""Whose request begins next, when more have come at once than begin within a moment.

An event loop reads from every connection that has something to read, and then begins all that came: who keeps hundreds
of connections busy makes each of its rounds so much longer, and everybody else waits for whole rounds. So no more begin
in one round than take `ROUND` together. The others wait, each behind those of its own tenant, and are next by virtual
time, as calls are in `jackfield.admission`; whoever has had less than its share waits for nobody. While there is room
for all, requests are counted and nothing else.
"""

import asyncio
import threading
from time import perf_counter
from typing import Final

from jackfield import Host
from jackfield.admission import shares_of
from jackfield.admission.turns import Turns as Order

ROUND: Final = 0.001
"""Seconds that the requests of one round may take until each of them waits for something."""

NOBODY: Final = ""
"""Whose the requests are that are no tenant's."""

_FIRST: Final = 16  # requests of a round, before it is known what they take
_MOST: Final = 64
_SMOOTH: Final = 0.2  # how much of each round counts


class _Tenant:
    """One of those that make so many requests: what it has had, and what each of them adds to that."""

    __slots__ = ("price", "tag")

    def __init__(self, price: float) -> None:
        self.tag, self.price = 0.0, price


class Turns(threading.local):
    """Gives requests their turns; each thread has its own, for the loop that runs there.

    Args:
        host: whose tenants.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._configuration: object = None
        self._weights: dict[str, float] = {}
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Begin with a loop; what waits on another one has ended with it."""
        self._loop = loop
        self._tenants: dict[str, _Tenant] = {}
        self._order: Order[_Tenant, asyncio.Future[None]] = Order()
        self._waiting = 0
        self._begun = 0  # in this round
        self._since = 0.0  # when those began that had waited; 0.0 when there were none
        self._present = 0.0
        self._most, self._each = _FIRST, ROUND / _FIRST

    def ask(self, tenant: str) -> asyncio.Future[None] | None:
        """Take a turn.

        Args:
            tenant: whose request it is, or `NOBODY`.

        Returns:
            None when it may begin now, else what ends when it may.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        if not self._begun:
            loop.call_soon(self._next_round)
        elif self._waiting or self._begun >= self._most:
            return self._queued(self._tenants.get(tenant) or self._met(tenant), loop)
        self._begun += 1
        return None

    def _queued(self, tenant: _Tenant, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """Put a request in its queue, unless it is next anyway."""
        if tenant.tag <= self._present:
            tenant.tag = self._present + tenant.price
            return None
        turn: asyncio.Future[None] = loop.create_future()
        self._order.push(tenant, turn)
        self._waiting += 1
        return turn

    def _met(self, name: str) -> _Tenant:
        made = self._tenants[name] = _Tenant(1.0 / self._weights.get(name, 1.0))
        return made

    def _next_round(self) -> None:
        """Begin a round with those that have waited."""
        if self._since:
            each = (perf_counter() - self._since) / self._begun
            self._each += (each - self._each) * _SMOOTH
            self._most = max(1, min(_MOST, int(ROUND / self._each)))
        self._begun, self._since = 0, 0.0
        if not self._waiting:
            self._tenants.clear()  # whoever comes anew begins at the present
            return
        if self._host.configuration is not self._configuration:
            self._weigh()
        released = self._released()
        if (loop := self._loop) is not None and released:
            self._begun = len(released)
            loop.call_soon(self._note_time)
            for turn in released:
                turn.set_result(None)
            loop.call_soon(self._next_round)

    def _released(self) -> list[asyncio.Future[None]]:
        """Take those out of their queues whose turn it is."""
        released: list[asyncio.Future[None]] = []
        while len(released) < self._most and (tenant := self._order.first()) is not None:
            turn = self._order.pop(tenant)
            self._waiting -= 1
            if not turn.done():  # else it was cancelled
                self._present = max(self._present, tenant.tag)
                tenant.tag += tenant.price
                released.append(turn)
        return released

    def _note_time(self) -> None:
        """Note when those that have waited begin: only they are counted, whatever else a round is made of."""
        self._since = perf_counter()

    def _weigh(self) -> None:
        """Take over the weights of the configuration."""
        configuration = self._configuration = self._host.configuration
        shares = shares_of(None if configuration is None else configuration.tenants)
        self._weights = {name: share.weight for name, share in shares.items()}
        for name, tenant in self._tenants.items():
            tenant.price = 1.0 / self._weights.get(name, 1.0)
