"""The how-tos of other frameworks, with the real thing: the files of a page, run by the commands of the page.

They need the dependency group `frameworks`; `nox -s frameworks` has it, and runs them with `-m frameworks`.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support.pages import PAGES, Page

HERE = Path(__file__).parent
PATIENCE = 60.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave them out unless they are asked for."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker("frameworks")
    if "frameworks" not in config.option.markexpr:
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)


class Workplace:
    """A folder with the files of a page, and the processes that were started in it."""

    def __init__(self, name, folder):
        self.page = Page(PAGES[f"docs/how-to/{name}.md"], folder)
        self.page.write()
        self.folder = folder
        self.processes = []

    @property
    def environ(self):
        """The environment of its processes: the page's modules, the sources under test."""
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path, "JACKFIELD_NO_CACHE": "1"}

    def command(self, first, *more):
        """Take the page's own command, and add to it."""
        found = next(line for line in self.page.commands(first) if all(word in line for word in more))
        return shlex.split(found)[shlex.split(found).index(first) :]

    def run(self, *command):
        """Run a Python module to its end; gives what it writes."""
        command = [sys.executable, "-m", *command]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def start(self, command, **environ):
        """Start a program of a console line; it is a leader of its group, which ends with the test."""
        log = (self.folder / f"log-{len(self.processes)}.txt").open("w+")
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process.log = log
        self.processes.append(process)
        return process

    def said(self):
        """Give what the processes have written."""
        return "\n".join(Path(process.log.name).read_text() for process in self.processes)

    def until(self, condition, what):
        """Wait for something; gives it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if found := condition():
                    return found
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE:g} s: {what}\n{self.said()[-4000:]}")

    def close(self):
        """End what runs still."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.log.close()


@pytest.fixture
def workplace(tmp_path):
    """Make the workplace of a page by its name."""
    made = []
    yield lambda name: made.append(Workplace(name, tmp_path)) or made[-1]
    for each in made:
        each.close()


class Site:
    """An HTTP server under test."""

    def __init__(self, port):
        self.port = port

    def __call__(self, path, body=None):
        """Ask; gives status and text, of errors, too."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)  # ours
        try:
            with urllib.request.urlopen(asked, timeout=20.0) as answer:  # noqa: S310  # as above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def total(self, metric, *labels):
        """Add up the samples of a metric whose line has these labels."""
        lines = self("/metrics")[1].splitlines()
        found = [line for line in lines if re.match(rf"{metric}[ {{]", line) and all(each in line for each in labels)]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def free_port():
    """Find a port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def site():
    """A server on a port of its own, to be started there."""
    return Site(free_port())


@pytest.fixture
def children():
    """Tell the children of a process."""

    def of(pid):
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in listed.split()]

    return of
