"""Exact tail probabilities of counts: hypergeometric and binomial, for millions of calls, without tables or a library.

Only the first term of a tail needs factorials (`lgamma`); each further one is the last times a fraction. A tail is
summed away from the distribution's peak, where terms only shrink, until they no longer change the sum: some thousand
terms at most. Relative error: below 1e-11 for a thousand calls, 1e-7 for a million.
"""

from collections.abc import Callable
from math import exp, lgamma, log, log1p

_NEGLIGIBLE = 1e-17


def excess(errors: int, calls: int, other_errors: int, other_calls: int) -> float:
    """Give the p-value of Fisher's exact test, one-sided: is the first group's error rate the higher one?

    Args:
        errors: failed calls of the first group.
        calls: all calls of the first group.
        other_errors: failed calls of the second group.
        other_calls: all calls of the second group.

    Returns:
        How likely it is, when both groups fail alike, that at least so many of all failed calls are the first group's.

    Examples:
        >>> round(excess(3, 4, 1, 4), 6)  # the lady tasting tea, three cups of four right
        0.242857
    """
    population, marked = calls + other_calls, errors + other_errors
    low, high = max(0, marked - other_calls), min(marked, calls)

    def term(x: int) -> float:
        return exp(_choices(calls, x) + _choices(other_calls, marked - x) - _choices(population, marked))

    def rise(x: int) -> float:
        return (marked - x) * (calls - x) / ((x + 1) * (other_calls - marked + x + 1))

    if errors <= low:
        return 1.0
    return _upper_tail(errors, low, high, marked * calls / population, term, rise)


def at_least(count: int, calls: int, rate: float) -> float:
    """Give the probability that at least so many of the calls do what each does with a given probability.

    Args:
        count: how many.
        calls: of how many.
        rate: the probability of each, above 0 and below 1.

    Examples:
        >>> round(at_least(1, 20, 0.05), 6)
        0.641514
    """

    def term(x: int) -> float:
        return exp(_choices(calls, x) + x * log(rate) + (calls - x) * log1p(-rate))

    def rise(x: int) -> float:
        return (calls - x) / (x + 1) * rate / (1.0 - rate)

    if count <= 0:
        return 1.0
    if count > calls:
        return 0.0
    return _upper_tail(count, 0, calls, calls * rate, term, rise)


def rank(calls: int, rate: float, risk: float) -> int:
    """Give the smallest count that is reached with no more probability than the risk.

    Of `calls` sorted values, the one of rank `rank(calls, 0.95, risk)` is at least the true 95th percentile, but for
    the risk; and the one of rank `rank(calls, 0.05, risk)` counted from the largest is at most that percentile.

    Args:
        calls: how many values there are.
        rate: the part of all values below the percentile; above it, when counting from the largest.
        risk: the accepted probability of being wrong, below one half.

    Returns:
        The rank, from 1; `calls + 1` when so few values cannot bound it.

    Examples:
        >>> rank(58, 0.95, 0.05), rank(59, 0.95, 0.05)  # 59 values: the largest is at least the p95, 19 times of 20
        (59, 59)
    """
    low, high = max(1, int(calls * rate)), calls + 1  # half of all outcomes reach the mean: the answer is above it
    while low < high:
        middle = (low + high) // 2
        if at_least(middle, calls, rate) <= risk:
            high = middle
        else:
            low = middle + 1
    return low


def error_rate_at_most(errors: int, calls: int, risk: float = 0.05) -> float:
    """Give the highest error rate that the calls leave possible (Clopper and Pearson's upper bound).

    Args:
        errors: failed calls.
        calls: all calls.
        risk: the accepted probability that the true rate is higher.

    Returns:
        The rate, from 0 to 1.

    Examples:
        No failure in a thousand calls proves 99.70 %, not 100 %:

        >>> 1 - round(error_rate_at_most(0, 1_000), 4)
        0.997
    """
    if errors >= calls:
        return 1.0
    low, high = errors / calls, 1.0
    while high - low > 1e-9 * high:  # the next halvings would show in no report
        middle = (low + high) / 2
        if 1.0 - at_least(errors + 1, calls, middle) > risk:
            low = middle
        else:
            high = middle
    return high


def _choices(n: int, k: int) -> float:
    """Give the logarithm of the number of ways to choose k of n."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _upper_tail(
    start: int, low: int, high: int, mean: float, term: Callable[[int], float], rise: Callable[[int], float]
) -> float:
    """Add up the terms from `start` to `high`; `rise(x)` is term(x + 1) / term(x)."""
    if start > mean:
        total = part = term(start)
        for x in range(start, high):
            part *= rise(x)
            total += part
            if part <= total * _NEGLIGIBLE:
                break
        return min(total, 1.0)
    # Below the mean the other tail is the short one.
    total = part = term(start - 1)
    for x in range(start - 2, low - 1, -1):
        part /= rise(x)
        total += part
        if part <= total * _NEGLIGIBLE:
            break
    return max(1.0 - total, 0.0)
