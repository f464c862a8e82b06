"""The moments of a cron expression: what is one, when clocks are put forward and back, and the latest of many."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.model.cron import Cron, cron_fault, zone_of

SPRING, AUTUMN = (2026, 3, 29), (2026, 10, 25)  # the days on which Berlin's clocks are put forward and back


def times(expression, day, timezone="Europe/Berlin"):
    """Give the local times of the two days that begin at noon before a day."""
    cron = Cron(expression, timezone)
    begin = datetime(*day, tzinfo=zone_of(timezone)).timestamp() - 43_200
    found = [datetime.fromtimestamp(at, cron.zone) for at in cron.recent(begin, begin + 2 * 86_400, 1000)]
    return [f"{at:%d %H:%M}{'+' if at.fold else ''}" for at in found]


@pytest.mark.parametrize(
    ("expression", "day", "local"),
    [
        ("30 2 * * *", SPRING, ["29 03:00", "30 02:30"]),  # it is left out, and runs right after
        ("30 2 * * *", AUTUMN, ["25 02:30", "26 02:30"]),  # it comes twice, and runs the first time
        ("0 2,3 * * *", SPRING, ["29 03:00", "30 02:00", "30 03:00"]),  # both fall together, and run once
        ("15 1 * * *", SPRING, ["29 01:15", "30 01:15"]),
        ("15 3 * * *", AUTUMN, ["25 03:15", "26 03:15"]),
        ("*/30 2 * * *", SPRING, ["30 02:00", "30 02:30"]),  # by real time: there is no such hour
        ("*/30 2 * * *", AUTUMN, ["25 02:00", "25 02:30", "25 02:00+", "25 02:30+", "26 02:00", "26 02:30"]),
    ],
)
def test_the_days_on_which_clocks_change(expression, day, local):
    """As Debian's cron has it."""
    assert times(expression, day) == local


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_every_hour_is_every_hour(day, hours):
    """A day has as many runs as it has hours."""
    today = f"{day[2]} "
    assert len([at for at in times("0 * * * *", day) if at.startswith(today)]) == hours


EXPRESSIONS = ["30 2 * * *", "0 * * * *", "*/7 1-3 * * *", "0 2,3 * * SUN", "59 23 L * *", "15 */6 28-31 3,10 *"]


@settings(deadline=None)
@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([SPRING, AUTUMN]),
    st.integers(-200_000, 200_000),
    st.integers(0, 400_000),
    st.integers(1, 40),
)
def test_whoever_looks_from_wherever_sees_the_same_moments(expression, day, offset, length, most):
    """Hosts that start at different times plan the same runs, and the latest few are the end of all."""
    cron = Cron(expression, "Europe/Berlin")
    begin = datetime(*day, tzinfo=UTC).timestamp() - 400_000
    whole = cron.recent(begin, begin + 1_200_000, 100_000)
    since = begin + 400_000 + offset
    until = since + length
    assert cron.recent(since, until, most) == [at for at in whole if since < at <= until][-most:]
    assert cron.after(since) == next((at for at in whole if at > since), cron.after(since))


def test_the_latest_of_years_is_found_without_counting_them_all():
    """A host that was off for ten years, with a run each second."""
    cron = Cron("* * * * * *")
    assert cron.recent(0.0, 315_360_000.0, 3) == [315_359_998.0, 315_359_999.0, 315_360_000.0]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("15 3 * * *", None),
        ("*/5 8-18 * * MON-FRI", None),
        ("0 12 * * MON#2", None),
        ("30 15 3 * * *", None),
        ("0 0 29 2 *", None),
        ("", "it has no five fields"),
        ("15 3 * *", "it has no five fields"),
        ("@hourly", "it has no five fields"),
        ("60 * * * *", "its minute is wrong"),
        ("x * * * *", "its minute is wrong"),
        ("0 24 * * *", "its hour is wrong"),
        ("0 0 32 * *", "its day of month is wrong"),
        ("0 0 * 13 *", "its month is wrong"),
        ("0 0 * * FRY", "its day of week is wrong"),
        ("0 0 30 2 *", "it never comes: no such month has that day"),
        ("0 0 31 4,6,9,11 *", "it never comes: no such month has that day"),
        ("* * */20 * 1L", "it never comes, as far as the next fifty years go"),
    ],
)
def test_what_is_wrong_with_an_expression(expression, reason):
    """And a way to mend it."""
    fault = cron_fault(expression)
    assert (fault and fault[0]) == reason
    assert fault is None or fault[1]


@pytest.mark.parametrize("name", ["Europe/Berln", "Europe", "../x", "/etc/passwd", "a\0b", ""])
def test_an_unknown_time_zone(name):
    """Also one that is a path."""
    with pytest.raises(LookupError):
        zone_of(name)
