"""Setting up the packaging of a manifest in somebody's `pyproject.toml`: the text stays theirs."""

import re
import tomllib
from pathlib import Path
from typing import Any

from jackfield.manifests import MANIFEST

_TABLE = "[tool.setuptools.package-data]"


def add_package_data(pyproject: Path, package: str) -> str:
    """Let a manifest be shipped with a package, where the build backend does not take all files anyway.

    Args:
        pyproject: the project's file.
        package: the top-level package.

    Returns:
        What was done, or what is to be done by hand, as a sentence.
    """
    text = pyproject.read_text("utf-8")
    said = tomllib.loads(text)
    if "setuptools" not in said.get("build-system", {}).get("build-backend", "setuptools"):
        return f"the build backend of {pyproject} ships all files of a package: nothing is to be set up"
    data = _data(said)
    if any(_ships(data.get(key, ())) for key in (package, "*", "")):
        return f"{pyproject} ships it already"
    wanted = [*data.get(package, ()), MANIFEST]
    line = f"{_key(package)} = {_array(wanted)}"
    changed = _changed(text, package, line)
    try:
        kept = _data(tomllib.loads(changed)) == {**data, package: wanted}
    except tomllib.TOMLDecodeError:
        kept = False
    if not kept:
        return f"add to {_TABLE} in {pyproject}: {line}"
    pyproject.write_text(changed, "utf-8", newline="\n" if "\r\n" not in text else "\r\n")
    return f"{pyproject} ships it now: {line}"


def _data(said: dict[str, Any]) -> dict[str, list[str]]:
    found = said.get("tool", {}).get("setuptools", {}).get("package-data", {})
    return found if isinstance(found, dict) else {}


def _ships(patterns: Any) -> bool:
    return any(pattern in (MANIFEST, "*", "**", "**/*", "*.yaml") for pattern in patterns)


def _changed(text: str, package: str, line: str) -> str:
    """Put a line into the table: in the place of the one of that package, or as the first, or with a new table."""
    head, table, rest = text.partition(f"{_TABLE}\n")
    if not table:
        return f"{text.rstrip()}\n\n{_TABLE}\n{line}\n"
    own = re.compile(rf'^(?:"{re.escape(package)}"|{re.escape(package)})\s*=\s*\[[^\]]*\][^\n]*$', re.MULTILINE)
    end = re.search(r"^\[", rest, re.MULTILINE)
    inside, after = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    replaced, count = own.subn(lambda _: line, inside, count=1)
    return f"{head}{table}{replaced if count else line + chr(10) + inside}{after}"


def _key(package: str) -> str:
    return package if re.fullmatch(r"[A-Za-z0-9_-]+", package) else f'"{package}"'


def _array(items: list[str]) -> str:
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"
