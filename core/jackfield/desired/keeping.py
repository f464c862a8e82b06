"""The desired state in a store that lasts: each change of it is a revision, which is there before its verb returns.

desired/state                  the newest revision
desired/history/NUMBER         the last ones
desired/files/DIGEST           what the files said that they refer to
"""

import time
from collections.abc import Callable, Collection
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeGuard

import attrs

from jackfield.config import Configuration, parse_config
from jackfield.desired.documents import Kept, from_plain, kept, merged, to_plain
from jackfield.desired.state import Desired
from jackfield.errors import ConfigError, JackfieldError, StoreConflict, Unavailable
from jackfield.log import host_log
from jackfield.ports import Stored
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
        kept: the rest.
    """

    revision: DesiredRevision
    applied: Configuration | None
    kept: Kept


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
        self._at = 0  # the store's revision of `desired/state`
        self._followed = 0  # the one that this host was last brought to
        self._there = Kept()  # what was written then, by whomever
        self._mine = Kept()  # what this host had then
        self._bringing = 0  # the revision that it is being brought to
        self._taken = Kept()  # what was written then
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
        key = _STATE if number is None else _past(number)
        with self._kept.visited():
            there = self._ask(lambda store: store.get(key))
            if there is None:
                return None
            revision, found = _read(there.value)
            if number is None:
                self._found(there)
                self._mine, self._followed = found, there.revision
                self._put_history(revision.number, there.value)  # whoever wrote it may have been killed before it did
            return Restored(revision, self._configuration(revision.digest), found)

    @property
    def mine(self) -> Kept:
        """What this host had when it last agreed with the store."""
        return self._mine

    def is_behind(self) -> bool:
        """Look whether somebody has written anything; as `news`."""
        with self._kept.visited():
            return self._is_news(self._ask(lambda store: store.get(_STATE)))

    def _is_news(self, there: Stored | None) -> TypeGuard[Stored]:
        return there is not None and there.revision != self._followed

    def news(self) -> Restored | None:
        """Read what others have written since this host was last brought to what the store has.

        Returns:
            The newest revision; None if there is nothing new.

        Raises:
            Unavailable: if the store is away.
            ValueError: if what is there cannot be read.
        """
        with self._kept.visited():
            there = self._ask(lambda store: store.get(_STATE))
            if not self._is_news(there):
                return None
            self._found(there)
            revision, found = _read(there.value)
            self._taken, self._bringing = found, there.revision
            return Restored(revision, self._configuration(revision.digest), found)

    def took(self, desired: Desired) -> None:
        """Take note that the host desires what `news` has read; it has still to be brought there.

        From here on a verb that takes a field back is a change, though the host had that field before.

        Args:
            desired: the state that it has now.
        """
        mine = self._mine
        self._mine = attrs.evolve(self._taken, applied=desired.applied.digest, stable=mine.stable, trials=mine.trials)

    def followed(self, desired: Desired, begun: Collection[str]) -> None:
        """Take note that the host was brought to what it took; what it could not begin of that stays wanted.

        Args:
            desired: the state that it has now.
            begun: the trials that it has begun for that, be they over by now.
        """
        mine, there = kept(desired), self._taken
        trials = {name: tried for name, tried in there.trials.items() if name in mine.trials or name in begun}
        self._mine = attrs.evolve(there, applied=mine.applied, stable=mine.stable, trials=trials)
        self._followed = self._bringing

    def save(self, desired: Desired, *, by: str, verb: str, what: str, always: bool = False) -> None:
        """Make the next revision; a store that cannot take it is told of in the log, and gets it with the next one.

        Args:
            desired: the state.
            by: who changed it.
            verb: how.
            what: what it is about.
            always: also when it is what the store has already.
        """
        try:
            with self._kept.visited():
                self._save(desired, by, verb, what, always=always)
        except (JackfieldError, TypeError, ValueError) as error:
            reason = "a restart would not know it, unless a later change of anything is kept"
            host_log("WARNING", f"what is desired since {verb} ({what}) is not kept: {reason}", error)

    def amend(self, desired: Desired) -> None:
        """Have the newest revision say what the steps that it led to have come to; as `save`.

        Args:
            desired: the state after them.
        """
        try:
            with self._kept.visited():
                self._amend(kept(desired))
        except (JackfieldError, TypeError, ValueError) as error:
            host_log("WARNING", "what came of the last change is not kept", error)

    @property
    def history(self) -> tuple[DesiredRevision, ...]:
        """The revisions that are kept, the oldest first.

        Raises:
            Unavailable: if the store is away.
        """
        with self._kept.visited():
            entries = self._ask(lambda store: store.range(_HISTORY)).entries
        return tuple(_revision(unpack(each.value)) for each in entries.values())

    def _found(self, there: Stored | None) -> None:
        if there is None:
            self._newest, self._at, self._there = 0, 0, Kept()
        else:
            revision, self._there = _read(there.value)
            self._newest, self._at = revision.number, there.revision

    def _save(self, desired: Desired, by: str, verb: str, what: str, *, always: bool) -> None:
        mine = kept(desired)
        if fresh := self._keep_file(desired.applied):
            self._collect(fresh)
        before = self._at
        while True:
            wanted = merged(self._there, self._mine, mine)
            if wanted == self._there and self._newest and not always:
                self._mine = mine
                return
            revision = DesiredRevision(self._newest + 1, self._wall(), by, verb, what, wanted.applied)
            value = pack({**attrs.asdict(revision), "desired": to_plain(wanted)})
            try:
                at = self._ask(lambda store: store.put(_STATE, value, expected=self._at))  # noqa: B023  # awaited here
                break
            except StoreConflict:  # another host, or this one, whose write came to be after it was not waited for
                self._found(self._ask(lambda store: store.get(_STATE)))
        if self._at == before == self._followed:  # nobody else has written anything that this does not know
            self._followed = at
        if self._at == before == self._bringing:
            self._bringing, self._taken = at, wanted
        self._newest, self._at, self._there, self._mine = revision.number, at, wanted, mine
        if fresh:  # somebody who collects may have taken it for one that nobody needs
            with suppress(StoreConflict):
                self._ask(lambda store: store.put(f"{_FILES}{fresh}", desired.applied.content, expected=0))
        self._put_history(revision.number, value)
        if revision.number > KEPT:
            self._ask(lambda store: store.delete(_past(revision.number - KEPT)))

    def _amend(self, mine: Kept) -> None:
        while mine != self._mine:
            wanted = merged(self._there, self._mine, mine)
            there = self._ask(lambda store: store.get(_STATE))
            if there is None:
                return
            if there.revision != self._at:
                self._found(there)
                continue
            value = pack({**attrs.asdict(_read(there.value)[0]), "desired": to_plain(wanted)})
            try:
                at = self._ask(lambda store: store.put(_STATE, value, expected=self._at))  # noqa: B023  # as above
            except StoreConflict:
                continue
            if self._followed == self._at:
                self._followed = at
            self._at = at
            self._there, self._mine = wanted, mine
            self._ask(lambda store: store.put(_past(self._newest), value))  # noqa: B023  # as above

    def _put_history(self, number: int, value: bytes) -> None:
        with suppress(StoreConflict):  # it is there
            self._ask(lambda store: store.put(_past(number), value, expected=0))

    def _keep_file(self, applied: Configuration) -> str:
        """Write down what a file says, before anything refers to it; give its digest if it was not there."""
        if not applied.digest or applied.digest in self._files:
            return ""
        self._ask(lambda store: store.put(f"{_FILES}{applied.digest}", applied.content))
        self._files.add(applied.digest)
        return applied.digest

    def _collect(self, fresh: str) -> None:
        """Release the files that no revision which is kept refers to."""
        used = {each.digest for each in self.history} | {fresh, self._there.applied}
        there = self._ask(lambda store: store.range(_FILES)).entries
        for key in there:
            digest = key.removeprefix(_FILES)
            if digest not in used:
                self._ask(lambda store: store.delete(key))  # noqa: B023  # awaited here
                self._files.discard(digest)

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


def _past(number: int) -> str:
    return f"{_HISTORY}{number:010}"


def _read(value: bytes) -> tuple[DesiredRevision, Kept]:
    document = unpack(value)
    try:
        return _revision(document), from_plain(document["desired"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is damaged: {error}") from error


def _revision(document: Any) -> DesiredRevision:
    return DesiredRevision(*(document[field.name] for field in attrs.fields(DesiredRevision)))
