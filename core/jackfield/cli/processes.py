"""Several processes that serve the HTTP door of one host file, and the one that keeps them: see decision 0074."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import attrs
import msgspec

from jackfield.cli.leasing import ROUND, Leasing
from jackfield.cli.process import Task, Word
from jackfield.config import HttpDoorConfig
from jackfield.control import ControlClient
from jackfield.errors import JackfieldError, Unavailable
from jackfield.host import Host
from jackfield.log import host_log
from jackfield.observe.processes import ProcessCounts
from jackfield.operations.doors import listen
from jackfield.operations.handing import Acceptor
from jackfield.runtime.pool import Pool

ANSWER: Final = 120.0
"""Seconds that a process may take to do what the one that keeps it has done."""

_CHILD: Final = "import sys; sys.path[:] = {path!r}; from jackfield.cli.process import main; main()"
_FIRST: Final = 0.5  # seconds until a process takes the place of one that has died
_MOST: Final = 30.0  # and at most, when one after the other does
_WELL: Final = 60.0  # seconds that one has to live for the next pause to be the first one again
_BEYOND: Final = 3.0  # seconds that a process has to be gone, beyond what its calls have
_STARTING: Final = 60.0  # seconds that those which start are waited for, to be told what the others are told
_LAST: Final = 1.0  # seconds for what has been accepted to be taken, and for the last word of a process that has ended


class _Child:
    """One of the processes; another takes its place, and its number, when it dies."""

    def __init__(self, number: int, control: Path) -> None:
        self.number, self.control = number, control
        self.state = "down"
        self.since = monotonic()
        self.restarts = 0
        self.left = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.life: socket.socket | None = None

    def say(self, word: Word) -> None:
        """Tell it something; one that is gone is told nothing."""
        with suppress(OSError):
            if self.life is not None:
                self.life.sendall(msgspec.json.encode(word) + b"\n")

    def end(self) -> None:
        """Have it end in order."""
        with suppress(OSError):  # it is gone
            if self.life is not None:
                self.life.shutdown(socket.SHUT_WR)


class Processes:
    """Keeps the processes: starts them, starts others where some die, and ends them.

    Args:
        host: of this process; what was applied to it last is what they are made of.
        door: the table of the door.
        control: where this process listens for verbs; they do so beside it.
        drain: seconds that calls have to end.
        pool: this process's threads.
        metrics: the folder of the metrics of all, where it goes with this process; else "".

    Attributes:
        address: where the door listens.

    Raises:
        Unavailable: when it cannot listen there.
    """

    def __init__(
        self, host: Host, door: HttpDoorConfig, control: Path, drain: float, pool: Pool, metrics: str = ""
    ) -> None:
        self._host, self._door, self._drain, self._pool, self._metrics = host, door, drain, pool, metrics
        self._listening = listen("http", host, door)
        self.address = self._listening.address
        self._acceptor = Acceptor(self._listening.socket)
        numbers = range(1, door.processes + 1)
        self._children = [_Child(number, control.with_name(f"{control.name}.{number}")) for number in numbers]
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._complete = False
        self._failed: Unavailable | None = None
        self._deaths: Counter[str] = Counter()
        self._leasing = Leasing(host, len(self._children))

    def start(self, asked: threading.Event) -> None:
        """Start them all, and wait until they serve.

        Args:
            asked: set when that is not wanted any more.

        Raises:
            Unavailable: if one ends before it serves.
        """
        self._acceptor.start()
        for child in self._children:
            self._pool.start(f"pluginctl-process-{child.number}", partial(self._keep, child))
        with self._changed:
            while not (self._complete or self._failed or asked.is_set()):
                self._changed.wait(0.05)
        if self._failed is not None:
            raise self._failed
        self._pool.start("pluginctl-leases", self._lease)

    def end(self, timeout: float) -> int:
        """Accept no more connections, and let all processes end in order; those that do not are killed.

        Args:
            timeout: seconds that their calls have.

        Returns:
            How many calls were left behind, as far as is known.
        """
        until = monotonic() + timeout + _BEYOND
        self._ending.set()
        self._acceptor.close(min(timeout, _LAST))
        self._listening.close()
        for child in self._children:
            child.end()
        with self._changed:
            while any(child.state != "down" for child in self._children) and monotonic() < until:
                self._changed.wait(max(until - monotonic(), 0.0))
            hanging = [child for child in self._children if child.state != "down"]
        for child in hanging:
            child.left = max(child.left, 1)
            host_log("WARNING", f"process {child.number} has not ended within {timeout + _BEYOND:g} s, and is killed")
        self.kill()
        return sum(child.left for child in self._children)

    def close(self) -> None:
        """Listen no more, and end what has not ended."""
        self._ending.set()
        self._listening.close()
        self.kill()

    def abandon(self) -> None:
        """End them at once, and leave nothing behind: this process ends, too."""
        self._ending.set()
        self.kill()
        if self._metrics:
            shutil.rmtree(self._metrics, ignore_errors=True)

    def kill(self) -> None:
        """End them at once."""
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.kill()

    # --- Telling ------------------------------------------------------------------------------------------------------

    def unready(self) -> str:
        """Say why no calls should be sent: some have never served yet, or none does now; "" when they may."""
        serving = sum(child.state == "serving" for child in self._children)
        if self._complete and serving:
            return ""
        return f"{serving} of {len(self._children)} processes serve"

    def counts(self) -> ProcessCounts:
        """Give how they fare, for metrics."""
        states = Counter({"starting": 0, "serving": 0, "down": 0})
        states.update(child.state for child in self._children)
        with self._changed:
            return ProcessCounts(states, dict(self._deaths))

    def rows(self) -> list[dict[str, Any]]:
        """Give what there is to see of each process, and what it says of itself."""
        said = self.ask("status", _LAST, {})
        return [
            {
                "number": child.number,
                "pid": None if child.process is None else child.process.pid,
                "state": child.state,
                "seconds": round(monotonic() - child.since, 3),
                "restarts": child.restarts,
                "control": str(child.control),
                "said": None if isinstance(said.get(child.number), JackfieldError) else said.get(child.number),
            }
            for child in self._children
        ]

    def ask(self, verb: str, within: float, arguments: Mapping[str, Any]) -> dict[int, Any]:
        """Ask all that serve the same, at once.

        Args:
            verb: what.
            within: seconds.
            arguments: of the verb.

        Returns:
            Number → answer, or the error that is one.
        """
        serving = [child for child in self._children if child.state == "serving"]

        def one(child: _Child) -> Any:
            try:
                return ControlClient(child.control, within).request(verb, **arguments)
            except JackfieldError as error:
                return error

        with ThreadPoolExecutor(max(len(serving), 1), "pluginctl-ask") as threads:
            return {child.number: said for child, said in zip(serving, threads.map(one, serving), strict=True)}

    def everywhere(self, verb: str, arguments: Mapping[str, Any]) -> None:
        """Have all do what this process has done.

        Those that start now are waited for: they may have begun before it. One that cannot is ended in order, and
        another takes its place, which is made of what there is now.

        Args:
            verb: what.
            arguments: of the verb.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(child.state != "starting" for child in self._children), _STARTING)
        for number, said in self.ask(verb, ANSWER, arguments).items():
            if isinstance(said, JackfieldError):
                host_log("WARNING", f"process {number}: {verb} failed, and another process takes its place", said)
                self._children[number - 1].end()

    # --- Keeping ------------------------------------------------------------------------------------------------------

    def _keep(self, child: _Child) -> None:
        pause = _FIRST
        while not self._ending.is_set():
            began = monotonic()
            try:
                cause = self._live(child)
            except OSError as error:
                cause = f"not started: {error.strerror or error}"
            self._leasing.forget(child.number)
            self._move(child, "down")
            if self._ending.is_set():
                return
            if not self._complete:
                reason = f"it ended ({cause}) before it served: what it said is above"
                self._failed = Unavailable(f"process {child.number}", reason)
                self._move(child, "down")
                return
            pause = _FIRST if monotonic() - began >= _WELL else pause
            with self._changed:
                self._deaths[cause] += 1
            pid = "" if child.process is None else f" ({child.process.pid})"
            host_log("WARNING", f"process {child.number}{pid} ended: {cause}; another takes its place in {pause:g} s")
            self._ending.wait(pause)
            pause = min(2 * pause, _MOST)
            child.restarts += 1

    def _lease(self) -> None:
        """Divide the quotas of tenants again and again, by what is asked of whom."""
        while not self._ending.wait(ROUND):
            for number, leases in self._leasing.divided().items():
                self._children[number - 1].say(Word(leases=leases))

    def _live(self, child: _Child) -> str:
        """Run one process to its end, and say how it ended."""
        life, its_life = socket.socketpair()
        channel, its_channel = socket.socketpair()
        ends = its_life.fileno(), its_channel.fileno()
        with life, its_life, its_channel:
            child.life = life
            child.process = process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [
                    sys.executable,
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # noqa: SLF001
                    "-c",
                    _CHILD.format(path=list(map(str, sys.path))),
                    *map(str, ends),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=ends,
                start_new_session=True,  # a terminal's Ctrl-C is for this process, which ends the others in order
            )
            its_life.close()
            its_channel.close()
            self._move(child, "starting")
            life.sendall(msgspec.json.encode(self._task(child)) + b"\n")
            if self._ending.is_set():  # whoever ends them all may have come before there was this one to be told
                child.end()
            heard = threading.Event()
            self._pool.start(f"pluginctl-life-{child.number}", partial(self._hear, child, life, channel, heard))
            code = process.wait()
            if not heard.wait(_LAST):  # something that it has started holds the other end
                with suppress(OSError):
                    life.shutdown(socket.SHUT_RDWR)
                heard.wait()
            self._acceptor.remove(channel)
        return _cause(code)

    def _hear(self, child: _Child, life: socket.socket, channel: socket.socket, heard: threading.Event) -> None:
        try:
            with life.makefile("rb") as lines:
                for line in lines:
                    self._heard(child, msgspec.json.decode(line, type=Word), channel)
        except (OSError, msgspec.DecodeError):
            pass  # it was killed, maybe in the middle of a word
        finally:
            heard.set()

    def _heard(self, child: _Child, word: Word, channel: socket.socket) -> None:
        child.left = word.left
        if word.asked is not None:
            self._leasing.hear(child.number, word.asked)
        if not word.serving:
            return
        self._acceptor.add(channel)
        self._move(child, "serving")
        if self._complete:
            child.say(Word(complete=True))
        elif all(each.state == "serving" for each in self._children):
            with self._changed:
                self._complete = True
                self._changed.notify_all()
            for each in self._children:
                each.say(Word(complete=True))

    def _move(self, child: _Child, state: str) -> None:
        with self._changed:
            child.state, child.since = state, monotonic()
            self._changed.notify_all()

    def _task(self, child: _Child) -> Task:
        configuration = self._host.configuration
        assert configuration is not None  # noqa: S101  # it is a host of a file
        return Task(
            str(configuration.file), configuration.content, child.number, len(self._children),
            attrs.asdict(self._door), self.address, str(child.control), self._drain, self._metrics,
        )  # fmt: skip


def _cause(code: int) -> str:
    """Say how a process has ended, as a label."""
    try:
        return f"exit {code}" if code >= 0 else signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
