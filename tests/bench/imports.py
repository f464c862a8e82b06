"""What a process pays before it does anything: imports of the library, and of the command line."""

import os
import subprocess
import sys
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from harness import Effort, Series
from results import Row, Section

_LIBRARIES = (
    "attrs, cattrs, importlib_metadata, loguru, msgspec, opentelemetry.sdk.trace, packaging.version, platformdirs,"
    " pluggy, prometheus_client, rich, typer"
)
_WAYS = {
    "Host": ("-c", "from jackfield import Host"),
    "hosted": ("-c", "from jackfield import Host; Host(observers=())"),
    "observed": ("-c", "from jackfield import Host; Host()"),
    "libraries": ("-c", f"import {_LIBRARIES}"),
    "stevedore": ("-c", "import stevedore"),
    "help": ("-m", "jackfield", "--help"),
    "list": ("-m", "jackfield", "list"),
    "pip": ("-m", "pip", "--version"),
}


def run(effort: Effort) -> Section:
    """Compare processes that only import with one another, by the CPU time that they take."""
    rounds = 3 if effort.quick else 15
    taken: dict[str, list[float]] = {label: [] for label in _WAYS}
    with TemporaryDirectory() as cache:
        # Byte code is written by the first run of each, as an installer would.
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": os.path.join(cache, "code")}  # noqa: PTH118
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for command in _WAYS.values():
            _cpu_seconds(command, environment)
        for turn in range(rounds):
            for label in list(_WAYS) if turn % 2 == 0 else list(_WAYS)[::-1]:
                taken[label].append(_cpu_seconds(_WAYS[label], environment))
    series = {label: Series(tuple(samples)) for label, samples in taken.items()}
    libraries, pip = "all required libraries", "`python -m pip --version`"
    return Section(
        "Imports",
        "CPU time of whole processes, the interpreter's own start included on both sides; byte code is there.",
        [
            Row("`from jackfield import Host`", libraries, series["Host"], series["libraries"], bar=1.0),
            Row("`Host(observers=())`", libraries, series["hosted"], series["libraries"], bar=1.0),
            Row("`Host()`, with spans, metrics and logs", libraries, series["observed"], series["libraries"]),
            Row("`from jackfield import Host`", "`import stevedore`", series["Host"], series["stevedore"]),
            Row("`pluginctl --help`", pip, series["help"], series["pip"], bar=1.5),
            Row("`pluginctl list`", pip, series["list"], series["pip"], bar=1.5),
        ],
    )


def _cpu_seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
