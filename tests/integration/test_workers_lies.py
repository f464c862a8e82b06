"""What plugins in workers say to their host: floods, bombs and lies. It serves the others, and believes none of it."""

import asyncio
import gc
from pathlib import Path

import pytest
from loguru import logger

from jackfield import Host
from jackfield.errors import DeadlineExceeded, FunctionCrashed, JackfieldError, Unavailable
from jackfield.model.progress import Latest, listening
from jackfield.workers.answers import ASKED
from support.apart import host_of, why_not
from support.wheels import wheel

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

GOOD = """
from jackfield import function

@function
def ok() -> int:
    return 1
"""

HEAD = """
import os, select, socket, time
import msgspec
from jackfield import function
from jackfield.workers import arena

def channels():
    found = []
    for each in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(each)):
                found.append(each)
        except OSError:
            pass
    return found

def put(to, data):
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(to, left):]
        except BlockingIOError:
            poll = select.poll()
            poll.register(to, select.POLLOUT)
            poll.poll(60_000)

def frame(body):
    return len(body).to_bytes(4, "big") + body

def said(*message):
    return frame(msgspec.msgpack.encode(message))

def asks(number, call, name="bad.ok"):
    return said(3, number, call, "call", [name, None, None, None, None, None, None])

@function
def ok() -> int:
    return 1

@function
def slow() -> int:
    time.sleep(0.2)
    return 1
"""

TABLES = 'b"\\xdd" + (15_000_000).to_bytes(4, "big") + b"\\x80" * 15_000_000'
"""A list of fifteen million tables: as many bytes, and a gigabyte as objects."""

FLOODS = {
    "questions outside of any call, by one number": (
        "put(channels()[1], asks(7, 0) * 20_000)\n    time.sleep(60)",
        20.0,
        "protocol",
    ),
    "questions outside of any call": (
        "put(channels()[1], b''.join(asks(n, 0) for n in range(1, 100_000)))\n    time.sleep(60)",
        20.0,
        "protocol",
    ),
    "questions within a call": (
        "put(channels()[0], b''.join(asks(n, 1) for n in range(1, 100_000)))\n    time.sleep(60)",
        20.0,
        "protocol",
    ),
    "slow questions within a call": (
        "put(channels()[0], b''.join(asks(n, 1, 'bad.slow') for n in range(1, 900)))\n    time.sleep(60)",
        2.0,
        None,
    ),
    "logs without end within a call": (
        "to = channels()[0]\n    while True: put(to, said(4, 1, 'INFO', 'x', {}, ['m', 'f', 1]) * 1000)",
        2.0,
        None,
    ),
    "logs without end outside of any call": (
        "to = channels()[1]\n    while True: put(to, said(4, 0, 'INFO', 'x', {}, ['m', 'f', 1]) * 1000)",
        2.0,
        None,
    ),
    "reports without end that somebody listens to": (
        "to = channels()[0]\n    while True: put(to, said(6, 1, 1, 2, 'x' * 1000) * 1000)",
        2.0,
        None,
    ),
    "a result of too many tables": (
        f"put(channels()[0], frame(b'\\x93\\x02\\x01' + {TABLES}))\n    time.sleep(60)",
        20.0,
        "protocol",
    ),
    "a log of too many tables": (
        (
            f"table = b'\\x81\\xa1k' + {TABLES}\n"
            "    put(channels()[0], frame(b'\\x96\\x04\\x01\\xa4INFO\\xa1x' + table + b'\\x93\\xa1m\\xa1f\\x01'))\n"
            "    time.sleep(60)"
        ),
        20.0,
        "protocol",
    ),
    "a result of too many tables in the memory that is shared": (
        f"data = {TABLES}\n    arena.pack = lambda value: data",
        20.0,
        "protocol",
    ),
}
"""What a function does, in how many seconds, and the cause that its caller is told: None where the deadline ends it."""


def _peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_costs_its_worker_alone(flood, tmp_path):
    body, timeout, cause = FLOODS[flood]
    code = f"{HEAD}\n@function\ndef attack() -> None:\n    {body}\n"
    with host_of(tmp_path, good=GOOD, bad=code) as host:
        logger.disable("jackfield")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = _peak()
        listening.set(Latest(lambda: None))
        with pytest.raises(DeadlineExceeded if cause is None else Unavailable) as caught:
            host.call("bad.attack", timeout=timeout)
        assert cause is None or caught.value.cause == cause
        assert host.call("good.ok", timeout=20.0) == 1
        assert len(list(Path("/proc/self/task").iterdir())) < ASKED + 100
        assert _peak() - before < 500 * 2**20


def test_what_a_worker_logs_steers_no_terminal_and_begins_no_line(tmp_path):
    code = f"""{HEAD}
@function
def attack() -> None:
    steers = "\\x1b[2J\\nFORGED"
    fields = {{"k" + steers: "v" + steers}}
    put(channels()[0], said(4, 1, "INFO", "x" + steers, fields, ["m" + steers, "f" + steers, 1]))
"""
    seen = []
    with host_of(tmp_path, good=GOOD, bad=code) as host:
        logger.enable("jackfield")
        sink = logger.add(lambda message: seen.append(message.record), level="INFO")
        try:
            host.call("bad.attack", timeout=20.0)
        finally:
            logger.remove(sink)
    record = next(each for each in seen if each["message"].startswith("x"))
    shown = [
        record["message"],
        record["name"],
        record["function"],
        *record["extra"],
        record["extra"]["k\\x1b[2J\\nFORGED"],
    ]
    assert all(each.isprintable() for each in shown), shown


