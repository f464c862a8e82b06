"""Quotas on lease: what several processes have of them together, and who has how much."""

from hypothesis import given
from hypothesis import strategies as st

from jackfield.admission.leases import divide
from jackfield.admission.quota import Bucket

PROCESSES = st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), min_size=1, max_size=12)


@given(processes=PROCESSES, rate=st.floats(0.001, 1e6))
def test_rates_add_up(processes, rate):
    """However much is asked of whom, all have the whole rate, and each has some of it."""
    asked, held = zip(*processes, strict=True)
    rates = [lease.rate for lease in divide(rate, None, asked, held)]
    assert abs(sum(rates) - rate) <= rate * 1e-9
    assert min(rates) >= rate * 0.05 / len(asked) * 0.999


@given(processes=PROCESSES, concurrency=st.integers(1, 1_000))
def test_concurrency_is_all_there_and_little_more(processes, concurrency):
    """More where more is inside already, where too many are asked, and one of each that nobody asks."""
    asked, held = zip(*processes, strict=True)
    leases = [lease.concurrency for lease in divide(None, concurrency, asked, held)]
    idle = [not (inside or wanted) for inside, wanted in zip(held, asked, strict=True)]
    least = sum(max(inside, 1) for inside in held)
    assert sum(leases) == max(concurrency + sum(idle), least)
    assert all(lease >= max(inside, 1) for lease, inside in zip(leases, held, strict=True))


def test_who_is_asked_alone_has_nearly_all():
    """Of one of five, as for a tenant with one connection."""
    leases = divide(100.0, 50, [0.0, 40.0, 0.0, 0.0, 0.0], [0, 3, 0, 0, 0])
    assert leases[1].rate > 95
    assert [lease.concurrency for lease in leases] == [1, 50, 1, 1, 1]
    small = divide(None, 2, [0.0, 40.0, 40.0, 40.0, 0.0], [0, 1, 0, 0, 0])
    assert [lease.concurrency for lease in small] == [1] * 5


def test_another_rate_brings_no_second_burst():
    """What was taken is gone, and less is less at once."""
    bucket = Bucket(10.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(10)] == [0.0] * 10
    bucket.change(100.0, now=0.0)
    assert bucket.take(0.0) > 0
    assert bucket.take(0.01) == 0.0
    bucket.change(2.0, now=10.0)
    assert [bucket.take(10.0) > 0 for _ in range(3)] == [False, False, True]
