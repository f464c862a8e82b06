"""What plugins in workers do to a host that means well: nothing. Each attack is the real thing, in the sandbox."""

# the code of an attack stands in one place, as it runs

import os
from pathlib import Path

import pytest

from jackfield import FunctionCrashed, Unavailable
from jackfield.errors import DeadlineExceeded, JackfieldError
from jackfield.log import install
from jackfield.sandbox import probing
from support.apart import Traces, host_of, until, why_not, zombies

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "workers are there")]

GOOD = """
from jackfield import function

@function
def ok() -> int:
    return 1
"""

HEAD = """
import ctypes, os, signal, socket, sys, threading, time
from jackfield import Caller, function, inject

def sockets():
    for each in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{each}").startswith("socket:"):
                yield each
        except OSError:
            try:
                with socket.socket(fileno=os.dup(each)):
                    yield each
            except OSError:
                pass

def frame(body):
    return len(body).to_bytes(4, "big") + body

@function
def ok() -> int:
    return 1

@function
def slow() -> int:
    time.sleep(0.05)
    return 1
"""

GONE = Unavailable
LATE = DeadlineExceeded

ATTACKS = {
    "a segfault": ("ctypes.string_at(0)", 20.0, GONE, "crashed"),
    "an exit": ("os._exit(3)", 20.0, GONE, "crashed"),
    "an abort": ("os.abort()", 20.0, GONE, "crashed"),
    "closing all descriptors": ("os.closerange(0, 256)", 20.0, GONE, "crashed"),
    "a busy loop that holds the GIL": ("import re; re.match(r'(a+)+$', 'a' * 64 + 'b')", 0.3, LATE, None),
    "a busy loop": ("while True: pass", 0.3, LATE, None),
    "ignoring SIGTERM and everything that is raised": (
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True:\n        try: time.sleep(60)\n"
            "        except BaseException: pass"
        ),
        0.3,
        LATE,
        None,
    ),
    "a silent peer": ("time.sleep(600)", 0.3, LATE, None),
    "garbage on the channel": (
        "for each in sockets(): os.write(each, b'\\xff' * 4096)\n    time.sleep(60)",
        20.0,
        GONE,
        "protocol",
    ),
    "a frame that is no message": (
        "for each in sockets(): os.write(each, frame(b'\\x93\\x01\\x02\\x03'))\n    time.sleep(60)",
        20.0,
        GONE,
        "protocol",
    ),
    "a frame nested without end": (
        "for each in sockets(): os.write(each, frame(b'\\x91' * 100_000))\n    time.sleep(60)",
        20.0,
        GONE,
        "protocol",
    ),
    "an oversize frame": (
        "for each in sockets(): os.write(each, (1 << 31).to_bytes(4, 'big'))\n    time.sleep(60)",
        20.0,
        GONE,
        "protocol",
    ),
    "answering what nobody has asked": (
        (
            "import msgspec\n"
            "    for each in sockets(): os.write(each, frame(msgspec.msgpack.encode([2, 999_999, None, None])))\n"
            "    time.sleep(60)"
        ),
        20.0,
        GONE,
        "protocol",
    ),
    "speaking for a call that it does not run": (
        (
            "import msgspec\n"
            "    for each in sockets(): os.write(each, frame(msgspec.msgpack.encode("
            "[3, 1, 999_999, 'call', ['good.ok', None, None, None, None, None]])))\n"
            "    time.sleep(60)"
        ),
        20.0,
        GONE,
        "protocol",
    ),
    "greeting again": (
        (
            "import msgspec\n"
            "    for each in sockets(): os.write(each, frame(msgspec.msgpack.encode([1, 1, 1])))\n"
            "    time.sleep(60)"
        ),
        20.0,
        GONE,
        "protocol",
    ),
}
"""What a function does, in how many seconds, and what its caller gets."""


def survives(host):
    """Show that the host serves another plugin, and the same one with a new worker; that no zombie is left."""
    assert host.call("good.ok", timeout=20.0) == 1
    assert host.call("bad.ok", timeout=20.0) == 1
    assert until(lambda: not zombies())


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_costs_its_worker_alone(attack, tmp_path):
    body, timeout, expected, cause = ATTACKS[attack]
    code = f"{HEAD}\n@function\ndef attack() -> None:\n    {body}\n"
    traces = Traces()
    with host_of(tmp_path, good=GOOD, bad=code) as host:
        for _ in range(2):
            with pytest.raises(expected) as caught:
                host.call("bad.attack", timeout=timeout)
            if cause is not None:
                assert caught.value.cause == cause
            survives(host)
        traces.look()
    assert traces.gone()


