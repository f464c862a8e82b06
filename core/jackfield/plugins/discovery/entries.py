"""What a distribution's metadata says: lines of `entry_points.txt`, headers of METADATA, object references."""

import codecs
import difflib
import re
from collections.abc import Iterator
from typing import Final

import attrs

from jackfield.errors import Fault
from jackfield.model.names import NAME_LIMIT, name_fault
from jackfield.text import printable

FUNCTIONS: Final = "jackfield.functions"
PLUGINS: Final = "jackfield.plugins"
PROVIDERS: Final = "jackfield.providers"
HOOKS: Final = "jackfield.hooks"
GROUPS: Final = (FUNCTIONS, PLUGINS, PROVIDERS, HOOKS)
"""The entry-point groups that are read, in the order in which catalogues list them."""

_OURS: Final = "jackfield."

Entry = tuple[str, str, str]
"""Group, name and object reference."""

# A plugin object or a set of hooks may be a whole module; a function and a provider are something in one.
_NEEDS_ATTRIBUTE = frozenset({FUNCTIONS, PROVIDERS})
_SEPARATORS = re.compile(r"[-_.]+")
_REFERENCE = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[[^\[\]]*\]\s*)?")
_HEADER = re.compile(rb"^(name|version)[ \t]*:[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_FOLD = re.compile(rb"\n[ \t]+")
_SHOWN = 80
_FORM = "write `name = package.module:attribute` there, and install again"


def canonical(name: str) -> str:
    """Normalise a distribution's name as PEP 503 does, so that spellings compare equal.

    Args:
        name: as written anywhere: in METADATA, in an environment variable, in a directory's name.

    Examples:
        >>> canonical("My_Plugin.Text")
        'my-plugin-text'
    """
    return _SEPARATORS.sub("-", name).lower()


def shown(text: str) -> str:
    """Make text that somebody else wrote fit for a message: printable, and not too long."""
    plain = printable(text[: _SHOWN + 1])
    return plain if len(plain) <= _SHOWN else plain[:_SHOWN] + "…"


def split_reference(value: str) -> tuple[str, tuple[str, ...]] | None:
    """Split an object reference into the module and the path of attributes in it.

    Extras in brackets are allowed, as packaging tools allow them, and mean nothing.

    Args:
        value: as in `my_pkg.text:slugify`.

    Returns:
        The module and the attributes (none for a whole module), or None when it is not a reference.

    Examples:
        >>> split_reference("my_pkg.text:Slugger.run")
        ('my_pkg.text', ('Slugger', 'run'))
        >>> split_reference("my_pkg.text:")
    """
    match = _REFERENCE.fullmatch(value)
    if match is None:
        return None
    module, path = match[1], match[2]
    attributes = tuple(path.split(".")) if path else ()
    return (module, attributes) if all(map(str.isidentifier, (*module.split("."), *attributes))) else None


def read_headers(metadata: bytes) -> tuple[str, str]:
    """Find Name and Version among the headers of METADATA; "" for what is not there.

    Only these two are looked at: an author's name in another encoding, or a byte-order mark, loses no plugin.
    """
    text = metadata.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    headers = _FOLD.sub(b" ", text.partition(b"\n\n")[0])
    found: dict[bytes, bytes] = {}
    for key, value in _HEADER.findall(headers):
        found.setdefault(key.lower(), value)
    return tuple(printable(found.get(key, b"").decode("ascii", "backslashreplace")) for key in (b"name", b"version"))  # type: ignore[return-value]


def read_entries(text: str, plugin: str, file: str) -> tuple[list[Entry], list[Fault]]:
    """Read the lines of `entry_points.txt` that concern jackfield. A bad line is left out alone.

    Args:
        text: the file's text.
        plugin: whose it is, for the faults.
        file: its path, for the faults.

    Returns:
        The good entries in the order of the file, and what is wrong with the others.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    for line in _lines(text):
        if line.problem:
            faults.append(Fault("scan", plugin, file, f"line {line.number} {line.problem}", line.fix))
        elif fault := _entry_fault(line.group, line.name, line.value, plugin):
            faults.append(fault)
        else:
            entries.append((line.group, line.name, line.value))
    return entries, faults


@attrs.frozen
class _Line:
    number: int
    group: str = ""
    name: str = ""
    value: str = ""
    problem: str = ""
    fix: str = _FORM


def _lines(text: str) -> Iterator[_Line]:
    group: str | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            group = line.strip("[]").strip()
            if problem := _header_problem(line, group):
                yield _Line(number, problem=problem[0], fix=problem[1])
                group = ""  # what follows belongs nowhere: said once, not for each line of it
        elif group is None:
            yield _Line(number, problem=f"({shown(line)}) stands before the first [group]")
        elif group in GROUPS:
            name, equals, value = (part.strip() for part in line.partition("="))
            if equals:
                yield _Line(number, group, name, value)
            else:
                yield _Line(number, problem=f"({shown(line)}) is not `name = package.module:attribute`")


def _header_problem(line: str, group: str) -> tuple[str, str] | None:
    if not group.startswith("jackfield"):
        return None
    if not line.endswith("]"):
        return f"({shown(line)}) has no closing bracket", f"write `[{shown(group)}]` there, and install again"
    if group in GROUPS:
        return None
    # Only what looks like a slip: a group of jackfield's own that this version does not know yet is no fault.
    known = {name.removeprefix(_OURS): name for name in GROUPS}
    close = difflib.get_close_matches(group[len(_OURS) :].lower(), known, n=1, cutoff=0.8)
    return (f"names the unknown group [{shown(group)}]", f"did you mean [{known[close[0]]}]?") if close else None


def _entry_fault(group: str, name: str, value: str, plugin: str) -> Fault | None:
    if group == FUNCTIONS:
        if fault := name_fault(name, plugin):
            return fault
    elif not name or not name.isprintable() or len(name) > NAME_LIMIT:
        reason = f"the name of an entry in [{group}] must be printable and have 1 to {NAME_LIMIT} characters"
        return Fault("name", plugin, shown(name) or "''", reason, _FORM)
    reference = split_reference(value)
    if reference is None:
        reason = f"({shown(value)}) is not an object reference"
        return Fault("reference", plugin, name, reason, _FORM)
    if group in _NEEDS_ATTRIBUTE and not reference[1]:
        reason = f"({shown(value)}) names a module, and no attribute of it"
        return Fault("reference", plugin, name, reason, f"write `{name} = {reference[0]}:attribute`, and install again")
    return None
