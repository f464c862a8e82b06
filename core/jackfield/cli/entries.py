"""What is installed, from metadata alone: the rows that listings show, and the names that shells complete."""

import fnmatch
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from jackfield.cli.output import fail

if TYPE_CHECKING:
    from jackfield.errors import Fault
    from jackfield.plugins.discovery import Candidate, Catalogue

_KINDS = {
    "jackfield.functions": "function",
    "jackfield.plugins": "plugin",
    "jackfield.providers": "provider",
    "jackfield.hooks": "hook",
}


class Row(NamedTuple):  # and no attrs class: attrs would be a fifth of the time that `--help` takes
    """One entry of a listing; the attributes are the keys of its JSON.

    Attributes:
        name: the entry's name; of a function the name it is called by.
        kind: `function`, `provider`, `hook` or `plugin`; "" for a line of metadata that cannot be understood.
        plugin: whose it is, in the spelling that the switches take.
        version: the plugin's version.
        reference: the object it names, as in `my_pkg.text:slugify`.
        location: the metadata it was read from.
        status: `ok`, `shadowed`, `disabled` or `faulty`.
        reason: why it is not `ok`.
    """

    name: str
    kind: str
    plugin: str
    version: str = ""
    reference: str = ""
    location: str = ""
    status: str = "ok"
    reason: str = ""


def read_catalogue() -> "Catalogue":
    """Scan what is installed, with the switches of this environment. Imports no plugin."""
    from jackfield.plugins.discovery import Switches, scan

    return scan(switches=Switches.from_environment(os.environ))


def rows(catalogue: "Catalogue") -> list[Row]:
    """List every entry that was found, whatever became of it, by plugin, kind and name; an editable install's once."""
    found = [_row(candidate) for candidate in catalogue.candidates]
    for lost in catalogue.shadowed:
        if lost.is_editable_twin:
            continue
        winner = f" by {lost.winner.plugin} {lost.winner.version}" if lost.winner is not None else ""
        found.append(_row(lost.candidate, "shadowed", f"shadowed{winner}: {lost.rule}"))
    found += [_row(one.candidate, "disabled", f"switched off by {one.switch}") for one in catalogue.disabled]
    found += [
        Row(fault.entry, "", fault.plugin, status="faulty", reason=fault.reason)
        for fault in catalogue.faults
        if is_of_plugin(fault)
    ]
    kinds = [*_KINDS.values(), ""]
    return sorted(found, key=lambda row: (row.plugin, kinds.index(row.kind), row.name, row.status))


def is_of_plugin(fault: "Fault") -> bool:
    """Whether a fault stands for an entry that no other row shows: a duplicate is a shadowed row already."""
    return bool(fault.plugin) and fault.stage not in {"duplicate", "environment"}


def matching(found: Iterable[Row], pattern: str) -> Iterator[Row]:
    """Keep the rows whose name or plugin matches.

    Args:
        found: the rows.
        pattern: with `*`, `?` or `[` a pattern of the whole name, else a part of it.
    """
    whole = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    for row in found:
        if fnmatch.fnmatchcase(row.name, whole) or fnmatch.fnmatchcase(row.plugin, whole):
            yield row


def unknown(name: str, close: Iterable[str]) -> NoReturn:
    """Fail because nothing of that name is installed.

    Raises:
        typer.Exit: always.
    """
    close = list(close)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "`pluginctl list` shows what there is"
    hint = misspelt_file(name) or hint
    fail(f"nothing installed is called {name[:200]!r}; {hint}")


def misspelt_file(name: str) -> str:
    """Give the hint for a name in the form of an entry point, which no function has; "" for any other."""
    module, colon, attribute = name.partition(":")
    if not colon or "/" in module or module.endswith(".py"):
        return ""
    return f"a function of a file is named as in ./{module.replace('.', '/')[:100]}.py:{attribute[:100] or 'function'}"


def complete_function(incomplete: str) -> list[str]:
    """Complete a function's name, for shells; from metadata alone."""
    return sorted(
        candidate.name
        for candidate in read_catalogue().group("jackfield.functions")
        if candidate.name.startswith(incomplete)
    )


def complete_name(incomplete: str) -> list[str]:
    """Complete a function's or a plugin's name, for shells; from metadata alone."""
    catalogue = read_catalogue()
    names = {candidate.name for candidate in catalogue.group("jackfield.functions")}.union(catalogue.plugins)
    return sorted(name for name in names if name.startswith(incomplete))


def _row(candidate: "Candidate", status: str = "ok", reason: str = "") -> Row:
    return Row(
        candidate.name,
        _KINDS[candidate.group],
        candidate.plugin,
        candidate.version,
        candidate.value,
        candidate.location,
        status,
        reason,
    )
