"""What is read from another process is made of no more lists and tables than may be, and that is known before."""

import datetime as dt
import decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.wire import crossing
from jackfield.wire.crossing import check_parts, pack, unpack
from jackfield.wire.values import PARTS

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=300)
    | st.sampled_from([bytes(65_536), bytes(range(256)) * 2])
    | st.dates()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
)
VALUES = st.recursive(LEAVES, lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts), max_leaves=20)


def parts(value):
    if isinstance(value, list):
        return 1 + sum(map(parts, value))
    return 1 + sum(map(parts, value.values())) if isinstance(value, dict) else 0


@settings(deadline=None)
@given(VALUES)
def test_they_are_counted_as_they_are(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossing, "_MOST", parts(value))
        check_parts(pack(value))
        if parts(value):
            patch.setattr(crossing, "_MOST", parts(value) - 1)
            with pytest.raises(ValueError, match="lists and tables"):
                check_parts(pack(value))


@pytest.mark.parametrize(
    "part", [b"\x80", b"\x90", b"\xdc\x00\x00", b"\xde\x00\x00", b"\xdd" + bytes(4), b"\xdf" + bytes(4)]
)
def test_too_many_are_refused(part):
    many = PARTS + 20_000
    with pytest.raises(ValueError, match="lists and tables"):
        unpack(b"\xdd" + many.to_bytes(4, "big") + part * many)


@settings(deadline=None)
@given(st.binary(), st.integers(0, 3))
def test_what_is_no_message_is_left_to_who_reads_it(data, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossing, "_MOST", most)
        try:
            check_parts(data)
        except ValueError as error:
            assert "lists and tables" in str(error)  # noqa: PT017  # or nothing


@pytest.mark.parametrize(
    "value",
    [
        bytes(range(256)) * 20_000,
        [float(each) + 0.1 for each in range(400_000)],
        ["aüß"] * 800_000,
        [decimal.Decimal("9.90"), dt.date(2026, 11, 26)] * 50_000,
    ],
    ids=["bytes", "floats", "texts", "extensions"],
)
def test_values_that_are_large_and_plain_cross(value):
    assert unpack(pack(value)) == value
    assert unpack(msgspec.Raw(pack(value))) == value
