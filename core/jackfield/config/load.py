"""A file → a `Configuration`, or one `ConfigError` with every fault of it."""

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from jackfield.config import files
from jackfield.config.check import check
from jackfield.config.lines import PluginLines, index_lines
from jackfield.config.model import EXECUTORS, Configuration
from jackfield.config.problems import KeyPath, Problem, key_text
from jackfield.config.quick import structure_quickly
from jackfield.config.trust import Trust
from jackfield.errors import ConfigError, Fault
from jackfield.log import host_log

SIZE_LIMIT = 1024 * 1024
_NESTING_LIMIT = 64
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def load_config(path: str | os.PathLike[str], *, executors: Collection[str] = EXECUTORS) -> Configuration:
    """Read a configuration file.

    The file is read as a whole at one moment: when it changes meanwhile, it is read again.

    Args:
        path: the file, usually `jackfield.toml`.
        executors: the names that `executor` may have.

    Returns:
        The configuration, with nothing wrong in it that can be seen without importing a plugin.

    Raises:
        ConfigError: with every fault of the file, each with its key, its line and a fix; for root also when others may
            write it, which other users are warned of.
    """
    file = Path(path)
    data = _read(file)
    _believe(file)
    return parse_config(data, file, executors=executors)


def parse_config(data: bytes, file: Path, *, executors: Collection[str] = EXECUTORS) -> Configuration:
    r"""Read a configuration from bytes.

    Args:
        data: the content of a configuration file.
        file: the file it is from; relative paths are relative to its folder.
        executors: the names that `executor` may have.

    Returns:
        The configuration.

    Raises:
        ConfigError: with every fault.

    Examples:
        >>> config = parse_config(b'[[plugin]]\nname = "text"\npath = "my_pkg.text"\n', Path("jackfield.toml"))
        >>> config.plugins["text"].path
        'my_pkg.text'
        >>> parse_config(b'[[plugin]]\nname = "text"\npaht = "my_pkg.text"\n', Path("jackfield.toml"))
        Traceback (most recent call last):
        ...
        jackfield.errors.ConfigError: jackfield.toml:1: plugin[0].path: required, and missing
          - plugin[0].path (line 1) [text]: config: required, and missing → add path = "module:Object"
          - plugin[0].paht (line 3) [text]: config: unknown key → did you mean 'path'?
    """
    text = _decode(data, file)
    raw = _parse(text, file)
    here = Path(files.whole(str(file)))
    document, problems = structure_quickly(raw), list[Problem]()
    if document is None:
        from jackfield.config.structure import structure  # noqa: PLC0415  # cattrs is for those whose file is wrong

        document, problems = structure(raw)
    plugins, environments, more = check(document, here.parent, executors)
    if problems := [*problems, *more]:
        raise _error(file, raw, problems, index_lines(text))
    return Configuration(
        file=here,
        plugins={plugin.name: plugin for plugin in plugins},
        routes=document.routes,
        tenants=document.tenants,
        observability=document.observability,
        environments=environments,
        discover=document.discover,
        timeout=document.timeout,
        strict=document.strict,
        lazy=document.lazy,
        lines=PluginLines(text, [plugin.name for plugin in plugins]),
        digest=hashlib.sha256(data).hexdigest(),
    )


def _wrong_file(file: Path, reason: str, fix: str, *, line: int | None = None, key: str = "file") -> ConfigError:
    entry = key if line is None else f"{key} (line {line})"
    return ConfigError(str(file), line, key, f"{reason} → {fix}", (Fault("config", "", entry, reason, fix),))


