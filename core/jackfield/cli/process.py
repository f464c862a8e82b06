"""One of several processes that serve the HTTP door of one configuration: what `processes` starts."""

import os
import shutil
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import Signals as Number
from time import monotonic
from typing import IO, Any, Final

import msgspec

from jackfield.admission.leases import Lease
from jackfield.cli.ending import leave
from jackfield.cli.leasing import ROUND, Demand
from jackfield.cli.outlet import standard
from jackfield.cli.serving import beside, open_host, start_beside, told
from jackfield.cli.signals import Signals
from jackfield.cli.streams import free_stdout, open_streams
from jackfield.config import DoorsConfig, HttpDoorConfig, parse_config
from jackfield.config.part import Part
from jackfield.control import ControlServer
from jackfield.executors.places import BUILT_IN
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.operations import verbs
from jackfield.operations.doors import Doors
from jackfield.operations.probes import Probes
from jackfield.runtime.pool import Pool

_REPLIES: Final = 1.0  # seconds that the last replies have to leave


class Task(msgspec.Struct, frozen=True):
    """What a process is to do; the first line that it is sent.

    Attributes:
        file: the configuration file.
        content: what was applied of it last.
        number: of the process.
        of: how many there are.
        door: the table of the door.
        address: where the process that keeps this one listens.
        control: where this one listens for verbs.
        drain: seconds that calls have to end.
        metrics: the folder of the metrics of all, where that is only there for them; else "".
    """

    file: str
    content: bytes
    number: int
    of: int
    door: dict[str, Any]
    address: str
    control: str
    drain: float
    metrics: str = ""


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """A further line between a process and the one that keeps it.

    Attributes:
        serving: it serves.
        complete: all serve.
        left: how many calls it has left behind.
        asked: tenant with quotas → how many calls have come there since the last such word, and are inside.
        leases: tenant → what the process has of its quotas from now on.
    """

    serving: bool = False
    complete: bool = False
    left: int = 0
    asked: dict[str, tuple[int, int]] | None = None
    leases: dict[str, Lease] | None = None


class Process:
    """Serves the connections that it is handed, until the process that keeps it says, or ends.

    Args:
        life: where that one tells it what to do; its end ends this process in order.
        channel: where connections come from.
    """

    def __init__(self, life: socket.socket, channel: socket.socket) -> None:
        self._life, self._channel = life, channel
        self._outlet = standard(2)
        self._outlet.shared = True
        self._threads = Pool()
        self._asked = threading.Event()
        self._complete = False
        self._about: dict[str, Any] = {}
        self._logged = False
        self._doors: Doors | None = None

    def run(self) -> int:
        """Serve to the end.

        Returns:
            The exit code: 0 when every call could finish.
        """
        return told(self._run, self._outlet, lambda: self._logged)

    def _run(self) -> int:
        with ExitStack() as stack:
            signals = stack.enter_context(Signals(self._act))
            lines = stack.enter_context(self._life.makefile("rb"))
            if not (first := lines.readline()):
                return 0  # who keeps it has ended already
            task = msgspec.json.decode(first, type=Task)
            stack.callback(_tidy, os.getppid(), task.metrics)
            configuration = parse_config(task.content, Path(task.file), executors=BUILT_IN)
            seen = configuration.observability
            self._logged = seen.logs is None or seen.logs.messages
            host, _ = open_host(configuration, seen, self._outlet, stack, Part(task.number, task.of))
            threading.Thread(target=self._listen, args=(lines, host), name="pluginctl-life", daemon=True).start()
            probes = Probes(host, control=host.control, unready=self._unready)
            door = DoorsConfig(http=HttpDoorConfig(**task.door))
            doors = self._doors = Doors(host, door, probes, {"http": self._channel})
            signals.claim()
            self._about = {"config": task.file, "pid": os.getpid(), "started": time.time(), "state": "starting"}
            self._about |= {"process": task.number, "control": task.control, "doors": {"http": task.address}}
            server = ControlServer(task.control, verbs(host, self._told), loop=host.control, pool=self._threads).start()
            stack.callback(server.close, _REPLIES)
            return beside(signals, lambda: self._serve(host, doors, task))

    def _serve(self, host: Host, doors: Doors, task: Task) -> int:
        starter: threading.Thread | None = None
        try:
            starter = start_beside(host, self._asked)
            if not self._asked.is_set():
                doors.open()
                self._about["state"] = "running"
                self._say(Word(serving=True))
                demand = Demand(host)
                while not self._asked.wait(ROUND):
                    if asked := demand.asked():
                        self._say(Word(asked=asked))
        finally:
            left = self._stop(host, doors, starter, task.drain)
            self._say(Word(left=left))
        return 1 if left else 0

    def _stop(self, host: Host, doors: Doors, starter: threading.Thread | None, drain: float) -> int:
        self._about["state"] = "stopping"
        until = monotonic() + drain
        try:
            doors.close(drain)
            host.stop(max(until - monotonic(), 0.1))
            if starter is not None:
                starter.join(max(until - monotonic(), 0.1))
            host.stop(0.1)
        except Exception as error:  # noqa: BLE001  # what is left of the end is still to come
            host_log("ERROR", "stopping failed", error)
        return len(host.calls)

    def _listen(self, lines: IO[bytes], host: Host) -> None:
        """Hear what the process says that keeps this one, until it says no more."""
        with suppress(OSError, ValueError):
            for line in lines:
                word = msgspec.json.decode(line, type=Word)
                self._complete = self._complete or word.complete
                if word.leases is not None:
                    host.lease(word.leases)
        self._asked.set()

    def _say(self, word: Word) -> None:
        with suppress(OSError):  # nobody is there any more
            self._life.sendall(msgspec.json.encode(word) + b"\n")

    def _act(self, number: Number) -> None:
        """End in order; a second signal changes nothing, since a service manager sends its own to every process."""
        if number.name != "SIGHUP":
            self._asked.set()

    def _unready(self) -> str:
        return "" if self._complete else "not all processes serve yet"

    def _told(self) -> dict[str, Any]:
        traffic = {} if self._doors is None else self._doors.traffic
        return {**self._about, "seconds": round(time.time() - self._about["started"], 3), "traffic": traffic}


def _tidy(keeper: int, folder: str) -> None:
    """Take the folder of the metrics away, where the process that would do so was killed."""
    if folder and os.getppid() != keeper:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Be such a process; the descriptors of its two sockets are the arguments."""
    open_streams()
    free_stdout()
    life, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for each in (life, channel):
        each.set_inheritable(False)
    leave(Process(life, channel).run())
