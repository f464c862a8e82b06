"""Checking a configuration: the file here, the plugins that it declares in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.errors import ConfigError, Fault, JackfieldError
from jackfield.model.names import close_names

if TYPE_CHECKING:
    from jackfield.config import Configuration

# Not `-m`, for which Python puts the working directory first: a `types.py` there would end all imports.
_CHILD = "import sys; sys.path[:] = {path!r}; from jackfield.cli.configured import main; main()"
_PATIENCE = "give --timeout more than the plugins' start_timeout (30 s by default): then the one that hangs is named"


def check_configuration(
    path: Path, timeout: float, *, in_worker: bool = False
) -> tuple[list[str], list[dict[str, str]], tuple[Fault, ...]]:
    """Check a configuration file, then load what it declares; nothing is started.

    Args:
        path: the file.
        timeout: seconds that loading may take.
        in_worker: load every plugin in workers, and not only those that say so.

    Returns:
        The functions that could be called, the notes on them, and every fault.
    """
    from jackfield.config import load_config

    try:
        load_config(path)
    except ConfigError as error:
        faults = error.faults or (Fault("config", "", error.key or error.file, error.reason),)
        return [], [], tuple(_of(path, fault) for fault in faults)
    command = [
        sys.executable,
        "-c",
        _CHILD.format(path=list(map(str, sys.path))),
        str(path),
        *(["in-worker"] if in_worker else []),
    ]
    try:
        # Plugins may print what they like to stdout; the report is the last line of what the child says there.
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)  # noqa: S603  # ourselves
    except subprocess.TimeoutExpired:
        return (
            [],
            [],
            (Fault("import", "", path.name, f"loading its plugins took longer than {timeout:g} s", _PATIENCE),),
        )
    lines = done.stdout.splitlines()
    try:
        functions, notes, faults = json.loads(lines[-1])
        return functions, notes, tuple(Fault(**fault) for fault in faults)
    except (IndexError, TypeError, ValueError):
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
        reason = f"loading its plugins ended the process (status {done.returncode}){f': {said}' if said else ''}"
        return [], [], (Fault("import", "", path.name, reason, "load its plugins one by one to see which"),)


def _of(path: Path, fault: Fault) -> Fault:
    """Name the file itself where it cannot be read."""
    import attrs

    return attrs.evolve(fault, entry=str(path)) if fault.entry == "file" else fault


def report(path: str, *, in_worker: bool = False) -> str:
    """Load what a configuration declares, in this process, and tell what came of it as JSON.

    Args:
        path: the file.
        in_worker: load every plugin in workers.
    """
    import attrs
    from loguru import logger

    from jackfield.cli.apart import moved, without_store
    from jackfield.config import load_config
    from jackfield.executors.places import BUILT_IN
    from jackfield.host import Host
    from jackfield.stack import show_messages_here

    logger.disable("jackfield")
    show_messages_here()
    try:
        whole = load_config(path, executors=BUILT_IN)
        said = without_store(whole)
        host = Host.from_config(moved(said) if in_worker else said, observers=())
        functions, faults = host.declared()
    except JackfieldError as error:
        return json.dumps(
            [[], [], [attrs.asdict(one) for one in error.faults or (Fault("config", "", path, str(error)),)]]
        )
    specs = [host.describe(name) for name in functions]
    notes = [{"function": spec.name, "plugin": spec.plugin, "note": note} for spec in specs for note in spec.notes]
    for name in list(host.worker_tiers):  # else what is around their processes is left behind
        host.unload(name)
    faults = (*faults, *_unknown(whole, functions))
    return json.dumps([list(functions), notes, [attrs.asdict(fault) for fault in faults]])


def _unknown(configuration: "Configuration", functions: Collection[str]) -> Iterator[Fault]:
    """Find the functions that webhooks and deliveries name, and nothing brings."""
    for name, hook in configuration.webhooks.items():
        if hook.function not in functions:
            close = close_names(hook.function, functions)
            fix = f"did you mean {' or '.join(map(repr, close))}?" if close else "declare its plugin"
            yield Fault("webhook", "", f"webhook {name}", f"there is no function {hook.function!r}", fix)
    for name, delivery in configuration.deliveries.items():
        for pattern in delivery.functions:
            if not any(fnmatchcase(function, pattern) for function in functions):
                reason = f"no function is named like {pattern!r}"
                yield Fault("delivery", "", f"delivery {name}", reason, "correct the pattern, or declare the plugin")


def main() -> None:
    """Write the report of the file that the arguments name, on a line of its own."""
    sys.stdout.write(f"\n{report(sys.argv[1], in_worker='in-worker' in sys.argv[2:])}\n")