def _error(file: Path, raw: Mapping[str, Any], problems: list[Problem], lines: Mapping[KeyPath, int]) -> ConfigError:
    located = sorted(
        ((_line(problem.path, lines), problem) for problem in problems),
        key=lambda pair: (pair[0] is None, pair[0] or 0),
    )
    faults = tuple(
        Fault("config", _plugin(problem.path, raw), _entry(problem.path, line), problem.reason, problem.fix)
        for line, problem in located
    )
    line, first = located[0]
    # With a single fault nothing else is listed: its fix belongs to the reason then.
    reason = f"{first.reason} → {first.fix}" if first.fix and len(faults) == 1 else first.reason
    return ConfigError(str(file), line, key_text(first.path), reason, faults)


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """Give the line of a key, or of the nearest table around it when the key itself is what is missing."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _entry(path: KeyPath, line: int | None) -> str:
    return key_text(path) if line is None else f"{key_text(path)} (line {line})"


def _plugin(path: KeyPath, raw: Mapping[str, Any]) -> str:
    match path:
        case ("plugin", int() as index, *_):
            table = raw["plugin"][index]
            name = table.get("name") if isinstance(table, dict) else None
            return name[:80] if isinstance(name, str) and name.isprintable() else ""
        case _:
            return ""


def _decode(data: bytes, file: Path) -> str:
    if len(data) > SIZE_LIMIT:
        raise _wrong_file(file, f"larger than {SIZE_LIMIT:,} bytes", "a configuration is a small TOML file")
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong_file(file, "not UTF-8 text", "save it as UTF-8", line=line, key="text") from None


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise _nested(file) from None
    except ValueError as error:  # TOMLDecodeError is one, and an integer of too many digits is another
        position = _POSITION.search(str(error))
        line = int(position[1]) if position and position[1] else text.rstrip("\n").count("\n") + 1 if position else None
        column = f" (column {position[2]})" if position and position[2] else ""
        reason = f"not valid TOML: {_POSITION.sub('', str(error))}{column}"
        raise _wrong_file(file, reason, "correct this line or the one before", line=line, key="text") from None
    if not raw:
        raise _wrong_file(file, "it declares nothing", "begin with a [[plugin]], or with discover = true")
    level, depth = [raw], 0
    while level := [child for item in level for child in _children(item)]:
        depth += 1
        if depth > _NESTING_LIMIT:
            raise _nested(file)
    return raw


def _children(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]


def _nested(file: Path) -> ConfigError:
    return _wrong_file(file, f"nested more than {_NESTING_LIMIT} levels deep", "flatten it", key="text")


def _read(file: Path, pause: Callable[[], None] = files.pause) -> bytes:
    """Read a file that nobody changes meanwhile."""

    def content(_: str, size: int) -> bytes:
        with file.open("rb") as stream:
            return stream.read(size + 1)

    try:
        _, found = files.read_settled(lambda: {"": files.stamp(_stat(file))}, content, pause=pause)
    except files.Unsettled:
        reason = f"it kept changing while it was read ({files.ATTEMPTS} times)"
        raise _wrong_file(file, reason, "write a new file beside it and rename that into its place") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise _wrong_file(file, f"cannot be read: {reason}", "give the path of a readable file") from None
    return found[""]


def _believe(file: Path) -> None:
    """Refuse for root, and tell others, when somebody else may decide what the host does.

    Raises:
        ConfigError: for root, with the command that mends it.
    """
    trust = Trust()
    try:
        doubt = trust.doubt(str(file))
    except OSError as error:
        raise _wrong_file(file, f"cannot be looked at: {error.strerror}", "give the path of a readable file") from None
    if doubt is not None and trust.strict:
        reason = f"others decide what is in it: {doubt.reason}"
        raise _wrong_file(file, reason, f"{doubt.fix}; root believes only what it alone may write")
    if doubt is not None:
        fault = Fault("config", "", "file", f"others decide what is in {file}: {doubt.reason}", doubt.fix)
        host_log("WARNING", fault)


def _stat(file: Path) -> os.stat_result:
    found = file.stat()
    if stat.S_ISDIR(found.st_mode):
        raise _wrong_file(file, "it is a folder", f"give the file in it, as in {file / 'jackfield.toml'}")
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer
        raise _wrong_file(file, "it is not a regular file", "write the configuration to a file")
    if found.st_size > SIZE_LIMIT:
        reason = f"it has {found.st_size:,} bytes, {SIZE_LIMIT:,} are allowed"
        raise _wrong_file(file, reason, "a configuration is a small TOML file")
    return found
