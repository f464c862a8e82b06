"""What was read of a store last: bounded in bytes, each answer with the revision at which it held."""

import math
import threading
from collections import OrderedDict
from typing import Final

import attrs

from jackfield.model.keys import within
from jackfield.ports import Range

_ENTRY: Final = 200  # bytes that an entry takes beside its key and its value


@attrs.define(eq=False)
class Asked:
    """One question to the store, while it is under way.

    Attributes:
        prefix: what was asked for.
        at: when; what the store answers held no earlier than this.
        floor: the revision of what was written there meanwhile; an older answer is of no use to anybody else.
    """

    prefix: str
    at: float
    floor: float = 0


@attrs.frozen
class Answer:
    """What a store had under a prefix.

    Attributes:
        found: all of it, with the revision at which it was so.
        at: when that was asked.
        size: bytes.
    """

    found: Range
    at: float
    size: int


class Known:
    """The answers of a store that were used last, for any number of threads.

    An answer is replaced by those of later revisions alone, and goes when something is written under its prefix: who
    has seen a write never sees what was there before it.

    Args:
        size: the most bytes that all answers take together.

    Examples:
        >>> from jackfield.ports import Stored
        >>> known = Known(1_000)
        >>> late, asked = known.ask("state/a", now=0.0), known.ask("state/a", now=1.0)
        >>> known.answered(asked, Range({"state/a": Stored(b"2", 2)}, 2))
        >>> known.answered(late, Range({"state/a": Stored(b"1", 1)}, 1))
        >>> known.find("state/a").found.revision
        2
        >>> known.changed("state/a", 3)
        >>> known.find("state/a") is None
        True
    """

    def __init__(self, size: int) -> None:
        self._most = size
        self._size = 0
        # Reentrant: the garbage collector may run a finalizer that comes here, at any line.
        self._lock = threading.RLock()
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._asked: set[Asked] = set()

    def ask(self, prefix: str, now: float) -> Asked:
        """Note that the store is asked; `answered` follows, whatever becomes of it."""
        asked = Asked(prefix, now)
        with self._lock:
            self._asked.add(asked)
        return asked

    def answered(self, asked: Asked, found: Range | None) -> None:
        """Keep an answer, unless there is a later one; None if there was none."""
        with self._lock:
            self._asked.discard(asked)
            if found is None or found.revision < asked.floor:
                return
            before = self._answers.get(asked.prefix)
            if before is not None and before.found.revision > found.revision:
                return
            self._drop(asked.prefix)
            answer = Answer(found, asked.at, _size(asked.prefix, found))
            if answer.size > self._most:
                return
            self._answers[asked.prefix] = answer
            self._size += answer.size
            while self._size > self._most:
                self._drop(next(iter(self._answers)))

    def find(self, prefix: str) -> Answer | None:
        """Give the last answer for a prefix, if it is kept."""
        with self._lock:
            answer = self._answers.get(prefix)
            if answer is not None:
                self._answers.move_to_end(prefix)
            return answer

    def changed(self, key: str, revision: float = math.inf) -> None:
        """Forget what was under a key before a revision, and what is yet to be answered of that; by default, all."""
        with self._lock:
            for asked in self._asked:
                if within(key, asked.prefix):
                    asked.floor = max(asked.floor, revision)
            for prefix in ("", *(key[: end + 1] for end, letter in enumerate(key) if letter == "/"), key):
                answer = self._answers.get(prefix)
                if answer is not None and answer.found.revision < revision:
                    self._drop(prefix)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._answers.clear()
            self._size = 0

    @property
    def size(self) -> int:
        """Give the bytes of what is kept."""
        return self._size

    def _drop(self, prefix: str) -> None:
        answer = self._answers.pop(prefix, None)
        if answer is not None:
            self._size -= answer.size


def _size(prefix: str, found: Range) -> int:
    return _ENTRY + len(prefix) + sum(_ENTRY + len(key) + len(there.value) for key, there in found.entries.items())
