"""`pluginctl call`: one function called by name, once or for each line of a file, in processes of its own."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

MODULE = """
import asyncio, os, time
from dataclasses import dataclass
from jackfield import Caller, Rejected, current_call, inject

print("printed at import")

@dataclass
class Loan:
    amount: int
    name: str = ""

def shout(text: str) -> str:
    print("printed by Python")
    os.write(1, b"written by C\\n")
    return text.upper()

def double(n: int) -> int:
    if n == 13:
        raise Rejected("not that one", code="unlucky")
    if n == 14:
        raise ValueError("boom \\x1b[31m")
    return 2 * n

def score(loan: Loan) -> Loan:
    return loan

def who() -> dict:
    call = current_call()
    return {"tenant": call.tenant, "headers": dict(call.headers), "version": call.version}

def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds

async def asleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds

def outer(n: int, *, caller: Caller = inject()) -> int:
    return caller.call("calltest.double", n)
"""
NAMES = ("shout", "double", "score", "who", "sleep", "asleep", "outer")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A plugin whose functions do what functions do, and print where they should not."""
    site = tmp_path_factory.mktemp("site")
    (site / "calltest_functions.py").write_text(MODULE, encoding="utf-8")
    info = site / "calltest-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calltest\nVersion: 2.1\n", encoding="utf-8")
    lines = [f"calltest.{name} = calltest_functions:{name}" for name in NAMES]
    lines.append("calltest.broken = calltest_missing:f")
    (info / "entry_points.txt").write_text("\n".join(["[jackfield.functions]", *lines]), encoding="utf-8")
    return site


@pytest.fixture
def command(site, tmp_path):
    """How to start pluginctl with that plugin and no other."""
    env = {
        **os.environ,
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JACKFIELD_LOAD_PLUGINS": "calltest",
        "NO_COLOR": "1",
    }

    def start(*arguments, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(  # our own
            [sys.executable, "-m", "jackfield", "call", *arguments], env=env, **pipes | options
        )

    return start


@pytest.fixture
def call(command):
    """Run one `pluginctl call` to its end."""

    def run(*arguments, stdin=b""):
        with command(*arguments) as process:
            out, err = process.communicate(stdin)
        return process.returncode, out.decode(), err.decode()

    return run


def test_the_result_alone_is_on_stdout(call):
    """What the plugin prints, at import or in the call, from Python or C, goes to stderr."""
    code, out, err = call("calltest.shout", "text=Grüße aus Köln")
    assert (code, out) == (0, '"GRÜSSE AUS KÖLN"\n')
    assert {"printed at import", "printed by Python", "written by C"} <= set(err.splitlines())


def test_a_payload_is_typed_given_as_json_or_read_from_stdin(call):
    """Three ways to the same; text stays text where text is wanted."""
    wanted = {"amount": 5, "name": "12"}
    document = json.dumps(wanted)
    assert json.loads(call("calltest.score", "amount=5", "name=12")[1]) == wanted
    assert json.loads(call("calltest.score", "--json", document)[1]) == wanted
    assert json.loads(call("calltest.score", "-", stdin=document.encode())[1]) == wanted
    assert json.loads(call("calltest.score", "--json", "-", stdin=document.encode())[1]) == wanted


def test_the_call_is_made_for_whom_and_with_what_was_asked(call):
    """Tenant, headers, version."""
    code, out, _ = call("calltest.who", "--tenant", "t-1", "--header", "x-a=1=2", "--header", "b=", "--version", "2.1")
    assert code == 0
    assert json.loads(out) == {"tenant": "t-1", "headers": {"x-a": "1=2", "b": ""}, "version": "2.1"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["calltest.doubel", "n=1"], "not_found: no function 'calltest.doubel' is registered; did you mean"),
        (["calltest.broken"], "not_found: 'calltest.broken' is advertised but left out"),
        (["calltest.double", "n=1", "--version", "9"], "not_found: no version '9'"),
        (["calltest.double", "n=x"], "invalid_payload: calltest.double: payload at $: expected int, got str"),
        (["calltest.double", "n=13"], "rejected: not that one (unlucky)"),
        (["calltest.double", "n=14"], r"crashed: calltest.double@2.1 [calltest] crashed: ValueError: boom \x1b[31m ("),
        (["calltest.sleep", "seconds=60", "--timeout", "0.2"], "deadline_exceeded: calltest.sleep"),
        (["calltest.asleep", "seconds=60", "--timeout", "0.2"], "deadline_exceeded: calltest.asleep"),
        (["calltest.double", "--json", "{bad"], "invalid_payload: calltest.double: not JSON"),
    ],
)
def test_a_call_that_fails_says_so_in_one_line(call, arguments, says):
    """The outcome first; nothing on stdout; exit code 1. A sync function leaves at its deadline too."""
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {says}")


