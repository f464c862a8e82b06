"""The line of each key in a valid TOML text."""

import tomllib

import pytest

from jackfield.config.lines import index_lines

TRICKY = '''\
# [comment] a = 1
title = "a # b [x] = 1"
[[plugin]]  # first
name = 'one'
text = """
[not.a.table]
key = "no"
\\""" quoted "" inside
""""
[plugin.functions]
"text.slugify" = "x"
a.b . "c.d" = 1
[plugin.options]
list = [
  1.5, # one, two ]
  { x = 1, y.z = "}" },
  [
    1979-05-27 07:32:00,
  ],
]
literal = \'\'\'
[x]
\'\'\'\'
after = true
[[plugin]]
[[plugin.sub]]
k = +inf
[[plugin.sub]]
k = 1
[plugin.sub.deep]
x = ""
[ routes . "a\\tb" ]
e = {}
f = []
'''


def _paths(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


def test_every_key_of_a_tricky_text_has_its_line():
    """Strings over several lines, comments, dotted and quoted keys, nested arrays and inline tables mislead nobody."""
    lines = index_lines(TRICKY)
    assert set(lines) == set(_paths(tomllib.loads(TRICKY)))
    options = ("plugin", 0, "options")
    expected = {
        ("title",): 2,
        ("plugin",): 3,
        ("plugin", 0): 3,
        ("plugin", 0, "name"): 4,
        ("plugin", 0, "text"): 5,
        ("plugin", 0, "functions"): 10,
        ("plugin", 0, "functions", "text.slugify"): 11,
        ("plugin", 0, "functions", "a", "b", "c.d"): 12,
        (*options, "list"): 14,
        (*options, "list", 0): 15,
        (*options, "list", 1): 16,
        (*options, "list", 1, "x"): 16,
        (*options, "list", 1, "y", "z"): 16,
        (*options, "list", 2): 17,
        (*options, "list", 2, 0): 18,
        (*options, "literal"): 21,
        (*options, "after"): 24,
        ("plugin", 1): 25,
        ("plugin", 1, "sub", 0): 26,
        ("plugin", 1, "sub", 0, "k"): 27,
        ("plugin", 1, "sub", 1): 28,
        ("plugin", 1, "sub", 1, "k"): 29,
        ("plugin", 1, "sub", 1, "deep", "x"): 31,
        ("routes",): 32,
        ("routes", "a\tb"): 32,
        ("routes", "a\tb", "e"): 33,
        ("routes", "a\tb", "f"): 34,
    }
    assert {path: lines[path] for path in expected} == expected


def test_windows_line_ends_count_alike():
    """The same text with CRLF has the same lines."""
    assert index_lines(TRICKY.replace("\n", "\r\n")) == index_lines(TRICKY)


def test_only_line_feeds_end_lines():
    """Separators that Python's `splitlines` knows, and editors do not, are part of a string."""
    assert index_lines('a = "\u2028\u0085"\nb = 1')[("b",)] == 2


@pytest.mark.parametrize("text", ["", "[", "[[a", "a", "a = [", "a = {", 'a = "', "= = ]", "a..b = 1\n]]"])
def test_a_text_that_is_not_toml_ends_the_scan_without_an_error(text):
    """It is not meant for such a text, but never hangs or raises."""
    assert isinstance(index_lines(text), dict)
