"""On which line each key of a TOML text stands.

`tomllib` gives no positions, and the style-preserving TOML libraries keep theirs to themselves; this scanner needs only
to be right for a text that `tomllib` has already accepted, which makes it small: it tells keys, headers, brackets and
strings apart and leaves every value unread.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from jackfield.config.problems import KeyPath

_TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]* )
    | (?P<string>  \"{3} (?: [^"\\]++ | \\. | "(?!"") )*+ \"{3,5}
                 | '{3}  (?: [^']++ | '(?!'') )*+ '{3,5}
                 | " (?: [^"\\\n]++ | \\. )*+ "
                 | ' [^'\n]* ' )
    | (?P<mark>    [][{}=,.\n] )
    | (?P<bare>    [^\s\[\]{}=,."'\#]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END = _Token("end", "", 0)


def index_lines(text: str) -> dict[KeyPath, int]:
    r"""Find the line of every key, table and array element.

    Args:
        text: a valid TOML document of bounded nesting (it is scanned by recursion).

    Returns:
        Path → line, 1-based: for a table where it is first mentioned, for an element of an array where it begins.

    Examples:
        >>> index_lines('discover = true\n[[plugin]]\nname = "a"\n')[("plugin", 0, "name")]
        3
    """
    return _Scanner(text).scan()


class PluginLines(Mapping[str, int]):
    """Plugin → the line of its `[[plugin]]`, looked for when somebody asks: it takes as long as reading the file does.

    Args:
        text: the file.
        names: of the plugins, in its order.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._text = text
        self._names = tuple(names)

    @cached_property
    def _lines(self) -> Mapping[str, int]:
        lines = index_lines(self._text)
        return {name: lines[("plugin", index)] for index, name in enumerate(self._names)}

    def __getitem__(self, name: str) -> int:
        """Give the line of a plugin."""
        return self._lines[name]

    def __iter__(self) -> Iterator[str]:
        """Walk the plugins."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count the plugins."""
        return len(self._names)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._sizes: dict[KeyPath, int] = {}  # of arrays of tables, the only arrays that headers can reach into

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while (token := self._peek()) is not _END:
            if token.text == "\n" or token.kind == "comment":
                self._take()
            elif token.kind == "mark" and token.text == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _take(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _skip(self, kind_or_text: str) -> bool:
        """Take the next token if it is a mark of that text."""
        token = self._peek()
        found = token.kind == "mark" and token.text == kind_or_text
        self._at += found
        return found

    def _skip_blank(self) -> None:
        while self._peek().text == "\n" or self._peek().kind == "comment":
            self._take()

    def _mark(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)

    def _header(self) -> KeyPath:
        line = self._take().line
        is_array = self._skip("[")
        *parents, last = self._key()
        self._skip("]")
        if is_array:
            self._skip("]")
        path: KeyPath = ()
        for part in parents:
            path = (*path, part)
            self._mark(path, line)
            if path in self._sizes:
                path = (*path, self._sizes[path] - 1)
        path = (*path, last)
        self._mark(path, line)
        if is_array:
            index = self._sizes.get(path, 0)
            self._sizes[path] = index + 1
            path = (*path, index)
            self._mark(path, line)
        return path

    def _key(self) -> list[str]:
        parts = [_key_part(self._take())]
        while self._skip("."):
            parts.append(_key_part(self._take()))
        return parts

    def _pair(self, table: KeyPath) -> None:
        line = self._peek().line
        path = table
        for part in self._key():
            path = (*path, part)
            self._mark(path, line)
        self._skip("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._skip("["):
            index = 0
            while not self._closed("]"):
                self._mark((*path, index), self._peek().line)
                self._value((*path, index))
                index += 1
        elif self._skip("{"):
            while not self._closed("}"):
                self._pair(path)
        else:  # a scalar: at least one token, and whatever a number or a date is split into
            self._take()
            while self._peek().kind == "bare" or (self._peek().kind == "mark" and self._peek().text == "."):
                self._take()

    def _closed(self, bracket: str) -> bool:
        """Skip what may stand between elements; tell whether the closing bracket, or the end, has been reached."""
        self._skip_blank()
        if self._skip(","):
            self._skip_blank()
        return self._skip(bracket) or self._peek() is _END


def _tokens(text: str) -> list[_Token]:
    tokens, line, seen = [], 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        tokens.append(_Token(match.lastgroup or "", match.group(), line))
    return tokens


def _key_part(token: _Token) -> str:
    if token.kind == "string":
        return str(tomllib.loads(f"key = {token.text}")["key"])
    return token.text
