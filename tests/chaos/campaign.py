"""A campaign: hosts on one store that are killed, stopped, slowed and cut off, and a judge of what calls came to."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

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
_SETTLED = frozenset({"succeeded", "failed", "dead", "cancelled"})


@attrs.frozen
class Report:
    """What a campaign has shown.

    Attributes:
        seed: of the draw of faults.
        accepted: submissions whose acceptance was returned.
        statuses: status → how many ended so.
        faults: fault → how often it was done.
        lost: accepted, and unknown or not settled at the end.
        twice: not idempotent, and begun more than once.
        again: steps that began after they had been recorded.
        untrue: said to have succeeded, and not done.
        late: dead, since their time was up.
        settling: seconds from acceptance to the end of what has succeeded and is no flow: p50, p99, the longest.
        seconds: how long it took.
    """

    seed: int
    accepted: int
    statuses: dict[str, int]
    faults: dict[str, int]
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    again: tuple[str, ...]
    untrue: tuple[str, ...]
    late: tuple[str, ...]
    settling: tuple[float, ...]
    seconds: float

    @property
    def bound(self) -> float:
        """Give what the chance of a violation is below, with 95 % confidence, when none was seen.

        By the rule of three: J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA
        249 (1983).
        """
        return 3.0 / max(self.accepted, 1)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled or untrue, and no more than 1 of 10,000 was late."""
        return not (self.lost or self.twice or self.again or self.untrue) and len(self.late) <= self.accepted / 10_000


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
        self._marks = folder / "marks.log"
        self._trouble = folder / "trouble"
        self._hosts: list[subprocess.Popen[bytes] | None] = [None] * hosts
        self._started = 0
        self._done: Counter[str] = Counter()
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
            case "slow" | "away" | "full":
                self._trouble.write_text(fault, encoding="utf-8")
                time.sleep(self._draw.uniform(0.5, 4.0))
                self._trouble.unlink()
            case _:
                raise ValueError(fault)

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
        accepted, moments = {}, {}
        for moment, function, number, key in _lines(self.folder / "accepted.log"):
            accepted[key], moments[key] = (function, number), int(moment)
        with Host.from_config(self.folder / "judge.toml", observers=()) as host:
            statuses: dict[str, str] = {}

            def settled() -> bool:
                for key, (_, number) in accepted.items():
                    if statuses.get(key) not in _SETTLED:
                        try:
                            statuses[key] = str(host.submitted(number).status.value)
                        except LookupError:
                            statuses[key] = "unknown"
                return all(status in _SETTLED or status == "unknown" for status in statuses.values())

            done, moved = -1, time.monotonic()
            while not settled() and time.monotonic() - moved < _PATIENCE:  # those that are left then are lost
                now = sum(status in _SETTLED for status in statuses.values())
                if now > done:
                    done, moved = now, time.monotonic()
                time.sleep(0.1)
            calls = host.durable_calls
            dead = [each.id for each in host.submissions(status="dead")]
            late = [number for number in dead if calls.read(number).now.reason == "expired"]
        marks = [*_lines(self._marks)]
        begun = Counter((what.removeprefix("begun:"), key) for _, what, key in marks if what.startswith("begun:"))
        ended = Counter((what.removeprefix("ended:"), key) for _, what, key in marks if what.startswith("ended:"))
        names = {number: key for key, (_, number) in accepted.items()}
        recorded = {
            (what.removeprefix("recorded:"), names.get(number, "")): int(moment)
            for moment, what, number in marks
            if what.startswith("recorded:")
        }
        took = sorted(
            max(int(moment) - moments[key], 0) / 1e9
            for moment, what, key in marks
            if what.startswith("ended:") and statuses.get(key) == "succeeded"
        )
        return Report(
            self.seed,
            len(accepted),
            dict(Counter(statuses.values())),
            dict(self._done),
            lost=tuple(key for key, status in statuses.items() if status not in _SETTLED),
            twice=tuple(key for (what, key), count in begun.items() if what == "charge" and count > 1),
            again=tuple(
                f"{what} of {key}"
                for moment, kind, key in marks
                if kind.startswith("begun:")
                and int(moment) > recorded.get(((what := kind.removeprefix("begun:")), key), sys.maxsize)
            ),
            untrue=tuple(
                key
                for key, (function, _) in accepted.items()
                if statuses[key] == "succeeded"
                and function != "pipeline"
                and not ended[function.rpartition(".")[2], key]
            ),
            late=tuple(late),
            settling=tuple(round(took[int((len(took) - 1) * part)], 3) for part in (0.5, 0.99, 1.0)) if took else (),
            seconds=seconds,
        )


def _lines(path: Path) -> Iterator[list[str]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield line.split()


def _children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text(encoding="ascii").split():
            if int(child) > 1:
                yield int(child)
                yield from _children(int(child))
