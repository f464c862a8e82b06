"""Hosts whose plugins run in workers."""

import os
import textwrap
import time

import pytest

from jackfield import Host
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe

needs_workers = pytest.mark.skipif(
    os.name != "posix" or not probe(Tier.SELF).available, reason="needs a sandbox of the tier self"
)

PATIENCE = 30.0
"""Seconds that only something broken uses up."""


def until(condition):
    """Wait for what another thread or process brings about."""
    ends = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < ends, "it has not come about"
        time.sleep(0.01)
    return found


def written(folder, code, more="", *, name="apart"):
    """Write a plugin of one file, and a configuration that has it in workers; gives that file."""
    (folder / f"{name}.py").write_text(textwrap.dedent(code), "utf-8")
    file = folder / "jackfield.toml"
    plugin = f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\nexecutor = "worker"\n'
    before = file.read_text("utf-8") if file.exists() else ""
    file.write_text(f"{before}{plugin}{textwrap.dedent(more)}\n", "utf-8")
    return file


def apart(folder, code, more="", **options):
    """Give a host, not started, that has one plugin in workers."""
    return Host.from_config(written(folder, code, more), **{"observers": (), **options})
