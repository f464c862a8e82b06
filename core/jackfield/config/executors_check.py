"""What can be wrong with the executors that a configuration names."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from jackfield.config.adapters import ADAPTERS
from jackfield.config.executors import ExecutorConfig, ExecutorSettings
from jackfield.config.model import EXECUTORS
from jackfield.config.problems import PLACEHOLDER, KeyPath, Problem, did_you_mean, quoted
from jackfield.config.secrets import Secret, resolve_secrets

_KIND: Final = "executor:"
_PLAIN: Final = "put it into an environment variable or a file and write 'env:NAME' or 'file:/path' here"


def check_executors(
    declared: Mapping[str, ExecutorConfig], folder: Path
) -> tuple[Mapping[str, ExecutorSettings], list[Problem]]:
    """Check executors, and find their keys.

    Args:
        declared: name → table.
        folder: that of the configuration file.

    Returns:
        Name → what its adapter is made with, and what is wrong.
    """
    made: dict[str, ExecutorSettings] = {}
    problems: list[Problem] = []
    for name, config in declared.items():
        at: KeyPath = ("executors", name)
        problems += _problems(name, config, at)
        key, wrong = _key(config, at, folder)
        problems += wrong
        made[name] = ExecutorSettings(name, config.kind, config.url, key, config.insecure)
    return made, problems


def _problems(name: str, config: ExecutorConfig, at: KeyPath) -> Iterator[Problem]:
    if name in EXECUTORS:
        yield Problem(at, f"{quoted(name)} is an executor that is there already", "give it another name")
    if not name or not name.isprintable():
        yield Problem(at, f"{quoted(name)} cannot be the name of an executor", "use printable characters")
    if config.url != PLACEHOLDER and "://" not in config.url:
        yield Problem((*at, "url"), f"{quoted(config.url)} is no URL", "write it with its scheme, as http://HOST:PORT")
    if config.kind == PLACEHOLDER:
        return
    known = [point.name.removeprefix(_KIND) for point in entry_points(group=ADAPTERS) if _KIND in point.name]
    if config.kind not in known:
        fix = did_you_mean(config.kind, [*dict.fromkeys([*known, "remote"])])
        if config.kind == "remote":
            fix = "pip install 'jackfield-contrib[client]'"
        yield Problem((*at, "kind"), f"nothing that is installed has an executor {quoted(config.kind)}", fix)


def _key(config: ExecutorConfig, at: KeyPath, folder: Path) -> tuple[Secret | None, list[Problem]]:
    if config.key is None:
        return None, []
    found, problems = resolve_secrets({"key": config.key}, at, folder)
    key = found["key"]
    if isinstance(key, Secret):
        return key, problems
    return None, [Problem((*at, "key"), "a secret in plain text", _PLAIN)]
