"""YAML → plain data and the line of each key; every fault at once, and nothing that grows beyond its text.

The events of PyYAML's safe loader are read one by one: no tree is built whose size or depth a file could choose, no
alias is followed, no tag makes an object. Scalars without quotes mean what they do in YAML 1.2's core schema, so that
`no` is a text, and what a key takes as a text (`version: 1.10`) is the text that stands there.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import yaml

from jackfield.config.problems import KeyPath, Problem, quoted

DEPTH: Final = 16
_INT: Final = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.\d{1,32}|\d{1,32}(\.\d{0,32})?)([eE][-+]?\d{1,4})?", re.ASCII)
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


class NotYaml(Exception):  # never leaves this package: becomes a fault of the whole text
    """The text cannot be read any further.

    Args:
        reason: why.
        fix: what to do.
        line: where.
    """

    def __init__(self, reason: str, fix: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.fix, self.line = reason, fix, line


class Tree:
    r"""Reads one document.

    Args:
        text: the document.
        texts: paths at which scalars without quotes are texts.

    Attributes:
        value: the plain data; what is wrong is left out.
        lines: path → line.
        problems: line and what is wrong there; it does not keep the rest from being read.

    Raises:
        NotYaml: when it does.

    Examples:
        >>> tree = Tree("restart: no\nname: a\nname: b\n")
        >>> tree.value, [problem.reason for _, problem in tree.problems]
        ({'restart': 'no', 'name': 'a'}, ["the key 'name' stands here a second time, first on line 2"])
    """

    def __init__(self, text: str, texts: Collection[KeyPath] = ()) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[tuple[int, Problem]] = []
        self._texts = texts
        self._events = _events(text)
        self.value = self._document()

    def _document(self) -> Any:
        next(self._events)  # the beginning of the stream
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            raise NotYaml("it says nothing", "begin with name: NAME, or remove it", 1)
        value = self._node(next(self._events), ())
        next(self._events)  # the end of the document
        another = next(self._events)
        if not isinstance(another, yaml.StreamEndEvent):
            reason = "a second document begins here"
            raise NotYaml(reason, "keep one, and take the line '---' away", _line(another))
        return value

    def _node(self, event: Any, path: KeyPath) -> Any:
        line = _line(event)
        if path:
            self.lines.setdefault(path, line)
        if len(path) > DEPTH:
            raise NotYaml(f"nested more than {DEPTH} levels deep", "flatten it", line)
        if isinstance(event, yaml.AliasEvent):
            self._wrong(event, path, "it is an alias (*), and a manifest has none", "write the value itself")
            return None
        if event.anchor is not None:
            self._wrong(event, path, "it has an anchor (&), and a manifest has none", "take the anchor away")
        if event.tag is not None and event.tag != "!":
            self._wrong(
                event, path, f"it has the tag {quoted(event.tag)}, and a manifest has none", "take the tag away"
            )
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        return self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._table(path)

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        text: str = event.value
        if event.style is not None:
            return text
        plain = text.lower() if text in (text.lower(), text.upper(), text.capitalize()) else text
        if plain in _CONSTANTS and (path not in self._texts or _CONSTANTS[plain] is None):
            return _CONSTANTS[plain]
        if path in self._texts:
            return text
        if _INT.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _list(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found

    def _table(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            if key is None:
                self._skip(next(self._events), path)
            elif key in found:
                reason = f"the key {quoted(key)} stands here a second time, first on line {self.lines[*path, key]}"
                self._wrong(event, (*path, key), reason, "take one of the two away")
                self._skip(next(self._events), path)
            else:
                self.lines[(*path, key)] = _line(event)
                found[key] = self._node(next(self._events), (*path, key))
        return found

    def _key(self, event: Any, path: KeyPath) -> str | None:
        """Give a key; None when it is none."""
        if isinstance(event, yaml.ScalarEvent) and event.tag in (None, "!") and event.anchor is None:
            if event.value != "<<" or event.style is not None:
                return str(event.value)
            reason = "it merges another table (<<), and a manifest has none"
        else:
            reason = "a key must be a text"
            self._skip(event, path)
        self._wrong(event, path, reason, "write the keys themselves")
        return None

    def _skip(self, event: Any, path: KeyPath) -> None:
        """Read a value that nobody wants; its own faults are not told."""
        lines, problems, self.lines, self.problems = self.lines, self.problems, {}, []
        try:
            self._node(event, path)
        finally:
            self.lines, self.problems = lines, problems

    def _wrong(self, event: Any, path: KeyPath, reason: str, fix: str) -> None:
        self.problems.append((_line(event), Problem(path or ("text",), reason, fix)))


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise NotYaml(reason, "take it away", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        fix = "correct this line or the one before"
        if "'?'" in said:
            fix = "between braces a text with '?' needs quotes, as in {healthcheck: '/health?timeout=3s'}"
        raise NotYaml(f"not valid YAML: {said}", fix, _mark(mark)) from None
    except RecursionError:
        raise NotYaml(f"nested more than {DEPTH} levels deep", "flatten it", 1) from None


def _line(event: Any) -> int:
    return _mark(event.start_mark)


def _mark(mark: Any) -> int:
    return mark.line + 1 if mark is not None else 1
