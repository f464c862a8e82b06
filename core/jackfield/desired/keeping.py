"""The desired state in a store that lasts: each change of it is a revision, which is there before its verb returns.

desired/state                  the newest revision
desired/history/NUMBER         the last ones
desired/files/DIGEST           what the files said that they refer to
"""

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path
from typing import Any, Final

import attrs

from jackfield.config import Configuration, parse_config
from jackfield.desired.documents import from_plain, to_plain
from jackfield.desired.ownership import Ownership
from jackfield.desired.state import Desired, Refusal
from jackfield.errors import ConfigError, JackfieldError, StoreConflict, Unavailable
from jackfield.log import host_log
from jackfield.store.hosted import HostStore
from jackfield.wire.crossing import pack, unpack

KEPT: Final = 100
"""How many revisions are kept."""

_STATE: Final = "desired/state"
_HISTORY: Final = "desired/history/"
_FILES: Final = "desired/files/"
_PATIENCE: Final = 5.0  # seconds that a verb waits for the store


@attrs.frozen
class DesiredRevision:
    """One change of what is desired.

    Attributes:
        number: of the revision, from 1.
        at: when, in seconds since the epoch.
        by: who.
        verb: how.
        what: which field, and what it is now.
        digest: of the file that was the last applied one, in hexadecimal.
    """

    number: int
    at: float
    by: str
    verb: str
    what: str
    digest: str


@attrs.frozen
class Restored:
    """What a store has of a desired state.

    Attributes:
        revision: the change that led to it.
        applied: the last applied file; None when it can no longer be read.
        ownership: what belongs to somebody else than the file.
        refused: plugin → the version that the file asks for and that is not tried again.
    """

    revision: DesiredRevision
    applied: Configuration | None
    ownership: Ownership
    refused: dict[str, Refusal]


class Keeper:
    """Keeps the desired state of one host.

    Args:
        kept: the host's store, one that lasts.
        file: of the configuration, to which relative paths are relative.
        executors: the names that `executor` may have.
        wall: seconds since the epoch.
    """

    def __init__(
        self, kept: HostStore, file: Path, executors: tuple[str, ...], wall: Callable[[], float] = time.time
    ) -> None:
        self._kept, self._file, self._executors, self._wall = kept, file, executors, wall
        self._newest = 0  # the number of the newest revision
        self._there = 0  # the store's revision of `desired/state`
        self._files: set[str] = set()

    def load(self, number: int | None = None) -> Restored | None:
        """Read what was desired last, or at an earlier revision.

        Args:
            number: which; None for the last.

        Returns:
            It; None if there is none.

        Raises:
            Unavailable: if the store is away.
            ValueError: if what is there cannot be read.
        """
        key = _STATE if number is None else f"{_HISTORY}{number:010}"
        there = self._ask(lambda store: store.get(key))
        if there is None:
            return None
        document = unpack(there.value)
        ownership, refused = from_plain(document["desired"])
        revision = _revision(document)
        if number is None:
            self._newest, self._there = revision.number, there.revision
        return Restored(revision, self._configuration(revision.digest), ownership, refused)

    def save(self, desired: Desired, *, by: str, verb: str, what: str) -> None:
        """Make the next revision; a store that cannot take it is told of in the log, and gets it with the next one.

        Args:
            desired: the state.
            by: who changed it.
            verb: how.
            what: what it is about.
        """
        try:
            self._save(desired, by, verb, what)
        except (JackfieldError, TypeError, ValueError) as error:
            reason = "a restart would not know it, unless a later change of anything is kept"
            host_log("WARNING", f"what is desired since {verb} ({what}) is not kept: {reason}", error)

    @property
    def history(self) -> tuple[DesiredRevision, ...]:
        """The revisions that are kept, the oldest first.

        Raises:
            Unavailable: if the store is away.
        """
        entries = self._ask(lambda store: store.range(_HISTORY)).entries
        return tuple(_revision(unpack(each.value)) for each in entries.values())

    def _save(self, desired: Desired, by: str, verb: str, what: str) -> None:
        digest, content = desired.applied.digest, desired.applied.content
        if digest and digest not in self._files:
            self._ask(lambda store: store.put(f"{_FILES}{digest}", content))
            self._files.add(digest)
        while True:
            self._newest += 1
            revision = DesiredRevision(self._newest, self._wall(), by, verb, what, digest)
            value = pack({**attrs.asdict(revision), "desired": to_plain(desired)})
            try:
                self._there = self._ask(lambda store: store.put(_STATE, value, expected=self._there))  # noqa: B023  # awaited here
                break
            except StoreConflict as conflict:  # another host: its change stands in the history, and this one follows
                self._there = conflict.found
                there = self._ask(lambda store: store.get(_STATE))
                self._newest = _revision(unpack(there.value)).number if there is not None else 0
        number = self._newest
        self._ask(lambda store: store.put(f"{_HISTORY}{number:010}", value))
        if number > KEPT:
            self._ask(lambda store: store.delete(f"{_HISTORY}{number - KEPT:010}"))

    def _configuration(self, digest: str) -> Configuration | None:
        there = self._ask(lambda store: store.get(f"{_FILES}{digest}")) if digest else None
        if there is None:
            return None
        self._files.add(digest)
        try:
            return parse_config(there.value, self._file, executors=self._executors)
        except ConfigError:  # a folder or a variable that it names is gone since
            return None

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        try:
            return self._kept.ask(lambda: ask(self._kept.store)).result(_PATIENCE)
        except NotInTime:
            raise Unavailable("store", f"it has not answered within {_PATIENCE:g} s", "store") from None


def _revision(document: Any) -> DesiredRevision:
    return DesiredRevision(*(document[field.name] for field in attrs.fields(DesiredRevision)))
