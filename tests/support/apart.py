"""Hosts whose plugins are in workers: made of files of a test, and what they leave in the system, counted."""

import os
import textwrap
import time
from functools import cache
from pathlib import Path

import attrs

from jackfield import Host
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe


@cache
def why_not():
    """Say why no worker can be had here, or ""."""
    found = probe(Tier.SELF)
    return "" if found.available else f"no sandbox of the tier self: {found.reason}"


def host_of(folder, further="", **plugins):
    """Make a host of plugins that are files, each in workers.

    Args:
        folder: where the files and the configuration are written.
        further: of the configuration, behind the plugins.
        plugins: the code of each by its name; or the code, further lines of its table, and
            ":Object" of the object that it is.
    """
    tables = []
    for name, said in plugins.items():
        code, lines, thing = (said, "", "") if isinstance(said, str) else (*said, "")[:3]
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
        tables.append(f'[[plugin]]\nname = "{name}"\npath = "./{name}.py{thing}"\nexecutor = "worker"\n{lines}\n')
    config = folder / "jackfield.toml"
    config.write_text("\n".join([*tables, further]))
    return Host.from_config(config, observers=())


def until(condition, seconds=20.0):
    """Wait for a condition; give what it gave last."""
    end = time.monotonic() + seconds
    found = condition()
    while not found and time.monotonic() < end:
        time.sleep(0.01)
        found = condition()
    return found


@attrs.frozen
class Process:
    """One process, as `/proc` shows it."""

    pid: int
    state: str
    parent: int
    group: int
    began: int


def processes():
    """Give all that there are, by number."""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(each.name)
            found[pid] = Process(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[19]))
    return found


def below(pid=0):
    """Give everything that a process has started, and those have; zombies too."""
    known = processes()
    found, look = {}, [pid or os.getpid()]
    while look:
        parent = look.pop()
        for each in known.values():
            if each.parent == parent and each.pid not in found:
                found[each.pid] = each
                look.append(each.pid)
    return found


class Traces:
    """What a host may leave: made before it, asked after it."""

    def __init__(self):
        self._before = set(below())
        self._descriptors = descriptors()
        self._mine = os.getpgrp()
        self._groups = set()
        self._seen = set()

    def look(self):
        """Remember the processes that are there now: those below this one, and everything in their groups."""
        for each in below().values():
            if each.pid not in self._before:
                self._seen.add((each.pid, each.began))
                if each.group != self._mine:
                    self._groups.add(each.group)

    def left(self):
        """Give the processes that are still there: below this one, in a group of theirs, or those that were seen."""
        known = processes()
        there = {pid: each for pid, each in below().items() if pid not in self._before}
        for each in known.values():
            if each.group in self._groups or (each.pid, each.began) in self._seen:
                there[each.pid] = each
        return there

    def gone(self):
        """Tell whether nothing is left, and no descriptor is open beyond those from before."""
        until(lambda: not self.left())
        assert self.left() == {}
        until(lambda: len(descriptors()) <= len(self._descriptors))
        more = {name: where for name, where in descriptors().items() if name not in self._descriptors}
        assert len(descriptors()) <= len(self._descriptors), more
        return True


def zombies():
    """Give the zombies below this process."""
    return [each for each in below().values() if each.state == "Z"]


def descriptors():
    """Give this process's own descriptors, and what they are."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        try:
            found[each.name] = str(each.readlink())
        except OSError:
            continue
    return found
