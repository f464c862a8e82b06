"""Running another program in stage one, given to it as text: how builds are started."""

import base64
import os
import sys
from collections.abc import Sequence

import msgspec

from jackfield.sandbox.enter import enter_stage_one
from jackfield.sandbox.port import Confinement, environment_of
from jackfield.sandbox.probing import guest_command


def confined_command(confinement: Confinement, command: Sequence[str]) -> tuple[str, ...]:
    """Give the command line that confines itself, and becomes another one.

    Args:
        confinement: what that may.
        command: its program, by the absolute path, and its arguments.
    """
    told = base64.b64encode(msgspec.msgpack.encode(confinement)).decode("ascii")
    return guest_command("from jackfield.sandbox.launching import main; main()", told, *command)


def main() -> None:
    """Be the guest: what it becomes gets the variables of a guest, and no others."""
    told, *command = sys.argv[1:]
    confinement = msgspec.msgpack.decode(base64.b64decode(told), type=Confinement)
    enter_stage_one(confinement)
    os.execve(command[0], command, environment_of(confinement))  # noqa: S606  # that is what it is for