def _futures():
    return sum(issubclass(type(each), asyncio.Future) for each in gc.get_objects())


def test_a_zygote_that_tells_of_processes_that_are_none_fills_nothing(tmp_path):
    code = f"""{HEAD}
for each in channels():
    for pid in range(2, 50_000):
        try:
            os.write(each, msgspec.msgpack.encode([3, pid, 0]))
        except OSError:
            break
"""
    gc.collect()
    before = _futures()
    with host_of(tmp_path, good=GOOD, bad=(code, "start_timeout = 20.0")) as host:
        assert host.call("good.ok", timeout=20.0) == 1
        assert host.call("bad.ok", timeout=20.0) == 1
        assert _futures() - before < 1000


STEERS = "\x1b[2J\nFORGED"

ERRORS = {
    "Cancelled": {"function": STEERS, "reason": STEERS},
    "DeadlineExceeded": {"function": STEERS, "overdue": float("nan"), "reason": STEERS},
    "ResourceExhausted": {"function": STEERS, "reason": STEERS, "retry_after": float("inf")},
    "AsyncCallRequired": {"function": STEERS, "instead": STEERS},
    "Unavailable": {"what": STEERS, "reason": STEERS, "cause": STEERS, "ran": False},
    "PermissionDenied": {"function": STEERS, "reason": STEERS},
    "PayloadError": {"function": STEERS, "path": STEERS, "expected": STEERS, "got": STEERS},
    "Rejected": {"message": STEERS, "code": STEERS, "details": {STEERS: STEERS}},
    "FunctionCrashed": {"function": STEERS, "error_type": STEERS, "message": STEERS, "remote_stack": STEERS},
    "FunctionNotFound": {"name": STEERS, "similar": [STEERS]},
    "StepFailed": {"step": STEERS},
    "JackfieldError": {},
    "KeyboardInterrupt": {},
    STEERS: {},
}
"""Errors that a worker says its function raised: what each is called, and its fields."""


@pytest.mark.parametrize("kind", ERRORS)
def test_whatever_error_a_worker_speaks_of_is_one_of_jackfields_in_one_line(kind, tmp_path):
    failure = {"type": kind, "message": STEERS, "outcome": STEERS, "fields": ERRORS[kind]}
    code = (
        f"{HEAD}\n@function\ndef attack() -> None:\n    put(channels()[0], said(2, 1, None, {failure!r}))\n    slow()\n"
    )
    code = code.replace("nan", "float('nan')").replace(": inf", ": float('inf')")
    with host_of(tmp_path, bad=code) as host:
        with pytest.raises(JackfieldError) as caught:
            host.call("bad.attack", timeout=20.0)
        assert str(caught.value).isprintable(), str(caught.value)


CLAIMS = f"""{HEAD}
from jackfield import Caller, inject
from jackfield.workers import messages, zygote

@function
def claimed() -> int:
    return 666

@function
def reach(caller: Caller = inject()) -> int:
    return caller.call("good.ok")

say = zygote._say

def lie(control, message):
    if isinstance(message, messages.Described):
        facts = {{each.name: each for each in message.functions}}
        facts["bad.claimed"] = msgspec.structs.replace(facts["bad.claimed"], name="good.ok", version=VERSION)
        message = msgspec.structs.replace(message, functions=tuple(facts.values()))
    return say(control, message)

zygote._say = lie
"""


@pytest.mark.parametrize("version", ["0", "9.0"])
def test_a_plugin_that_claims_the_function_of_another_neither_has_it_nor_may_call_it(version, tmp_path):
    with host_of(tmp_path, good=GOOD, bad=CLAIMS.replace("VERSION", repr(version))) as host:
        assert [(each.plugin, each.stage) for each in host.faults] == [("bad", "name")]
        assert host.call("good.ok", timeout=20.0) == 1
        assert host.call("good.ok", version="0", timeout=20.0) == 1
        with pytest.raises(FunctionCrashed, match="permission denied"):
            host.call("bad.reach", timeout=20.0)


CLAIMING = """
from jackfield import Caller, function, inject

@function
def steal() -> int:
    return 666

@function
async def run(*, caller: Caller = inject()) -> int:
    return await caller.acall("good.ok")

@function
async def mine(*, caller: Caller = inject()) -> int:
    return await caller.acall("claims.steal")
"""
ENTRIES = "[jackfield.functions]\ngood.ok = {module}:steal\n" + "".join(
    f"claims.{name} = {{module}}:{name}\n" for name in ("run", "mine", "steal")
)


def test_a_distribution_that_advertises_the_name_of_another_may_not_call_that_one(tmp_path, monkeypatch):
    """Its own functions it may call; whoever has the calls of a name is asked of the host, and not of the name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "demo-claims", "2.0", code=CLAIMING, entries=ENTRIES)
    (tmp_path / "jackfield.toml").write_text(
        '[environments]\nfind_links = ["./wheels"]\noffline = true\n'
        '[[plugin]]\nname = "good"\npath = "./good.py"\n'
        '[[plugin]]\nname = "claims"\npath = "demo-claims==2.0"\nexecutor = "worker"\n'
    )
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("claims.mine", timeout=60.0) == 666
        assert host.call("good.ok", timeout=60.0) == 1
        with pytest.raises(FunctionCrashed) as denied:
            host.call("claims.run", timeout=60.0)
        assert denied.value.error_type.endswith("PermissionDenied")
