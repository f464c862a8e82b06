"""Guests that tests start: real processes, confined by the code under test, that run a text and tell in JSON."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from seccompy import syscalls

from jackfield.sandbox.confining import confine, interpreter_paths
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import guest_command, runtime_paths
from jackfield.sandbox.starting import finish, start
from jackfield.sandbox.tiers import confiner

_PRELUDE = """
import json, os, sys, socket, msgspec
from jackfield.sandbox.enter import enter_stage_one, enter_stage_two
from jackfield.sandbox.port import Confinement
channel = socket.socket(fileno=3)
size = int.from_bytes(channel.recv(4, socket.MSG_WAITALL), "big")
confinement = msgspec.msgpack.decode(channel.recv(size, socket.MSG_WAITALL), type=Confinement)
def tell(value): channel.sendall(json.dumps(value).encode() + b"\\n")
"""


class Guest:
    """One guest, from its start to its end; use it with `with`."""

    def __init__(self, tier, code, *, program=None, stdout=None, confinement=None, **may):
        self.confinement = confinement or confine(
            (sys.prefix, *interpreter_paths(), *runtime_paths(), *may.pop("environment", ())), tier=tier, **may
        )
        self.mine, its = socket.socketpair()
        self.mine.settimeout(20.0)
        self.launch = confiner(tier, program).launch(guest_command(_PRELUDE + code), self.confinement)
        with its:
            self.pid = start(self.launch, descriptors=[its.fileno()], stdout=stdout, stderr=sys.__stderr__.fileno())
        data = msgspec.msgpack.encode(self.confinement)
        with suppress(ConnectionError):
            self.mine.sendall(len(data).to_bytes(4, "big") + data)
        self.lines = self.mine.makefile("rb")
        self.status = None

    def hear(self):
        """Give the next thing that it tells; EOFError when it has ended."""
        line = self.lines.readline()
        if not line:
            raise EOFError("the guest has ended")
        return json.loads(line)

    def answer(self, data=b"\n"):
        """Let it go on."""
        self.mine.sendall(data)

    def wait(self):
        """Wait until it has ended, and give its exit code."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        self.lines.close()
        self.mine.close()
        finish(self.launch)


def attacks_in(tier, folder, *, program=None):
    """Give what comes of every attack in a guest: while it imports, and while it works.

    What is attacked is there and could be had: files that everybody may write, a process and a socket of the same user.
    """
    names = ("secret", "configuration", "environment", "writable", "new")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams, subprocess.Popen(["/bin/sleep", "60"]) as host:
        datagrams.bind(f"{folder}/datagrams-{tier}-{os.getpid()}")
        setting = {
            **{name: f"{folder}/{name}" for name in names},
            "folder": str(folder),
            "datagrams": datagrams.getsockname(),
            "host": host.pid,
            "foreign": has_foreign_calls(),
        }
        try:
            with Guest(
                tier, _ATTACKS.format(given=json.dumps([source(), setting, numbers()])), program=program
            ) as guest:
                importing, working = guest.hear(), guest.hear()
                assert guest.hear() == "it lives on"
            assert host.poll() is None
        finally:
            host.kill()
    return importing, working


_ATTACKS = """
import resource, threading
source, setting, numbers = json.loads({given!r})
space = {{"__name__": "attacks"}}
exec(compile(source, "attacks", "exec"), space)
space["NUMBERS"].update(numbers)
attempt_all, outcome = space["attempt_all"], space["outcome"]
enter_stage_one(confinement)
tell(attempt_all(setting))
woken, came = threading.Event(), []
thread = threading.Thread(target=lambda: (woken.wait(), came.append(outcome(os.pipe))))
thread.start()
enter_stage_two(confinement)
woken.set()
thread.join()
tell(dict(attempt_all(setting), **{{"a thread from before stage two": came[0]}}))
tell("it lives on")
"""


def source():
    """Give the attacks as text."""
    return (Path(__file__).parent / "attacks.py").read_text("utf-8")


def numbers():
    """Give the numbers of this machine's calls."""
    return {"x86_64": syscalls.X86_64_SYSCALLS, "aarch64": syscalls.AARCH64_SYSCALLS}[os.uname().machine]


def has_foreign_calls():
    """Whether this kernel takes calls of 32-bit x86; where it does not, making one ends the process."""
    if os.uname().machine != "x86_64":
        return False
    space = "import os; space = {'__name__': 'attacks'}; exec(os.environ['ATTACKS'], space); space['foreign']()"
    tried = subprocess.run([sys.executable, "-c", space], env={"ATTACKS": source()}, check=False)
    return tried.returncode == 0


if __name__ == "__main__":  # as another user: TIER FOLDER PROGRAM
    _, which, where, what = sys.argv
    print(json.dumps(attacks_in(Tier(which), where, program=what or None)))  # noqa: T201  # for the test that started it
