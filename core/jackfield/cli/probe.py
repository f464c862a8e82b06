"""Run plugins' imports in a child process, and find out which of them it does not survive."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any

import attrs
import msgspec

from jackfield.cli.child import Faulty, Finished, Job, Message, Touching, concerns, packages
from jackfield.cli.entries import read_catalogue
from jackfield.errors import Fault

__all__ = ["Job", "Report", "probe"]

_CHILD = "import sys; sys.path[:] = {path!r}; from jackfield.cli.child import main; main()"
_FRAME = re.compile(r'File "(.+?)", line (\d+)')
_TAIL = 16 << 10
_BEGIN = 60.0  # seconds that a child has to import jackfield, which is no plugin's time


@attrs.frozen
class Report:
    """What came of a job.

    Attributes:
        result: what the child found out; None when it never got to the end.
        faults: everything that is wrong, the modules that ended it included.
    """

    result: dict[str, Any] | None
    faults: tuple[Fault, ...]


@attrs.define
class _Attempt:
    """How far one child got."""

    touching: Touching | None = None
    faults: list[Fault] = attrs.field(factory=list)
    finished: Finished | None = None
    end: str = ""
    place: str = ""


def probe(job: Job, timeout: float = 60.0) -> Report:
    """Do a job in a child process; what ends, crashes or hangs it is blocked, and the job begun again without it.

    Args:
        job: what to do.
        timeout: seconds that importing one module may take.
    """
    deaths: dict[str, str] = {}
    while True:
        attempt = _attempt(msgspec.structs.replace(job, blocked=tuple(deaths)), timeout)
        if attempt.finished is not None:
            faults = _culprits(job, deaths) + [one for one in attempt.finished.faults if not _due_to(one, deaths)]
            return Report(attempt.finished.result, tuple(faults))
        touched = attempt.touching
        if touched is None or not touched.module or touched.module in deaths:
            return Report(None, (*_culprits(job, deaths), *attempt.faults, _elsewhere(attempt)))
        if job.file:  # there is nothing else that could be checked without it
            fix = "correct it, or put what it does under `if __name__ == '__main__':`"
            fault = Fault("import", "", job.file, f"importing it {attempt.end}{attempt.place}", fix)
            return Report(None, (fault,))
        deaths[touched.module] = f"importing {touched.module} {attempt.end}{attempt.place}"


def _culprits(job: Job, deaths: dict[str, str]) -> list[Fault]:
    """Turn the modules that a child did not survive into faults of the entries that need them."""
    return [
        Fault(
            "import",
            one.plugin,
            one.name,
            deaths[module],
            f"upgrade or correct {one.plugin}, or set JACKFIELD_DISABLE_PLUGINS={one.plugin}",
        )
        for one in read_catalogue().candidates
        if concerns(job.names, one.name, one.plugin)
        for module in packages(one.value.partition(":")[0].strip())
        if module in deaths
    ]


def _due_to(fault: Fault, deaths: dict[str, str]) -> bool:
    return any(f"import of {module} halted" in fault.reason for module in deaths)


def _elsewhere(attempt: _Attempt) -> Fault:
    what = "the hooks ran and the graph was checked" if attempt.touching is not None else "jackfield was imported"
    fix = "switch plugins off with JACKFIELD_DISABLE_PLUGINS, those with hooks first, until it passes"
    return Fault("check", "", "the child process", f"it {attempt.end}{attempt.place} while {what}", fix)


def _attempt(job: Job, timeout: float) -> _Attempt:
    """Run one child to its end, whatever that is."""
    attempt = _Attempt()
    command = [sys.executable, "-X", "faulthandler", "-c", _CHILD.format(path=list(map(str, sys.path)))]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        messages: SimpleQueue[Message | None] = SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, messages), daemon=True)
        reaper = threading.Thread(target=_reap, args=(process,), daemon=True)
        try:
            reader.start()
            reaper.start()
            with suppress(BrokenPipeError), process.stdin as stdin:  # type: ignore[union-attr]  # it is a pipe
                stdin.write(msgspec.json.encode(job))
            hung = _follow(attempt, messages, timeout)
            if hung:
                _abort(process)
            else:
                with suppress(subprocess.TimeoutExpired):  # its pipe is closed: it ends, with a status of its own
                    process.wait(5.0)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            reaper.join()
            reader.join(1.0)
            if not reader.is_alive() and process.stdout is not None:
                process.stdout.close()
        if attempt.finished is None:
            attempt.end = f"took longer than {timeout:g} s" if hung else _ended(process.returncode)
            attempt.place = _place(errors)
    return attempt


def _follow(attempt: _Attempt, messages: "SimpleQueue[Message | None]", timeout: float) -> bool:
    """Take in what the child says until it ends; True if it falls silent for too long."""
    patience = max(timeout, _BEGIN)
    while True:
        try:
            message = messages.get(timeout=patience)
        except Empty:
            return True
        patience = timeout
        match message:
            case None:
                return False
            case Touching():
                attempt.touching = message
            case Faulty(fault=fault):
                attempt.faults.append(fault)
            case Finished():
                attempt.finished = message
                return False


def _read(stream: IO[bytes], messages: "SimpleQueue[Message | None]") -> None:
    decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
    for line in stream:
        with suppress(msgspec.DecodeError):  # half a line, of a child that was killed
            messages.put(decoder.decode(line))
    messages.put(None)


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the child, then end what it has left running: nothing else would close its end of the pipe."""
    process.wait()
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _abort(process: "subprocess.Popen[bytes]") -> None:
    """End a child that hangs; on POSIX it gets a second to write down where it is."""
    if os.name == "posix":
        process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    process.kill()


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"killed the process with {signal.Signals(-code).name}"
        except ValueError:
            return f"killed the process with signal {-code}"
    return f"ended the process with exit status {code}"


def _place(errors: IO[bytes]) -> str:
    """Find in faulthandler's stack the line of the module that was being imported; "" when there is no stack."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(size - _TAIL, 0))
    text = errors.read().decode("utf-8", "replace")
    head, fatal, stack = text.rpartition("Fatal Python error")
    del head
    if not fatal:
        return ""
    frames: list[tuple[str, str]] = []
    for file, line in _FRAME.findall(stack):
        if file.startswith("<frozen importlib"):
            break
        frames.append((file, line))
    return f" ({frames[-1][0]}:{frames[-1][1]})" if frames else ""
