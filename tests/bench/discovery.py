"""Discovery of a thousand installed distributions, against stevedore; every sample in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from discovery_once import GROUP, PREFIX
from harness import Effort, Series
from results import Row, Section

_ONCE = Path(__file__).with_name("discovery_once.py")
_AN_HOUR = 3_600.0


def run(effort: Effort) -> Section:
    """Compare a cold scan and one with the index with stevedore's cold scan."""
    count = 100 if effort.quick else 1_000
    rounds = 3 if effort.quick else 11
    with TemporaryDirectory() as folder:
        site = Path(folder, "site")
        fabricate(site, count)
        ways = {
            "stevedore cold": ("stevedore", _cache(folder, "stevedore-off", disabled=True)),
            "stevedore cached": ("stevedore", _cache(folder, "stevedore")),
            "cold": ("jackfield-cold", _cache(folder, "cold")),
            "index": ("jackfield-index", _cache(folder, "index")),
            "stevedore load": ("stevedore-load", _cache(folder, "stevedore-load")),
            "start": ("jackfield-start", _cache(folder, "start")),
        }
        for way, cache in ways.values():  # the first run compiles modules and writes the caches
            _once(way, site, cache, count)
        taken: dict[str, list[float]] = {label: [] for label in ways}
        for turn in range(rounds):
            for label in list(ways) if turn % 2 == 0 else list(reversed(ways)):
                way, cache = ways[label]
                taken[label].append(_once(way, site, cache, count))
        written = any(Path(folder, "stevedore").rglob("*"))
    series = {label: Series(tuple(samples)) for label, samples in taken.items()}
    cold = "stevedore, cold"
    rows = [
        Row(f"scan of {count:,} distributions, cold", cold, series["cold"], series["stevedore cold"], bar=1.0),
        Row(
            f"scan of {count:,} distributions, with the index",
            cold,
            series["index"],
            series["stevedore cold"],
            bar=0.25,
        ),
        Row(
            f"`Host.discover()` of {count:,} distributions, and `start()`",
            "stevedore loads them",
            series["start"],
            series["stevedore load"],
        ),
    ]
    if written:  # stevedore keeps no cache for an interpreter below /tmp
        rows.append(Row("with the index", "stevedore, with its cache", series["index"], series["stevedore cached"]))
    return Section(
        "Discovery",
        f"{count:,} fabricated distributions in front of the environment's own on `sys.path`. Each sample in its own"
        " process, the operating system's file cache warm; imports at module level not counted. Stevedore reads names"
        " only (`NamedExtensionManager` with no names loads nothing), its cache disabled when cold. The last row"
        " imports every module on either side, with caches filled; only jackfield reads contracts and supervises"
        " plugins.",
        rows,
    )


def fabricate(site: Path, count: int) -> None:
    """Lay out distributions as an installer would, an hour ago, each with a module and an entry point."""
    site.mkdir()
    for number in range(count):
        name = f"bench_plugin_{number:04}"
        info = site / f"{name}-1.{number}.dist-info"
        info.mkdir()
        (site / f"{name}.py").write_text("def run(text: str) -> str:\n    return text\n", encoding="utf-8")
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.{number}\n",
            "entry_points.txt": f"[{GROUP}]\n{PREFIX}{number} = {name}:run\n",
            "RECORD": f"{name}.py,,\n",
            "INSTALLER": "pip\n",
        }
        for file, text in files.items():
            (info / file).write_text(text, encoding="utf-8")
    for path in (*site.rglob("*"), site):
        status = path.stat()
        os.utime(path, (status.st_atime - _AN_HOUR, status.st_mtime - _AN_HOUR))


def _cache(folder: str, name: str, *, disabled: bool = False) -> Path:
    path = Path(folder, name)
    path.mkdir()
    if disabled:
        (path / "python-entrypoints").mkdir()
        (path / "python-entrypoints" / ".disable").touch()
    return path


def _once(way: str, site: Path, cache: Path, count: int) -> float:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "LOCALAPPDATA": str(cache)}
    command = [sys.executable, str(_ONCE), way, str(site)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # ours
    if done.returncode:
        raise RuntimeError(f"{way}: {done.stderr}")
    found = json.loads(done.stdout)
    if found["found"] != count:
        raise RuntimeError(f"{way} found {found['found']} of {count} entry points")
    return float(found["seconds"])
