"""Keys are paths, and a prefix ends where a segment does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.model.keys import KEY_LIMIT, check_key, check_prefix, within

_SEGMENTS = st.text("ab.0-", min_size=1, max_size=3).filter(lambda segment: segment not in {".", ".."})
_PATHS = st.lists(_SEGMENTS, min_size=1, max_size=4)


@settings(deadline=None)
@given(key=_PATHS, below=_PATHS)
def test_a_prefix_covers_what_is_below_its_path_segment_by_segment(key, below):
    """`state/bill/` does not reach `state/billing/x`; without the slash it is one key."""
    text, path = "/".join(key), "/".join(below)
    check_key(text)
    check_prefix(path)
    check_prefix(f"{path}/")
    assert within(text, f"{path}/") is (len(key) > len(below) and key[: len(below)] == below)
    assert within(text, path) is (key == below)
    assert within(text, "")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "it is empty"),
        ("a//b", "a segment is empty"),
        ("a/./b", "a segment is '.' or '..'"),
        ("a\tb", "not printable"),
        ("k" * (KEY_LIMIT + 1), "it has 1,025 bytes, 1,024 are allowed"),
        ("ü" * 513, "it has 1,026 bytes, 1,024 are allowed"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_key(key, reason):
    """And what one looks like; a long one is not repeated whole."""
    with pytest.raises(ValueError, match="is no key") as refused:
        check_key(key)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 250