@pytest.mark.parametrize(
    "document", [b"[" * 10_000 + b"]" * 10_000, b'"' + b"x" * (64 << 20) + b'"'], ids=["10,000 levels", "64 MiB"]
)
def test_a_monstrous_payload_is_an_error_and_no_crash(call, document):
    """The rest of what is too long is not even read; how deep is too deep, each Python decides."""
    with_pipe_closed = call("calltest.shout", "-", stdin=document)
    assert with_pipe_closed[:2] == (1, "")
    assert "error: invalid_payload: calltest.shout: " in with_pipe_closed[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["calltest.double", "n"],
        ["calltest.double", "n=1", "n=2"],
        ["calltest.double", "n=1", "--json", "1"],
        ["calltest.double", "-", "--lines", "-"],
        ["calltest.double", "n=1", "--jobs", "2"],
        ["calltest.double", "n=1", "--errors", "e"],
        ["calltest.double", "--lines", "no-such-file"],
        ["calltest.double", "--lines", "-", "--trace"],
        ["calltest.double", "--lines", "-", "--jobs", "0"],
        ["calltest.double", "n=1", "--timeout", "-1"],
        ["calltest.double", "n=1", "--header", "h"],
    ],
)
def test_wrong_usage_is_told_from_a_failed_call(site, monkeypatch, arguments):
    """Exit code 2, before anything is imported."""
    from typer.testing import CliRunner  # noqa: PLC0415

    from jackfield.cli import app  # noqa: PLC0415

    monkeypatch.syspath_prepend(str(site))
    assert CliRunner().invoke(app, ["call", *arguments]).exit_code == 2
    assert "calltest_functions" not in sys.modules


def test_trace_shows_the_nested_calls_as_a_tree(call):
    """On stderr; the result is what it was."""
    code, out, err = call("calltest.outer", "n=4", "--trace")
    assert (code, out) == (0, "8\n")
    first, second = (line for line in err.splitlines() if "@2.1" in line)
    assert first.startswith("calltest.outer@2.1")
    assert "── calltest.double@2.1" in second
    assert second.endswith("ok")


def test_lines_give_results_in_order_and_failures_apart(call, tmp_path):
    """Bad JSON, bad payloads, refusals and crashes with the numbers of their lines; blank lines are passed over."""
    lines = [str(n).encode() for n in range(500)]
    lines[3], lines[7], lines[9] = b"{bad", b"", b'"text"'
    source, bad = tmp_path / "in.jsonl", tmp_path / "bad.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    code, out, err = call("calltest.double", "--lines", str(source), "--jobs", "8", "--errors", str(bad))
    assert code == 1
    assert out.split() == [str(2 * n) for n in range(500) if n not in {3, 7, 9, 13, 14}]
    failures = [json.loads(line) for line in bad.read_text(encoding="utf-8").splitlines()]
    assert [(one["line"], one["outcome"]) for one in failures] == [
        (4, "invalid_payload"),
        (10, "invalid_payload"),
        (14, "rejected"),
        (15, "crashed"),
    ]
    assert set(failures[0]) == {"line", "function", "outcome", "error_type", "message"}
    assert failures[3]["error_type"] == "ValueError"
    assert "499 calls: 495 ok, 4 failed (2 invalid_payload, 1 rejected, 1 crashed)" in err
    assert "━" not in err  # the progress bar is for terminals


