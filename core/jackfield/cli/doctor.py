"""`pluginctl doctor`."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jackfield.cli.entries import read_catalogue
from jackfield.cli.output import columns, counted, show_faults, styled, write_json

if TYPE_CHECKING:
    from jackfield.plugins.discovery import Catalogue, Switches


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Write a JSON object.")] = False,
) -> None:
    """Look for faults of this installation.

    Works when plugins are broken: it imports none of them.
    """
    from jackfield.plugins.discovery import Switches

    switches = Switches.from_environment(os.environ)
    catalogue = read_catalogue()
    python = _python()
    report: dict[str, Any] = {
        "ok": not catalogue.faults,
        "jackfield": _jackfield(),
        "python": python,
        "switches": _switches(switches),
        "cache": _cache(switches),
        "plugins": _plugins(catalogue),
        "notes": _notes(python),
        "faults": catalogue.faults,
    }
    if as_json:
        write_json(report)
    else:
        _show(report)
    if catalogue.faults:
        raise typer.Exit(1)


def _jackfield() -> dict[str, str]:
    from importlib.metadata import version

    return {"version": version("jackfield"), "location": str(Path(__file__).parents[1])}


def _python() -> dict[str, Any]:
    import platform
    import sysconfig

    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "venv": sys.prefix != sys.base_prefix,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def _switches(switches: "Switches") -> dict[str, Any]:
    return {
        "JACKFIELD_LOAD_PLUGINS": switches.load,
        "JACKFIELD_DISABLE_PLUGINS": switches.disable,
        "JACKFIELD_STRICT": switches.strict,
        "JACKFIELD_NO_CACHE": switches.no_cache,
    }


def _cache(switches: "Switches") -> dict[str, Any]:
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("jackfield", appauthor=False))
    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        files = sum(1 for _ in folder.glob("entry-points-*"))
    except OSError:
        files = 0
    return {
        "folder": str(folder),
        "enabled": not switches.no_cache,
        "writable": os.access(existing, os.W_OK | os.X_OK),
        "indexes": files,
    }


def _plugins(catalogue: "Catalogue") -> list[dict[str, Any]]:
    served = Counter((one.plugin, one.group.rpartition(".")[2]) for one in catalogue.candidates)
    off = {one.candidate.plugin for one in catalogue.disabled}
    versions = {one.plugin: one.version for one in catalogue.candidates}
    return [
        {
            "plugin": plugin,
            "version": versions.get(plugin, ""),
            "disabled": plugin in off,
            **{group: served[plugin, group] for group in ("functions", "providers", "hooks", "plugins")},
        }
        for plugin in catalogue.plugins
    ]


def _notes(python: dict[str, Any]) -> list[str]:
    """Say what is unusual here: no fault, and often the answer to "why is my plugin not found?"."""
    notes = []
    if python["free_threaded"] and python["gil"]:
        notes.append("this free-threaded Python runs with its GIL on (PYTHON_GIL, or an extension module)")
    if sys.flags.optimize:
        notes.append("asserts are off (-O or PYTHONOPTIMIZE)")
    if os.environ.get("PYTHONPATH") and not sys.flags.ignore_environment:
        notes.append(f"PYTHONPATH is set, and comes before what is installed: {os.environ['PYTHONPATH']}")
    found = shutil.which("python3") or shutil.which("python")
    if found and Path(found).resolve() != Path(sys.executable).resolve():
        notes.append(f"the shell's python is another one ({found}): what its pip installs is not seen here")
    elif found and python["venv"] and Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        notes.append(f"the shell's python is not this environment's ({found}): what its pip installs is not seen here")
    return notes


def _show(report: dict[str, Any]) -> None:
    python, cache = report["python"], report["cache"]
    switches = [
        f"{name}={','.join(value) if isinstance(value, tuple) else 1}"
        for name, value in report["switches"].items()
        if value
    ]
    state = "off" if not cache["enabled"] else "on" if cache["writable"] else "on, but its folder cannot be written"
    build = "free-threaded, " if python["free_threaded"] else ""
    fields = [
        ("jackfield", f"{report['jackfield']['version']} ({report['jackfield']['location']})"),
        ("python", f"{python['version']} ({build}{python['executable']})"),
        ("environment", python["prefix"] + ("" if python["venv"] else " (no virtual environment)")),
        ("switches", " ".join(switches) or "none"),
        ("index cache", f"{state}, {counted(cache['indexes'], 'file')} in {cache['folder']}"),
        ("plugins", str(len(report["plugins"]))),
    ]
    for line in columns(fields):
        typer.echo(line)
    kinds = ("functions", "providers", "hooks", "plugins")
    lines = [
        (
            f"{one['plugin']} {one['version']}".rstrip(),
            "disabled"
            if one["disabled"]
            else ", ".join(counted(one[kind], kind[:-1]) for kind in kinds if one[kind]) or "serves nothing",
        )
        for one in report["plugins"]
    ]
    for line in columns(lines, "  "):
        typer.echo(line)
    for note in report["notes"]:
        typer.echo(f"{styled('note', 'odd')}: {note}")
    show_faults(report["faults"])
    found = len(report["faults"])
    verdict = styled(counted(found, "fault"), "bad") if found else styled("no faults", "good")
    typer.echo(f"{verdict} in what the metadata says; `pluginctl check` imports the plugins and looks at the rest")
