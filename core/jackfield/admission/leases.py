"""Quotas of tenants in several processes: each has a part on lease, the larger the more was asked of it lately."""

from collections.abc import Sequence
from typing import Final

import attrs

_EVEN: Final = 0.05
"""The part of each quota that is divided evenly, so that nobody's first calls are refused wherever they come."""

_STEPS: Final = 40  # parts are rounded to so many, so that noise moves nothing


@attrs.frozen
class Lease:
    """What one process has of a tenant's quotas.

    Attributes:
        rate: calls a second; None where there is no bound.
        concurrency: how many calls may be inside at once; None as above.
    """

    rate: float | None
    concurrency: int | None


def divide(
    rate: float | None, concurrency: int | None, asked: Sequence[float], held: Sequence[int]
) -> tuple[Lease, ...]:
    """Divide a tenant's quotas among processes.

    All rates add up to the whole one. Of `concurrency` each process has what is inside already, and at least one call:
    so it is exceeded where more processes are asked than it has calls. The one of those that nobody asks comes on top,
    since it is only there so that their first call is not refused; once that has come, it counts.

    Args:
        rate: calls a second, of all; None for no bound.
        concurrency: how many calls may be inside at once, of all; None for no bound.
        asked: how much was asked of each process lately.
        held: how many calls are inside in each.

    Examples:
        >>> [lease.rate for lease in divide(100.0, None, [30.0, 10.0], [0, 0])]
        [73.75, 26.25]
        >>> [lease.concurrency for lease in divide(None, 10, [0.0, 9.0], [4, 1])]
        [4, 6]
    """
    parts = _parts(asked)
    even = _EVEN / len(parts)
    rates = [None if rate is None else rate * (even + (1 - _EVEN) * part) for part in parts]
    if concurrency is None:
        return tuple(Lease(each, None) for each in rates)
    least = [max(inside, 1) for inside in held]
    spare = sum(not (inside or wanted) for inside, wanted in zip(held, asked, strict=True))
    more = _whole(max(concurrency + spare - sum(least), 0), parts)
    return tuple(Lease(each, few + further) for each, few, further in zip(rates, least, more, strict=True))


def _parts(asked: Sequence[float]) -> list[float]:
    """Give which part of all was asked of each."""
    whole = sum(asked)
    if not whole:
        return [1 / len(asked)] * len(asked)
    return [steps / _STEPS for steps in _whole(_STEPS, [each / whole for each in asked])]


def _whole(number: int, parts: Sequence[float]) -> list[int]:
    """Divide a whole number in parts of whole numbers, by largest remainder."""
    exact = [number * part for part in parts]
    found = [int(each) for each in exact]
    most = sorted(range(len(exact)), key=lambda place: found[place] - exact[place])
    for place in most[: number - sum(found)]:
        found[place] += 1
    return found
