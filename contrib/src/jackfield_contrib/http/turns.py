"""Whose request begins next, when more have come at once than begin within a moment.

An event loop reads from every connection that has something to read, and then begins all that came: who keeps hundreds
of connections busy makes each of its rounds so much longer, and everybody else waits for whole rounds. So no more begin
in one round than take `SHARED` together. The others wait, each behind those of its own tenant, and are next by virtual
time, as calls are in `jackfield.admission`; whoever has had less than its share waits for nobody. While there is room
for all, requests are counted and nothing else.
"""

import asyncio
from asyncio import get_running_loop
from time import perf_counter
from typing import Final

from jackfield import Host
from jackfield.admission import shares_of
from jackfield.admission.turns import Turns as Order

SHARED: Final = 0.001
"""Seconds that the requests of one round may take until each of them waits for something."""

ALONE: Final = 0.004
"""The same while there is one tenant only: to have its requests wait for one another is work for nothing."""

NOBODY: Final = ""
"""Whose the requests are that are no tenant's."""

_FEW: Final = 7  # requests, for which no round is ended: so few are begun at once most of the time
_REMEMBERED: Final = 10.0  # seconds for which a second tenant counts
_FIRST: Final = SHARED / 16  # seconds that a request takes, before that is known
_LEAST: Final = SHARED / 64  # and at least
_SMOOTH: Final = 0.2  # how much of each round counts


class _Tenant:
    """One of those that make so many requests: what it has had, and what each of them adds to that."""

    __slots__ = ("price", "tag")

    def __init__(self, price: float) -> None:
        self.tag, self.price = 0.0, price


class Turns:
    """Gives the requests of an application their turns, on whichever loop they come.

    Args:
        host: whose tenants.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loops: dict[asyncio.AbstractEventLoop, _Rounds] = {}
        self._latest: tuple[asyncio.AbstractEventLoop | None, _Rounds] = None, _Rounds(host)

    def ask(self, tenant: str) -> asyncio.Future[None] | None:
        """Take a turn.

        Args:
            tenant: whose request it is, or `NOBODY`.

        Returns:
            None when it may begin now, else what ends when it may.
        """
        loop = get_running_loop()
        known, rounds = self._latest
        if known is not loop:
            rounds = self._rounds_of(loop)
        if tenant != rounds.latest:
            rounds.changed(tenant)
        begun = rounds.begun
        if begun == rounds.look:
            loop.call_soon(rounds.next)
        elif rounds.waiting or begun >= rounds.most:
            return rounds.queued(tenant)
        rounds.begun = begun + 1
        return None

    def ask_again(self, tenant: str) -> asyncio.Future[None] | None:
        """Take a turn for a further call of a request: as for `ask`, unless there is one tenant only."""
        known, rounds = self._latest
        return None if rounds.alone and known is get_running_loop() else self.ask(tenant)

    def _rounds_of(self, loop: asyncio.AbstractEventLoop) -> "_Rounds":
        """Give the rounds of a loop; those of loops that have ended are forgotten."""
        rounds = self._loops.get(loop)
        if rounds is None:
            self._loops = {each: had for each, had in self._loops.items() if not each.is_closed()}
            rounds = self._loops[loop] = _Rounds(self._host)
        self._latest = loop, rounds
        return rounds


class _Rounds:
    """The rounds of one loop.

    Args:
        host: whose tenants.

    Attributes:
        latest: the tenant that has come last.
        begun: how many requests have begun in this round, or in some before it when they were few.
        look: at how many of them a next round is prepared.
        most: how many may begin.
        alone: whether there is one tenant only.
        waiting: how many wait.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.latest: str | None = None
        self.begun = self.waiting = 0
        self._each = _FIRST
        self.most = int(ALONE / _FIRST)
        self.look = _FEW
        self.alone = True
        self._mixed = float("-inf")  # when there was a second tenant
        self._configuration: object = None
        self._weights: dict[str, float] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._order: Order[_Tenant, asyncio.Future[None]] = Order()
        self._present = 0.0
        self._waited = 0  # how many of this round had to wait
        self._since = 0.0  # when they began; 0.0 when there were none

    def changed(self, tenant: str) -> None:
        """Take note that a request is not of the tenant that the one before it was of."""
        if self.latest is not None:
            self._mixed, self.alone = perf_counter(), False
        self.latest = tenant

    def queued(self, name: str) -> asyncio.Future[None] | None:
        """Put a request in its queue, unless it is next anyway."""
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(1.0 / self._weights.get(name, 1.0))
        if tenant.tag <= self._present:
            tenant.tag = self._present + tenant.price
            return None
        turn: asyncio.Future[None] = get_running_loop().create_future()
        self._order.push(tenant, turn)
        self.waiting += 1
        return turn

    def next(self) -> None:
        """Begin a round, with those that have waited."""
        now = perf_counter()
        if self._since:
            each = (now - self._since) / self._waited
            self._each += (each - self._each) * _SMOOTH
        self.alone = now - self._mixed > _REMEMBERED
        whole = ALONE if self.alone else SHARED
        self.most = max(1, int(whole / max(self._each, _LEAST)))
        self.look = min(_FEW, self.most - 1)
        self.begun, self._since = 0, 0.0
        if not self.waiting:
            if self._tenants:
                self._tenants.clear()  # whoever comes anew begins at the present
            return
        if self._host.configuration is not self._configuration:
            self._weigh()
        if released := self._released():
            soon, self._waited = get_running_loop().call_soon, len(released)
            self.begun = max(self._waited, self.look + 1)
            soon(self._note_time)
            for turn in released:
                turn.set_result(None)
            soon(self.next)

    def _released(self) -> list[asyncio.Future[None]]:
        """Take those out of their queues whose turn it is."""
        released: list[asyncio.Future[None]] = []
        while len(released) < self.most and (tenant := self._order.first()) is not None:
            turn = self._order.pop(tenant)
            self.waiting -= 1
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
