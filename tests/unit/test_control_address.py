"""Where a control socket is, and who may have the path."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jackfield.control import control_path
from jackfield.control.address import Listener
from jackfield.errors import ConfigError, PermissionDenied, Unavailable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")


@pytest.fixture
def folder(socket_path):
    return socket_path.parent


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_argument_wins_over_the_variable_and_that_over_the_default(monkeypatch, folder):
    """The nearest one counts; the default lies in the user's runtime folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("JACKFIELD_CONTROL", raising=False)
    assert control_path() == folder / "jackfield" / "host.sock"
    assert control_path(name="orders") == folder / "jackfield" / "orders.sock"
    monkeypatch.setenv("JACKFIELD_CONTROL", "/somewhere/c.sock")
    assert control_path() == Path("/somewhere/c.sock")
    assert control_path("/else/c.sock") == Path("/else/c.sock")


@pytest.mark.parametrize("runtime", ["", "relative", "/does/not/exist"])
def test_without_a_usable_runtime_folder_a_folder_of_the_user_serves(monkeypatch, runtime):
    """No two users share one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.delenv("JACKFIELD_CONTROL", raising=False)
    assert control_path() == Path(tempfile.gettempdir()) / f"jackfield-{os.geteuid()}" / "host.sock"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "/x"])
def test_a_name_is_a_plain_file_name(monkeypatch, name):
    """A host's name cannot lead out of the folder."""
    monkeypatch.delenv("JACKFIELD_CONTROL", raising=False)
    with pytest.raises(ConfigError, match="plain file name"):
        control_path(name=name)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777 & ~0o700])
def test_socket_and_folder_are_private_under_any_umask(folder, umask):
    """Mode 0600 in a folder of mode 0700; the process's umask is left alone."""
    before = os.umask(umask)
    try:
        listener = Listener(folder / "new" / "c.sock")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert mode(folder / "new") == 0o700
    assert mode(folder / "new" / "c.sock") == 0o600
    assert mode(folder / "new" / "c.sock.lock") == 0o600
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["c.sock", "c.sock.lock"]
    listener.close()
    assert sorted(path.name for path in (folder / "new").iterdir()) == []
    listener.close()


def test_a_second_one_is_refused_with_the_process_id_of_the_first(folder):
    """The first goes on; once it is closed, the path is free."""
    first = Listener(folder / "c.sock")
    for _ in range(3):
        with pytest.raises(Unavailable, match=rf"already listens there \(process {os.getpid()}\).*JACKFIELD_CONTROL"):
            Listener(folder / "c.sock")
    first.close()
    Listener(folder / "c.sock").close()


def test_what_a_dead_host_left_behind_is_replaced(folder):
    """A socket file that nobody listens on is no reason to refuse, and neither is an old lock file."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "c.sock"))
    (folder / "c.sock.lock").write_text("1\n")
    Listener(folder / "c.sock").close()


def test_a_socket_that_lives_is_not_replaced_although_its_lock_was_removed(folder):
    """A cleaner of temporary files may take the lock file; the one who listens is still found, and named."""
    first = Listener(folder / "c.sock")
    (folder / "c.sock.lock").unlink()
    with pytest.raises(Unavailable, match=str(os.getpid()) if sys.platform == "linux" else "already"):
        Listener(folder / "c.sock")
    assert (folder / "c.sock").exists()
    first.close()


def test_only_its_own_socket_is_taken_away(folder):
    """A file that somebody else put at the path stays."""
    listener = Listener(folder / "c.sock")
    (folder / "c.sock").unlink()
    (folder / "c.sock").write_text("mine")
    listener.close()
    assert (folder / "c.sock").read_text() == "mine"


def test_a_file_at_the_path_is_not_overwritten(folder):
    """What is no socket was put there by somebody, for something."""
    (folder / "c.sock").write_text("precious")
    with pytest.raises(Unavailable, match="no socket"):
        Listener(folder / "c.sock")
    assert (folder / "c.sock").read_text() == "precious"


def test_a_lock_that_is_a_link_is_not_followed(folder):
    """Nobody can make a host truncate a file of its user."""
    (folder / "victim").write_text("precious")
    (folder / "c.sock.lock").symlink_to(folder / "victim")
    with pytest.raises(Unavailable, match="cannot listen"):
        Listener(folder / "c.sock")
    assert (folder / "victim").read_text() == "precious"


def test_a_folder_that_others_may_write_is_refused_with_the_command_that_mends_it(folder):
    """Who may write the folder can put another socket there."""
    folder.chmod(0o777)
    with pytest.raises(PermissionDenied, match="chmod 700"):
        Listener(folder / "c.sock")
    folder.chmod(0o1777)  # as /tmp: others may add, not replace
    Listener(folder / "c.sock").close()


def test_a_path_that_is_too_long_is_refused_by_its_length(folder):
    """The system's own message names neither length nor limit."""
    with pytest.raises(Unavailable, match="bytes long, the most is 103"):
        Listener(folder / ("x" * 120))


def test_a_folder_that_cannot_be_made_is_named(folder):
    """A file in the place of the folder."""
    (folder / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot listen there"):
        Listener(folder / "file" / "sub" / "c.sock")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_path_of_a_dead_host(folder):
    """The lock ends with the host, although a child that it forked lives on."""
    code = (
        "import os, signal, sys, pathlib\n"
        "from jackfield.control.address import Listener\n"
        "held = Listener(pathlib.Path(sys.argv[1]))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    held.socket.close()\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder / "c.sock")], stdout=subprocess.PIPE) as host:
        child = int(host.stdout.readline())
        try:
            with pytest.raises(Unavailable, match=str(host.pid)):
                Listener(folder / "c.sock")
            host.kill()
            host.wait()
            os.kill(child, 0)
            Listener(folder / "c.sock").close()
        finally:
            host.kill()
            os.kill(child, signal.SIGKILL)


def test_without_unix_sockets_the_import_works_and_the_use_says_so():
    """As on Windows: no `fcntl`, no AF_UNIX, no user ids."""
    code = (
        "import asyncio, os, random, socket, sys\n"
        "sys.modules['fcntl'] = None\n"
        "del socket.AF_UNIX, os.geteuid, os.register_at_fork\n"
        "from jackfield.control import ControlClient, ControlServer, pack, unpack\n"
        "from jackfield.errors import Unavailable\n"
        "for use in (lambda: ControlServer('x', {}), lambda: ControlClient('x'), lambda: ControlClient()):\n"
        "    try: use()\n"
        "    except Unavailable as error: assert 'Unix sockets' in str(error), error\n"
        "    else: sys.exit('accepted')\n"
        "assert unpack(pack(1)[4:]) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
