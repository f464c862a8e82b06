"""A short campaign; `nox -s chaos` runs long ones."""

import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[1] / "chaos"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers, and what they have started")
@pytest.mark.timeout(300)
def test_nothing_that_was_accepted_is_lost_doubled_or_done_again(tmp_path, monkeypatch):
    """Whatever is done to two hosts that share a store."""
    monkeypatch.syspath_prepend(str(CHAOS))
    from campaign import Campaign  # noqa: PLC0415  # it is no package

    report = Campaign(tmp_path, seed=20261126).run(
        rounds=8, faults=("kill", "kill all", "kill a worker", "slow", "away", "full", "no room")
    )
    assert report.ok, report
    assert report.accepted > 100
    assert report.statuses["succeeded"] > 0.9 * report.accepted