def test_without_a_file_the_first_failures_are_shown(call):
    """And the others counted; an endless line costs only itself."""
    stdin = b'"' + b"x" * (17 << 20) + b'"\n' + b"x\n" * 8 + b"21\n"
    code, out, err = call("calltest.double", "--lines", "-", stdin=stdin)
    assert (code, out) == (1, "42\n")
    assert "line 1: invalid_payload: the payload has more than 16 MiB" in err
    assert "line 5: " in err
    assert "line 6: " not in err
    assert "… and 4 more; --errors FILE keeps them all" in err


def test_lines_that_all_succeed_are_exit_code_zero(call):
    """So is a file without any."""
    assert call("calltest.double", "--lines", "-", stdin=b"1\n2")[:2] == (0, "2\n4\n")
    assert call("calltest.double", "--lines", "-")[:2] == (0, "")


def test_jobs_run_at_the_same_time(call):
    """Sync functions too: a slow first line holds back the output, and not the work."""
    code, out, _ = call("calltest.sleep", "--lines", "-", "--jobs", "2", "--timeout", "1", stdin=b"60\n0.01\n0.02\n")
    assert (code, out) == (1, "0.01\n0.02\n")


def test_a_result_is_written_when_it_is_there_not_when_the_next_line_comes(command):
    """For whoever feeds lines one after the other; Ctrl-C then ends it, with whole lines written."""
    with command("calltest.asleep", "--lines", "-", "--jobs", "2") as process:
        process.stdin.write(b"0.01\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"0.01\n"
        process.stdin.write(b"0.02\n60\n0.03\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"0.02\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        err = process.stderr.read().decode()
    assert process.returncode == 130
    assert "2 calls: 2 ok, none failed" in err
    assert "interrupted" in err
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_it_quietly(command, tmp_path):
    """As `| head` does."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"1\n" * 20_000)
    with command("calltest.double", "--lines", str(source)) as process:
        assert process.stdout.readline() == b"2\n"
        process.stdout.close()
        process.stdout = None
        err = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_gets_a_progress_bar(command, tmp_path):
    """On stderr, when the results go elsewhere; it is wiped at the end."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"1\n" * 200)
    ours, theirs = os.openpty()
    with command("calltest.double", "--lines", str(source), stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    assert "200 calls" in shown.decode()
    assert "━" in shown.decode()


REPORTS = """
import time
from jackfield import current_call

def work(steers: str) -> str:
    for number in range(4):
        current_call().progress(number, 4, f"item {number} {steers}")
        time.sleep(0.2)
    return "done"
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("terminal", [True, False])
def test_how_far_a_call_has_come_is_shown_on_a_terminal_and_nowhere_else(command, tmp_path, terminal):
    """By a bar that is wiped at the end; what the function says steers nothing."""
    (tmp_path / "reports.py").write_text(REPORTS)
    ours, theirs = os.openpty()
    call = f"{tmp_path}/reports.py:work", "steers=a[bold]\u202e"
    with command(*call, stderr=theirs if terminal else subprocess.PIPE) as process:
        os.close(theirs)
        shown = b"" if terminal else process.stderr.read()
        while terminal and select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
        said = process.stdout.read()
    os.close(ours)
    assert (process.returncode, said) == (0, b'"done"\n')
    if terminal:
        assert "reports.work item" in shown.decode()
        assert "[bold]\\u202e" in shown.decode()
        assert "━" in shown.decode()
    else:
        assert shown == b""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_result_does_not_steer_a_terminal_and_is_data_elsewhere(command, terminal):
    """What turns the direction of writing is escaped where somebody reads it; it is the same JSON."""
    ours, theirs = os.openpty()
    said = b""
    with command("calltest.shout", "text=a\u202eb", stdout=theirs if terminal else subprocess.PIPE) as process:
        os.close(theirs)
        if not terminal:
            said = process.stdout.read()
        while terminal and select.select([ours], [], [], 60)[0]:
            try:
                said += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert process.returncode == 0
    assert said.decode().strip() == ('"A\\u202eB"' if terminal else '"A\u202eB"')
