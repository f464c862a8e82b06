"""The lines of memory: where growth leads, sample by sample, and what is read of a process."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.sandbox.memory import Growth, Lines, Reader, Verdict

FINE, SOFT, HARD = Verdict.FINE, Verdict.SOFT, Verdict.HARD


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100), (10, 100), (20, 100)], [FINE] * 3),
        ([(0, 849), (1, 850)], [FINE, SOFT]),
        ([(0, 999), (1, 1000)], [SOFT, HARD]),
        ([(0, 5000)], [HARD]),
        # What a guest needs to begin with is no leak, however fast it takes it.
        ([(0.0, 10), (0.1, 400), (0.2, 800), (5.0, 800)], [FINE] * 4),
        # 250 a second lead from 500 to the line in two seconds.
        ([(0, 0), (1, 250), (2, 500), (3, 750)], [FINE, FINE, SOFT, SOFT]),
        # As fast, and far from it.
        ([(0, 0), (2, 200), (4, 400)], [FINE] * 3),
        # Once soft, always soft: it is to be replaced.
        ([(0, 900), (1, 100), (50, 100)], [SOFT] * 3),
        ([(0, 800), (2, 400), (4, 100)], [FINE] * 3),
    ],
)
def test_verdicts(samples, expected):
    """The table: lines at 850 and 1000, seconds and bytes in, what is to be done out."""
    growth = Growth(Lines.of(1000))
    assert [growth.judge(now, used) for now, used in samples] == expected


@given(st.lists(st.tuples(st.floats(0.001, 10.0), st.integers(0, 2000)), min_size=1))
def test_the_lines_hold_for_any_growth(steps):
    """At the hard line it is killed, at the soft one it gets no more work, and it never goes back."""
    growth, now, was = Growth(Lines.of(1000)), 0.0, FINE
    for pause, used in steps:
        now += pause
        verdict = growth.judge(now, used)
        assert (verdict is HARD) == (used >= 1000)
        assert verdict is not FINE or used < 850
        assert was is not SOFT or verdict is not FINE
        was = verdict


@given(st.integers(200, 1000), st.floats(0.1, 1.0))
def test_a_steady_leak_is_soft_before_it_is_hard(rate, pause):
    """With samples at least once a second there is one between the lines, or a prediction before them."""
    growth, verdicts, now = Growth(Lines.of(10_000)), [], 0.0
    while not verdicts or verdicts[-1] is not HARD:
        verdicts.append(growth.judge(now, int(rate * now)))
        now += pause
    assert SOFT in verdicts


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_what_a_process_uses():
    """As the kernel counts it: it grows with what is written; of one that never was there is nothing."""
    with Reader(os.getpid()) as reader:
        before = reader.resident()
        kept = b"x" * (64 << 20)
        assert reader.resident() > before + (48 << 20), len(kept)
    with pytest.raises(ProcessLookupError):
        Reader(2**22 + 1)
