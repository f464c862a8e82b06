"""Guests that tests start: real processes, confined by the code under test, that run a text and tell in JSON."""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from seccompy import syscalls

from jackfield.sandbox.confining import confine, interpreter_paths
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


def attacks_in(tier, setting, *, program=None, **may):
    """Give what comes of every attack in a guest: while it imports, and while it works."""
    source = (Path(__file__).parent / "attacks.py").read_text("utf-8")
    code = (
        f"source, setting, numbers = json.loads({json.dumps(json.dumps([source, setting, numbers()]))})\n"
        "namespace = {'__name__': 'attacks'}\n"
        "exec(compile(source, 'attacks', 'exec'), namespace)\n"
        "namespace['NUMBERS'].update(numbers)\n"
        "import threading, resource\n"
        "enter_stage_one(confinement)\n"
        "tell(namespace['attempt_all'](setting))\n"
        "woken, came = threading.Event(), []\n"
        "thread = threading.Thread(target=lambda: (woken.wait(), came.append(namespace['outcome'](os.pipe))))\n"
        "thread.start()\n"
        "enter_stage_two(confinement)\n"
        "woken.set(); thread.join()\n"
        "tell({**namespace['attempt_all'](setting), 'a thread from before stage two': came[0]})\n"
        "tell(sum(range(10)))\n"
    )
    with Guest(tier, code, program=program, **may) as guest:
        importing, working = guest.hear(), guest.hear()
        assert guest.hear() == 45, "it lives on"
        guest.wait()
        return importing, working


def numbers():
    """Give the numbers of this machine's calls."""
    return {"x86_64": syscalls.X86_64_SYSCALLS, "aarch64": syscalls.AARCH64_SYSCALLS}[os.uname().machine]
