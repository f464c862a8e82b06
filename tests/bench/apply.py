"""An apply to a host of a thousand plugins of which one has changed."""

import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from time import process_time

import attrs
from harness import Effort, Series, forgetting_logs
from results import Check, Row, Section

from jackfield import Host
from jackfield.config import Configuration, PluginConfig, load_config

_BUDGET = 0.020
"""Seconds that an apply may take beside what its one plugin takes."""

_PLUGIN = "from jackfield import function\n\n\n@function\ndef get() -> int:\n    return {}\n"
_TABLE = """
[[plugin]]
name = "p{number}"
path = "./p{number}.py"
{needs}
timeout = 2.5
restart = "on-failure"
options = {{ url = "http://localhost/{number}", size = {number} }}
"""


def run(effort: Effort) -> Section:
    """Compare an apply with the one plugin's own way, and reading its file with reading TOML."""
    count, rounds = (100, 2) if effort.quick else (1_000, 7)
    with tempfile.TemporaryDirectory() as folder, forgetting_logs():
        file = _write(Path(folder), count)
        with Host.from_config(file, observers=()) as host:
            return _measure(host, file, count, rounds)


def _write(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"p{number}.py").write_text(_PLUGIN.format(number), "utf-8")
    needs = [f'depends_on = ["p{number - 1}"]' if number % 10 else "" for number in range(count)]
    tables = [_TABLE.format(number=number, needs=needs[number]) for number in range(count)]
    file = folder / "jackfield.toml"
    file.write_text("".join(tables), "utf-8")
    return file


def _measure(host: Host, file: Path, count: int, rounds: int) -> Section:
    text, configuration = file.read_text("utf-8"), load_config(file)
    taken: dict[str, list[float]] = {"apply": [], "own": [], "nothing": [], "file": [], "load": [], "toml": []}
    wrong = 0
    for turn in range(rounds):
        changed = _with_timeout(configuration, turn + 3.0)
        plugin = changed.plugins["p9"]

        def own(plugin: PluginConfig = plugin) -> None:
            host.unload("p9")
            host.load(plugin)

        taken["apply"].append(_timed(lambda changed=changed: host.apply(changed)))  # type: ignore[misc]  # as above
        wrong += host.describe("p9.get").policy.timeout != turn + 3.0
        taken["nothing"].append(_timed(lambda changed=changed: host.apply(changed)))  # type: ignore[misc]  # as above
        taken["own"].append(_timed(own))
        wrong += bool(host.apply(changed).changes or host.apply(changed).drift)
        host.apply(configuration)
        taken["file"].append(_timed(lambda: host.apply(file)))
        taken["load"].append(_timed(lambda: load_config(file)))
        taken["toml"].append(_timed(lambda: tomllib.loads(text)))
    series = {label: Series(tuple(samples)) for label, samples in taken.items()}
    budget = Series((_BUDGET,) * rounds)
    beside = Series(tuple(mine - own for mine, own in zip(taken["apply"], taken["own"], strict=True)))
    what = f"{count:,} plugins"
    return Section(
        "Applying a configuration",
        f"A host that runs {what} of a file each, ten deep. One plugin's timeout changes; its own way is to unload it,"
        " to load it and to start it.",
        [
            Row(f"apply of one change in {what}, less the plugin's own way", "20 ms", beside, budget, 1.0),
            Row(f"apply of nothing to {what}", "20 ms", series["nothing"], budget),
            Row(f"apply of a file of {what}", "`tomllib.loads` of it", series["file"], series["toml"], 3.0),
            Row(f"`load_config` of {what}", "`tomllib.loads` of it", series["load"], series["toml"]),
        ],
        [Check("applies that did not do what the file says", wrong, 2 * rounds)],
    )


def _with_timeout(configuration: Configuration, timeout: float) -> Configuration:
    plugin = attrs.evolve(configuration.plugins["p9"], timeout=timeout)
    return attrs.evolve(configuration, plugins={**configuration.plugins, "p9": plugin})


def _timed(action: Callable[[], object]) -> float:
    # Of the processor: nothing here waits for long, and what else the machine does is not the host's.
    begun = process_time()
    action()
    return process_time() - begun