BOUNDED = {
    "a fork bomb": (
        (
            "for _ in range(400):\n"
            "        try: pid = os.fork()\n"
            "        except OSError: continue\n"
            "        if pid == 0:\n"
            "            for _ in range(20):\n"
            "                try: os.fork()\n"
            "                except OSError: pass\n"
            "            time.sleep(600)\n"
            "            os._exit(0)\n"
            "    time.sleep(600)"
        ),
        "pids = 16",
    ),
    "exhausting threads": (
        (
            "for _ in range(5000):\n"
            "        try: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
            "        except RuntimeError: break\n"
            "    time.sleep(600)"
        ),
        "pids = 64",
    ),
    "filling stdout and stderr": (
        "while True:\n        os.write(1, b'x' * 65536)\n        os.write(2, b'y\\n' * 4096)",
        "pids = 64",
    ),
    "exhausting descriptors": (
        (
            "held = []\n"
            "    while True:\n"
            "        try: held.append(os.pipe())\n"
            "        except OSError: break\n"
            "    time.sleep(600)"
        ),
        "open_files = 128",
    ),
}


@pytest.mark.parametrize("attack", BOUNDED)
def test_what_takes_all_it_can_ends_with_its_deadline(attack, tmp_path):
    body, limit = BOUNDED[attack]
    code = f"{HEAD}\n@function\ndef attack() -> None:\n    {body}\n"
    traces = Traces()
    with host_of(tmp_path, good=GOOD, bad=(code, f"worker = {{ {limit} }}")) as host:
        with pytest.raises((DeadlineExceeded, Unavailable, FunctionCrashed)):
            host.call("bad.attack", timeout=1.5)
        traces.look()
        assert host.call("good.ok", timeout=20.0) == 1
        assert until(lambda: _calls(host, "bad.ok"), 60.0)
        traces.look()
    assert traces.gone()


def _calls(host, name):
    try:
        return host.call(name, timeout=10.0) == 1
    except JackfieldError:
        return False


def test_four_gigabytes_are_a_memory_error_where_memory_is_limited(tmp_path):
    code = f"{HEAD}\n@function\ndef attack() -> int:\n    return len(bytearray(4 << 30))\n"
    with host_of(tmp_path, good=GOOD, bad=(code, 'worker = { memory = "512Mi" }')) as host:
        with pytest.raises(FunctionCrashed) as caught:
            host.call("bad.attack", timeout=20.0)
        assert caught.value.error_type.endswith("MemoryError")
        survives(host)


