"""Running tests as a user without privileges, where they are run by root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jackfield.sandbox.probing import runtime_paths

NOBODY = 65534


def as_nobody(*command):
    """Run a Python as nobody, and give what it prints."""
    paths = os.pathsep.join(
        [*runtime_paths(("jackfield", "attrs", "attr", "msgspec", "seccompy")), str(Path(__file__).parents[1])]
    )
    done = subprocess.run(
        [shutil.which("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interpreter_for_nobody():
    """Find a Python of this version that nobody may read."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            as_nobody(
                python,
                "-c",
                "import os, sys, msgspec, jackfield.sandbox.enter; assert os.access(sys.executable, os.X_OK)",
            )
        except (AssertionError, OSError):
            continue
        return python
    pytest.skip(f"nobody may read no {version} here")
