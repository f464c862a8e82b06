"""Who else may write what a host believes: real files, and real users where this one may become another."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jackfield import ConfigError, Host
from jackfield.config import load_config
from jackfield.config.trust import Trust

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owners and modes of this kind")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away: run this as root, too"
)

NOBODY, OTHER = 65_534, 12_345  # two users that need not exist

PLUGIN = "from jackfield import function\n\n@function\ndef one() -> int:\n    return 1\n"
CONFIG = '[[plugin]]\nname = "solo"\npath = "./solo.py"\n[[plugin]]\nname = "group"\npath = "./group"\n'


def made(folder):
    """Make a configuration with a file and a folder, all of it this user's alone."""
    (folder / "group").mkdir()
    for file in ("solo.py", "group/__init__.py"):
        (folder / file).write_text(PLUGIN)
    (folder / "group/tax.py").write_text("")
    (folder / "jackfield.toml").write_text(CONFIG)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def folder(tmp_path):
    return made(tmp_path)


LOADS = """
import json, os, sys
from jackfield import Host, JackfieldError
from loguru import logger
said = []
logger.remove()
logger.add(lambda message: said.append(message.record["extra"].get("fix") or ""), level="WARNING")
uid = int(sys.argv[2])
Host.from_config(sys.argv[3], observers=())  # imports what another user may not be able to reach
said.clear()
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
try:
    host = Host.from_config(sys.argv[1], observers=())
    faults = [f"{fault.reason} -> {fault.fix}" for fault in host.faults]
except JackfieldError as error:
    faults = [str(error)]
print(json.dumps([faults, said]))
"""


def loads(folder, warm, uid=0):
    """Load the configuration as some user, in a process of its own; give the faults, and the fixes of the warnings."""
    command = [sys.executable, "-c", LOADS, str(folder / "jackfield.toml"), str(uid), str(warm / "jackfield.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    faults, said = json.loads(done.stdout)
    return faults, [fix for fix in said if "chmod" in fix or "chown" in fix]


def test_what_is_mine_alone_is_believed(folder):
    """No fault, no warning; a private group does not count as others."""
    assert load_config(folder / "jackfield.toml").plugins
    assert Trust().doubt(str(folder / "group")) is None


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_a_file_that_everybody_may_write_is_doubted_with_the_command_that_mends_it(folder, mode):
    """The command works."""
    file = folder / "solo.py"
    file.chmod(mode)
    doubt = Trust().doubt(str(file))
    assert doubt is not None
    assert "may be written by everybody" in doubt.reason
    subprocess.run(doubt.fix, shell=True, check=True)  # noqa: S602  # just what an operator would do
    assert Trust().doubt(str(file)) is None


def test_a_folder_on_the_way_is_doubted_unless_it_is_sticky(folder):
    """In a sticky one nobody can replace what is not his; whatever is to be read from a folder itself needs more."""
    folder.chmod(0o777)
    assert "everybody" in Trust().doubt(str(folder / "solo.py")).reason
    folder.chmod(0o1777)
    assert Trust().doubt(str(folder / "solo.py")) is None
    assert "everybody" in Trust().doubt(str(folder)).reason


def test_links_are_followed_and_their_places_looked_at(folder, tmp_path_factory):
    """A link is as good as the folder that it stands in and the one that it leads to, at every step."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "second").symlink_to(folder / "group" / ".." / "solo.py")
    (folder / "first").symlink_to(elsewhere / "second")
    assert Trust().doubt(str(folder / "first")) is None
    elsewhere.chmod(0o777)
    assert Trust().doubt(str(folder / "first")).path == str(elsewhere)
    (folder / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        Trust().doubt(str(folder / "round"))


@as_root
def test_root_refuses_a_configuration_that_others_may_write(folder):
    """Before anything is read of it: the error has the command."""
    file = folder / "jackfield.toml"
    file.chmod(0o666)
    with pytest.raises(ConfigError, match=r"others decide what is in it: .* → chmod go-w"):
        load_config(file)
    file.chmod(0o644)
    os.chown(file, NOBODY, -1)
    with pytest.raises(ConfigError, match="chown root"):
        load_config(file)


@as_root
@pytest.mark.parametrize("file", ["group/tax.py", "group", "group/__init__.py"])
def test_root_refuses_a_plugin_of_which_others_may_write_any_file(folder, file):
    """That plugin alone; the other one loads."""
    (folder / file).chmod(0o777)
    with Host.from_config(folder / "jackfield.toml", observers=()) as host:
        assert {name: str(record.state) for name, record in host.plugins.items()} == {
            "solo": "running",
            "group": "failed",
        }
        (fault,) = host.faults
        assert (fault.plugin, fault.stage) == ("group", "source")
        assert f"chmod go-w {folder / file}" in fault.fix


@pytest.fixture
def reachable():
    """Make two configurations where another user can reach them: pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory() as base:
        places = [Path(base) / name for name in ("folder", "warm")]
        Path(base).chmod(0o755)
        for place in places:
            place.mkdir()
        yield [made(place) for place in places]


@as_root
def test_another_user_is_warned_and_served(reachable):
    """What is root's or one's own is believed without a word; else each file is told of, and loaded all the same."""
    folder, warm = reachable
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert loads(folder, warm, NOBODY) == ([], [])
    (folder / "solo.py").chmod(0o666)
    assert loads(folder, warm, NOBODY) == ([], [f"chmod go-w {folder / 'solo.py'}"])
    (folder / "solo.py").chmod(0o644)
    os.chown(folder / "jackfield.toml", OTHER, OTHER)
    assert loads(folder, warm, NOBODY) == ([], [f"chown {NOBODY} {folder / 'jackfield.toml'}"])
    faults, _ = loads(folder, warm)
    assert "chown root" in faults[0]


@as_root
def test_a_group_is_somebody_unless_it_is_the_owners_own(folder):
    """Group-writable is private where the group has the owner's name and no other member."""
    (folder / "solo.py").chmod(0o664)
    assert Trust().doubt(str(folder / "solo.py")) is None  # root's group
    os.chown(folder / "solo.py", -1, OTHER)
    assert f"the group {OTHER}" in Trust().doubt(str(folder / "solo.py")).reason
