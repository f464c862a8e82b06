"""Listings: which rows match, and what a terminal is spared."""

import pytest

from jackfield.cli.entries import Row, matching
from jackfield.text import printable

ROWS = [
    Row("text.slugify", "function", "my-text"),
    Row("risk.score", "function", "bank"),
    Row("audit", "hook", "trail"),
]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("slug", ["text.slugify"]),
        ("my-text", ["text.slugify"]),
        ("t", ["text.slugify", "audit"]),
        ("text.*", ["text.slugify"]),
        ("*score", ["risk.score"]),
        ("scor?", []),
        ("r[aeiou]sk.*", ["risk.score"]),
        ("nothing", []),
    ],
)
def test_a_word_matches_a_part_and_a_pattern_the_whole(pattern, names):
    """Of the entry's name or the plugin's."""
    assert [row.name for row in matching(ROWS, pattern)] == names


def test_what_would_do_something_to_a_terminal_is_escaped():
    """And nothing else is."""
    assert printable("Grüße \x1b[31m\r\u202e") == "Grüße \\x1b[31m\\r\\u202e"
    assert printable("two\nlines\x07", keep="\n") == "two\nlines\\x07"
    assert printable("\udc80") == "\\udc80"