IMPORTS = {
    "hangs": ("import time\ntime.sleep(600)\n", "import"),
    "exits": ("import os\nos._exit(0)\n", "import"),
    "exits softly": ("import sys\nsys.exit(2)\n", "import"),
    "raises": ("raise ValueError('boom')\n", "import"),
    "segfaults": ("import ctypes\nctypes.string_at(0)\n", "import"),
    "never stops": ("while True: pass\n", "import"),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_a_module_that_ends_badly_at_import_is_a_fault_of_that_plugin(how, tmp_path):
    code, stage = IMPORTS[how]
    traces = Traces()
    host = host_of(tmp_path, good=GOOD, bad=(code, "start_timeout = 1.0"))
    assert [(each.plugin, each.stage) for each in host.faults] == [("bad", stage)]
    with host:
        assert host.call("good.ok", timeout=20.0) == 1
        assert until(lambda: not zombies())
        traces.look()
    assert traces.gone()


BUSY = {
    "forks": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n    os._exit(0)\n",
    "starts a thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    ),
    "closes its output": "import os\nos.close(1)\nos.close(2)\n",
    "handles every signal": "import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n",
}


@pytest.mark.parametrize("how", BUSY)
def test_a_module_that_leaves_things_running_at_import_serves_and_is_ended_whole(how, tmp_path):
    traces = Traces()
    with host_of(tmp_path, good=GOOD, bad=BUSY[how] + GOOD) as host:
        for name in ("bad.ok", "good.ok"):
            assert host.call(name, timeout=20.0) == 1
        traces.look()
    assert traces.gone()


def test_a_module_that_writes_to_the_control_socket_of_its_zygote_is_no_plugin(tmp_path):
    code = """
    import os
    for each in range(3, 64):
        try:
            os.write(each, b"\\x94garbage")
        except OSError:
            pass
    """
    traces = Traces()
    host = host_of(tmp_path, good=GOOD, bad=(code, "start_timeout = 2.0"))
    assert {each.plugin for each in host.faults} == {"bad"}
    with host:
        assert host.call("good.ok", timeout=20.0) == 1
        traces.look()
    assert traces.gone()


REACHING = f"""{HEAD}
from pathlib import Path

@function
def read(path: str) -> str:
    return Path(path).read_text()

@function
def listed(path: str) -> list[str]:
    return os.listdir(path)

@function
def write(path: str) -> None:
    Path(path).write_text("x")

@function
def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(path)

@function
def signal_to(pid: int) -> None:
    os.kill(pid, 9)

@function
def environment() -> dict[str, str]:
    return dict(os.environ)

@function
def nested(name: str, tenant: str | None = None, caller: Caller = inject()) -> int:
    return caller.call(name, tenant=tenant)

@function
async def anested(name: str, tenant: str | None = None, caller: Caller = inject()) -> int:
    return await caller.acall(name, tenant=tenant)
"""


def test_of_a_grant_that_is_missing_the_log_says_which_once(tmp_path):
    """What its caller hears of it is a crash, and of that no record has the text."""
    said = []
    remove = install(said.append)
    try:
        with host_of(tmp_path, good=GOOD, bad=(REACHING, "")) as host:
            for name in ("good.ok", "good.ok", *(f"good.no{number}" for number in range(200))):
                with pytest.raises(JackfieldError):
                    host.call("bad.nested", {"name": name, "tenant": None}, timeout=60.0)
    finally:
        remove()
    told = [each.text for each in said if "may not call it from its worker" in each.text]
    assert 'good.ok: the plugin bad may not call it from its worker: allow = ["calls:good.ok"] under' in told[0]
    assert len(told) == len(set(told)) == 100


@pytest.mark.parametrize("name", ["bad.nested", "bad.anested"])
@pytest.mark.parametrize("how", ["without a grant", "for another tenant", "for a tenant of its own making"])
def test_a_worker_calls_nothing_that_it_was_not_granted(name, how, tmp_path):
    lines = "" if how == "without a grant" else 'worker = { allow = ["calls:good.*"] }'
    tenant = None if how == "without a grant" else "acme"
    with host_of(tmp_path, good=GOOD, bad=(REACHING, lines)) as host:
        caller = "globex" if how == "for another tenant" else None
        with pytest.raises(JackfieldError) as caught:
            host.call(name, {"name": "good.ok", "tenant": tenant}, tenant=caller, timeout=20.0)
        assert "permission denied" in str(caught.value)
        if tenant is None:
            assert 'allow = ["calls:good.ok"]' in str(caught.value)


def test_a_worker_reads_and_writes_no_file_but_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JF_HOSTS_OWN", "held")
    (tmp_path / "secret").mkdir()
    for each in ("secret/id_rsa", "store.sqlite"):
        (tmp_path / each).write_text("held")
    with host_of(tmp_path, good=GOOD, bad=REACHING) as host:
        targets = ["secret/id_rsa", "store.sqlite", "jackfield.toml", "good.py"]
        for path in (*(str(tmp_path / each) for each in targets), "/etc/shadow", f"/proc/{os.getpid()}/environ"):
            with pytest.raises(FunctionCrashed) as caught:
                host.call("bad.read", path, timeout=20.0)
            assert caught.value.error_type.endswith(("PermissionError", "FileNotFoundError")), path
            with pytest.raises(FunctionCrashed):
                host.call("bad.write", path, timeout=20.0)
        for path in (str(tmp_path), str(Path.home())):
            with pytest.raises(FunctionCrashed):
                host.call("bad.listed", path, timeout=20.0)
        assert (tmp_path / "store.sqlite").read_text() == "held"
        assert "JF_HOSTS_OWN" not in host.call("bad.environment", timeout=20.0)
        with pytest.raises(FunctionCrashed):
            host.call("bad.write", str(tmp_path / "bad.py"), timeout=20.0)
        with pytest.raises((FunctionCrashed, Unavailable)):
            host.call("bad.signal_to", os.getpid(), timeout=20.0)
        survives(host)


def test_a_plugin_that_cannot_be_sandboxed_as_it_asks_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no runtime is there
    monkeypatch.setattr(probing, "_found", {})
    host = host_of(tmp_path, good=GOOD, bad=(GOOD, 'worker = { tier = "oci" }'))
    assert [(each.plugin, each.stage) for each in host.faults] == [("bad", "sandbox")]
    with host:
        assert host.call("good.ok", timeout=20.0) == 1
