"""A campaign: hosts on one store that are killed, stopped, slowed and cut off, and a judge of what calls came to."""

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from judge import Judge
from report import Report

from jackfield import Host

HERE = Path(__file__).parent
_CONFIG = """
[host]
id = "chaos"
[durable]
concurrency = 8
attempts = 20

[[plugin]]
name = "work"
path = "{here}/work.py"
[plugin.options]
marks = "{marks}"

[[plugin]]
name = "apart"
path = "{here}/work.py"
executor = "worker"
[plugin.options]
marks = "{marks}"
[plugin.worker]
allow = ["storage:{folder}"]

[flows.pipeline]
[flows.pipeline.steps.first]
call = "work.step"
with = {{ key = "$input.key", name = "first" }}
[flows.pipeline.steps.left]
call = "work.step"
with = {{ key = "$first", name = "left" }}
[flows.pipeline.steps.right]
call = "apart.step"
with = {{ key = "$first", name = "right" }}
[flows.pipeline.steps.last]
call = "work.step"
with = {{ key = "$left", name = "last" }}
after = ["right"]
"""
_PATIENCE = 120.0
_ROOM = 65_536  # bytes; every file of a store under way is larger


class Campaign:
    """Hosts on one folder, and what is done to them.

    Args:
        folder: empty.
        seed: of the draw.
        hosts: how many at once.
    """

    def __init__(self, folder: Path, seed: int, hosts: int = 2) -> None:
        self.folder, self.seed = folder, seed
        self._draw = random.Random(seed)  # noqa: S311
        self._marks = folder / "marks"
        self._trouble = folder / "trouble"
        self._hosts: list[subprocess.Popen[bytes] | None] = [None] * hosts
        self._started = 0
        self._done: Counter[str] = Counter()
        # A pipe: whoever has no room for a file any more can still say what it does.
        os.mkfifo(self._marks)
        self._pipe = os.open(self._marks, os.O_RDWR)
        self._read: list[str] = []
        self._reader = threading.Thread(target=self._collect, name="marks", daemon=True)
        self._reader.start()
        text = _CONFIG.format(here=HERE, folder=folder, marks=self._marks)
        (folder / "jackfield.toml").write_text(text, encoding="utf-8")
        # The judge is a host as well, of this process: without workers, so that nothing of it stays behind.
        judge = text.replace('executor = "worker"\n', "").replace(
            f'[plugin.worker]\nallow = ["storage:{folder}"]\n', ""
        )
        (folder / "judge.toml").write_text(f'[store]\nurl = "sqlite:jackfield.db"\n{judge}', encoding="utf-8")

    # --- What is done -------------------------------------------------------------------------------------------------

    def run(self, rounds: int, faults: tuple[str, ...]) -> Report:
        """Do so many faults, then let everything settle and judge it."""
        begun = time.monotonic()
        try:
            for _ in range(rounds):
                self._all_alive()
                time.sleep(self._draw.uniform(0.1, 1.5))
                self._do(self._draw.choice(faults))
            self._trouble.unlink(missing_ok=True)
            (self.folder / "quiet").touch()
            (self.folder / "end").touch()
            for process in self._hosts:
                if process is not None:
                    self._kill(process)
            return self._judged(time.monotonic() - begun)
        finally:
            for process in self._hosts:
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()

    def _all_alive(self) -> None:
        for place, process in enumerate(self._hosts):
            if process is None or process.poll() is not None:
                self._hosts[place] = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._started += 1
        ready = self.folder / f"ready-{self._started}"
        clock = {"CHAOS_CLOCK": "3600"} if self._draw.random() < 0.25 else {}
        if clock:
            self._done["clock an hour ahead"] += 1
        with (self.folder / f"host-{self._started}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "driver.py"), str(self.folder), str(self._started)],
                stdout=log,
                stderr=log,
                env={**os.environ, **clock, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
            )
        self._until(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, (self.folder / f"host-{self._started}.log").read_text()[-2000:]
        return process

    def _do(self, fault: str) -> None:
        self._done[fault] += 1
        process = self._draw.choice([host for host in self._hosts if host is not None])
        match fault:
            case "kill":
                self._kill(process)
            case "kill all":
                for each in self._hosts:
                    if each is not None:
                        self._kill(each)
            case "kill a worker":
                workers = [*_children(process.pid)]
                if workers:
                    os.kill(self._draw.choice(workers), signal.SIGKILL)
            case "stop for longer than a lease":
                process.send_signal(signal.SIGSTOP)
                time.sleep(20.0)
                process.send_signal(signal.SIGCONT)
            case "no room":
                self._without_room()
            case _:  # the store's own troubles
                self._trouble.write_text(fault, encoding="utf-8")
                time.sleep(self._draw.uniform(0.5, 4.0))
                self._trouble.unlink()

    def _without_room(self) -> None:
        """Be a full disk: what would make a file longer fails, in the middle of a write as well."""
        alive = [host.pid for host in self._hosts if host is not None and host.poll() is None]
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # theirs, too
        for pid in alive:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (_ROOM, hard))
        time.sleep(self._draw.uniform(0.5, 4.0))
        for pid in alive:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    def _collect(self) -> None:
        """Read what everybody leaves, until the campaign is over."""
        with os.fdopen(os.dup(self._pipe), "r", encoding="utf-8") as lines:
            for line in lines:
                if line == "over\n":
                    return
                self._read.append(line)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()

    def _until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < end, "it has not come about"
            time.sleep(0.02)

    # --- What became of it --------------------------------------------------------------------------------------------

    def _judged(self, seconds: float) -> Report:
        judge = Judge(self._read)
        with Host.from_config(self.folder / "judge.toml", observers=()) as host:
            done, moved = -1, time.monotonic()
            while not judge.look(host) and time.monotonic() - moved < _PATIENCE:  # those that are left then are lost
                if judge.settled > done:
                    done, moved = judge.settled, time.monotonic()
                time.sleep(0.1)
            judge.ask_why(host)
        os.write(self._pipe, b"over\n")
        self._reader.join()
        os.close(self._pipe)
        return judge.report(self.seed, dict(self._done), seconds)


def _children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text(encoding="ascii").split():
            if int(child) > 1:
                yield int(child)
                yield from _children(int(child))
