"""Whose turn it is: there is a queue for each tenant, and the one with the smallest tag is next."""

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar


class Tagged(Protocol):
    """A tenant.

    Attributes:
        tag: what it has had, by its weight.
    """

    tag: float


T = TypeVar("T", bound=Tagged)
W = TypeVar("W")


class Turns(Generic[T, W]):
    """What waits for one thing, as the calls of one function version do. For one thread at a time.

    A place in the heap that is too early is put right when it comes up, one that is too late by `sooner`: O(log n).
    """

    def __init__(self) -> None:
        self._queues: dict[T, deque[W]] = {}
        self._order: list[tuple[float, int, T]] = []
        self._places: dict[T, int] = {}  # the one entry of a tenant that counts
        self._numbers = count()

    @property
    def tenants(self) -> Iterable[T]:
        """Those that have calls here; false when nobody has."""
        return self._queues.keys()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._queues.values()))

    def push(self, tenant: T, waiter: W) -> None:
        """Put a call behind those of its tenant."""
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            self._place(tenant)
        queue.append(waiter)

    def sooner(self, tenant: T) -> None:
        """Take note that a tag has become smaller."""
        if tenant in self._queues:
            self._place(tenant)

    def _place(self, tenant: T) -> None:
        number = self._places[tenant] = next(self._numbers)
        heappush(self._order, (tenant.tag, number, tenant))

    def remove(self, tenant: T, waiter: W) -> bool:
        """Take a call out, wherever it is; tell whether it was there."""
        queue = self._queues.get(tenant)
        if queue is None or waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            self._out(tenant)
        return True

    def first(self) -> T | None:
        """Give the tenant whose turn it is; None if nobody waits."""
        order = self._order
        while order:
            tag, number, tenant = order[0]
            if self._places.get(tenant) == number and tag >= tenant.tag:
                return tenant
            heappop(order)
            if self._places.get(tenant) == number:  # it was served meanwhile
                self._place(tenant)
        return None

    def pop(self, tenant: T) -> W:
        """Take out the first call of a tenant."""
        queue = self._queues[tenant]
        waiter = queue.popleft()
        if not queue:
            self._out(tenant)
        return waiter

    def _out(self, tenant: T) -> None:
        del self._queues[tenant], self._places[tenant]
