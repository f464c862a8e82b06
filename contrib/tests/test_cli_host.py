"""`pluginctl --host URL`: verbs that a host elsewhere answers through its door, with the key of a tenant."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from serving import open_door

from jackfield import Host

pytestmark = pytest.mark.slow

PLUGIN = """
from jackfield import Rejected, function

@function
def shout(text: str, times: int = 1) -> str:
    '''Say it loudly.'''
    return text.upper() * times

@function
def refuse() -> None:
    raise Rejected("not today", code="closed")
"""
CONFIG = """
[store]
url = "sqlite:jackfield.db"
[[plugin]]
name = "text"
path = "./text.py"
[tenants.t]
keys = ["sha256:{digest}"]
"""
KEY = "jf_a_key_of_t"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    (folder / "text.py").write_text(PLUGIN)
    (folder / "jackfield.toml").write_text(CONFIG.format(digest=hashlib.sha256(KEY.encode()).hexdigest()))
    with Host.from_config(folder / "jackfield.toml", observers=()) as host, open_door(host) as door:
        yield door.address


def pluginctl(*arguments, key=KEY):
    environment = {**os.environ, "JACKFIELD_KEY": key}
    command = [sys.executable, "-m", "jackfield", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["list"], "Say it loudly."),
        (["list", "text.s*", "--json"], '"name":"text.shout"'),
        (["info", "text.shout"], "times: int = 1"),
        (["call", "text.shout", "text=hi", "times=2"], '"HIHI"'),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["before the verb", "after it"])
def test_what_is_there_is_shown_and_called(url, arguments, shown, first):
    """Wherever the option stands."""
    where = ["--host", url]
    done = pluginctl(*where, *arguments) if first else pluginctl(*arguments, *where)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_a_call_is_submitted_listed_read_and_cancelled(url):
    """By its id."""
    where = ["--host", url]
    made = json.loads(pluginctl("submit", "text.shout", "text=b", "--json", *where).stdout)
    assert pluginctl("result", made["id"], "--wait", *where).stdout.strip() == '"B"'
    assert made["id"] in pluginctl("calls", *where).stdout
    late = pluginctl("cancel", made["id"], *where)
    assert (late.returncode, "has ended already" in late.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["call", "text.shout", "text=hi", "times=x"], "payload at $.times: expected int"),
        (["call", "text.nothing"], "no function 'text.nothing'"),
        (["call", "text.refuse"], "not today"),
        (["status"], "a host elsewhere answers list, info, call"),
        (["call", "text.shout", "--tenant", "other", "text=a"], "its key says"),
        (["calls", "--control", "c.sock"], "give one of them"),
        (["result", "0" * 32], "there is no such call"),
    ],
)
def test_what_cannot_be_is_told(url, arguments, said):
    """With exit code 1, or 2 for what was typed wrongly."""
    done = pluginctl("--host", url, *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert KEY not in done.stderr


def test_a_wrong_key_and_nobody_there_are_told_apart(url):
    """And a key goes to nobody beyond this machine without TLS."""
    wrong = pluginctl("list", "--host", url, key="jf_wrong").stderr
    assert "this host serves its tenants alone: a request has the key or token of one" in wrong
    assert "JACKFIELD_KEY" not in wrong
    assert "$JACKFIELD_KEY is the key, or --key-file names its file" in pluginctl("list", "--host", url, key="").stderr
    assert "no connection" in pluginctl("list", "--host", "http://127.0.0.1:1").stderr
    assert "--insecure of pluginctl" in pluginctl("list", "--host", "http://192.0.2.1:80").stderr
    assert "--key-file" in pluginctl("list", "--host", url, "--key-file", "/nowhere").stderr
