"""Hostile code in a guest gets what the table of docs/reference/sandbox-tiers.md says, whoever runs it."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe, runtime_paths

if sys.platform != "linux":
    pytest.skip("sandboxes are Linux's", allow_module_level=True)

from support.attacks import ATTACKS
from support.guests import attacks_in, source
from support.nobody import as_nobody, interpreter_for_nobody

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sandbox-tiers.md"
COLUMNS = ("importing", *Tier)
TIERS = [(Tier.SELF, ""), (Tier.NAMESPACES, ""), (Tier.OCI, "runc"), (Tier.OCI, "crun")]


def table():
    """Give the page's table: attack → column → what it gets."""
    text = PAGE.read_text("utf-8").partition("## Attacks")[2].partition("\n## ")[0]
    found = {}
    for line in text.splitlines():
        attack, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(COLUMNS) and not attack.startswith(("-", "attack")):
            found[attack] = dict(zip(COLUMNS, [re.sub("`", "", cell) for cell in cells], strict=True))
    return found


@pytest.fixture
def folder():
    """A folder that everybody may reach and write, with files that are of interest."""
    made = Path(tempfile.mkdtemp(prefix="jackfield-attacked-"))
    made.chmod(0o777)
    for name in ("secret", "configuration", "environment", "writable"):
        (made / name).touch()
        (made / name).chmod(0o666)
    yield made
    shutil.rmtree(made)


def test_the_page_has_every_attack():
    """The table has each attack that is tried, and no other."""
    assert set(table()) == {*ATTACKS, "a thread from before stage two"}


@pytest.mark.slow
@pytest.mark.parametrize(("tier", "program"), TIERS, ids=lambda value: value and str(value))
def test_attacks_of_this_user(tier, program, folder):
    """What the tests' own user gets, root mostly."""
    if reason := probe(tier, program or None).reason:
        pytest.skip(reason)
    check(tier, *attacks_in(tier, folder, program=program or None))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("tier", "program"), TIERS, ids=lambda value: value and str(value))
def test_attacks_of_a_user_without_privileges(tier, program, folder):
    """The same, for nobody."""
    python = interpreter_for_nobody()
    code = "from jackfield.sandbox.port import Tier; from jackfield.sandbox.probing import probe\n"
    code += f"print(probe(Tier({tier.value!r}), {program or None!r}).reason)"
    if reason := as_nobody(python, "-c", code).strip():
        pytest.skip(reason)
    guests = str(Path(__file__).parents[1] / "support" / "guests.py")
    check(tier, *json.loads(as_nobody(python, guests, tier.value, str(folder), program).splitlines()[-1]))


def check(tier, importing, working):
    """Compare with the page."""
    said = table()
    if tier is Tier.SELF:
        assert importing == {name: cells["importing"] for name, cells in said.items() if name in importing}
    assert working == {name: cells[tier] for name, cells in said.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        "read a file of the home folder",
        "list the root folder",
        "open a file for writing",
        "empty a file that it opens for reading",
        "truncate",
        "chmod",
        "memfd_create",
        "socket over TCP",
        "socket over UDP",
        "socket of Unix",
        "socket of netlink",
        "fork",
        "clone3",
        "posix_spawn",
        "kill the host",
        "kill the parent",
        "pidfd_open",
        "limits of the host",
        "set a limit",
        "sched_setscheduler",
        "sched_setaffinity",
        "setpriority",
        "setpgid",
        "personality",
        "outlive its parent",
        "send to a datagram socket by its path",
        "a socket in a new thread",
    ],
)
def test_without_a_sandbox_it_would_work(attack, folder, tmp_path):
    """An attack that fails anyhow would prove nothing: outside a guest these do what they want."""
    code = "import json, os, sys; space = {'__name__': 'attacks'}; exec(sys.stdin.read(), space)\n"
    code += "from support.guests import numbers; space['NUMBERS'].update(numbers())\n"
    code += f"print(space['outcome'](lambda: space['ATTACKS'][{attack!r}](json.loads(os.environ['SETTING']))))"
    names = ("secret", "configuration", "environment", "writable", "new")
    with subprocess.Popen(["/bin/sleep", "60"]) as host, receiver(folder) as datagrams:
        setting = {name: str(folder / name) for name in names}
        setting |= {"host": host.pid, "folder": str(folder), "datagrams": datagrams}
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=source(),
            env={
                "PYTHONPATH": os.pathsep.join([*runtime_paths(), str(Path(__file__).parents[1])]),
                "SETTING": json.dumps(setting),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        host.kill()
    assert done.stdout.strip() == "done", done.stderr


@contextlib.contextmanager
def receiver(folder):
    """Give the path of a datagram socket that somebody reads from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(folder / "datagrams"))
        yield made.getsockname()
