"""`pluginctl check --in-worker`: what a plugin could not do in a sandbox is found before it runs there."""

import json
import subprocess
import sys
import textwrap

import pytest
from tests.support.apart import needs_workers

pytestmark = needs_workers

GOOD = """
from jackfield import function
@function
def pid() -> int: ...
"""
BAD = """
from jackfield import function
with open("/etc/hostname"):
    pass
@function
def pid() -> int: ...
"""


def check(folder, *arguments):
    command = [sys.executable, "-m", "jackfield", "check", *arguments, "--json"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("code", "options", "ok"), [(GOOD, ["--in-worker"], True), (BAD, [], True), (BAD, ["--in-worker"], False)]
)
def test_a_file_is_loaded_in_a_worker(tmp_path, code, options, ok):
    """What its import reads outside of its own files is refused there, and only there."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(code), "utf-8")
    shown = check(tmp_path, "./mine.py", *options)
    assert shown["ok"] is ok, shown
    assert len(shown["functions"]) == (1 if ok else 0)
    assert all("PermissionError" in fault["reason"] for fault in shown["faults"])


@pytest.mark.parametrize(
    ("executor", "options", "ok"), [("", [], True), ('executor = "worker"', [], False), ("", ["--in-worker"], False)]
)
def test_a_configuration_says_what_is_loaded_where(tmp_path, executor, options, ok):
    """Its plugins for workers always are; with the option, all of them."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(BAD), "utf-8")
    (tmp_path / "jackfield.toml").write_text(f'[[plugin]]\nname = "mine"\npath = "./mine.py"\n{executor}\n', "utf-8")
    shown = check(tmp_path, "jackfield.toml", *options)
    assert shown["ok"] is ok, shown
