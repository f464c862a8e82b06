"""Small text files that people write: read as a whole, refused cleanly, every fault on its line."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from jackfield.config import files
from jackfield.config.problems import KeyPath, Problem, key_text
from jackfield.errors import ConfigError, Fault


@attrs.frozen
class Kind:
    """What kind of file is read.

    Attributes:
        stage: of its faults.
        limit: bytes that it may have.
        what: what it is, as in `a configuration is a small TOML file`.
        name: what it is called in its folder.
    """

    stage: str
    limit: int
    what: str
    name: str

    def wrong(self, file: Path, reason: str, fix: str, *, line: int | None = None, key: str = "file") -> ConfigError:
        """Make the error of a file that cannot be read at all."""
        entry = key if line is None else f"{key} (line {line})"
        return ConfigError(str(file), line, key, f"{reason} → {fix}", (Fault(self.stage, "", entry, reason, fix),))

    def read(self, file: Path, pause: Callable[[], None] = files.pause) -> bytes:
        """Read a file that nobody changes meanwhile.

        Raises:
            ConfigError: when it cannot be read.
        """

        def content(_: str, size: int) -> bytes:
            with file.open("rb") as stream:
                return stream.read(size + 1)

        try:
            _, found = files.read_settled(lambda: {"": files.stamp(self._stat(file))}, content, pause=pause)
        except files.Unsettled:
            reason = f"it kept changing while it was read ({files.ATTEMPTS} times)"
            raise self.wrong(file, reason, "write a new file beside it and rename that into its place") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or str(error)
            raise self.wrong(file, f"cannot be read: {reason}", "give the path of a readable file") from None
        return found[""]

    def decode(self, data: bytes, file: Path) -> str:
        """Take bytes for text.

        Raises:
            ConfigError: when there are too many, or they are no UTF-8.
        """
        if len(data) > self.limit:
            raise self.wrong(file, f"larger than {self.limit:,} bytes", self.what)
        try:
            return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self.wrong(file, "not UTF-8 text", "save it as UTF-8", line=line, key="text") from None

    def error(
        self,
        file: Path,
        problems: Sequence[Problem],
        lines: Mapping[KeyPath, int],
        plugin: Callable[[KeyPath], str] = lambda _: "",
        located: Sequence[tuple[int, Problem]] = (),
    ) -> ConfigError:
        """Make one error of everything that is wrong, in the order of the lines.

        Args:
            file: where.
            problems: what; here or in `located` at least one.
            lines: path → line.
            plugin: tells whose key it is.
            located: what is wrong on a line that is known.
        """
        found = sorted(
            (*located, *((_line(problem.path, lines), problem) for problem in problems)),
            key=lambda pair: (pair[0] is None, pair[0] or 0),
        )
        faults = tuple(
            Fault(self.stage, plugin(problem.path), _entry(problem.path, line), problem.reason, problem.fix)
            for line, problem in found
        )
        line, first = found[0]
        # With a single fault nothing else is listed: its fix belongs to the reason then.
        reason = f"{first.reason} → {first.fix}" if first.fix and len(faults) == 1 else first.reason
        return ConfigError(str(file), line, key_text(first.path), reason, faults)

    def _stat(self, file: Path) -> os.stat_result:
        found = file.stat()
        if stat.S_ISDIR(found.st_mode):
            raise self.wrong(file, "it is a folder", f"give the file in it, as in {file / self.name}")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer
            raise self.wrong(file, "it is not a regular file", f"write {self.what.partition(' is ')[0]} to a file")
        if found.st_size > self.limit:
            raise self.wrong(file, f"it has {found.st_size:,} bytes, {self.limit:,} are allowed", self.what)
        return found


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """Give the line of a key, or of the nearest table around it when the key itself is what is missing."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _entry(path: KeyPath, line: int | None) -> str:
    return key_text(path) if line is None else f"{key_text(path)} (line {line})"
