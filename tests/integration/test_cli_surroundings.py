"""pluginctl in hostile surroundings: a result, or one line of error with a documented exit code; never a traceback."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells and limits")
has_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")

MODULE = """
print("printed at import ü")

def hi(name: str = "Grüße ✓") -> str:
    print("printed in a call ü")
    return name

def boom() -> None:
    raise ValueError("müll ✗\\nsecond line")
"""
PRINTED = ("printed at import", "printed in a call")
VERBS = {
    "list": ("list",),
    "info": ("info", "hostile.hi", "--contract"),
    "call": ("call", "hostile.hi"),
    "crash": ("call", "hostile.boom"),
    "trace": ("call", "hostile.hi", "--trace"),
    "check": ("check",),
    "doctor": ("doctor",),
    "status": ("status",),
    "new": ("new", "newtest-hostile"),
}
"""What succeeds in good surroundings, but for `crash` and, since no host runs, `status`."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    (site / "hostile_functions.py").write_text(MODULE, encoding="utf-8")
    info = site / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n", encoding="utf-8")
    lines = "[jackfield.functions]\nhostile.hi = hostile_functions:hi\nhostile.boom = hostile_functions:boom\n"
    (info / "entry_points.txt").write_text(lines, encoding="utf-8")
    return site


@pytest.fixture
def run(site, tmp_path):
    """Run a verb in a shell, with some variables and limits; what comes back is checked for what always holds."""
    (tmp_path / "here").mkdir()

    def run(verb, streams="", limits=(), before="", **variables):
        env = {
            **os.environ,
            "PYTHONPATH": str(site),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "JACKFIELD_LOAD_PLUGINS": "hostile",
            "JACKFIELD_CONTROL": str(tmp_path / "none.sock"),
            **variables,
        }
        env = {name: value for name, value in env.items() if value is not None}

        def limit():
            for which, value in limits:
                resource.setrlimit(which, (value, value))

        shell = f'{before} "$0" -m jackfield "$@" {streams}'
        done = subprocess.run(
            ["/bin/bash", "-c", f"set -o pipefail; {shell}", sys.executable, *VERBS[verb]],
            cwd=tmp_path / "here",
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
            preexec_fn=limit,
        )
        said = done.stderr.decode("utf-8", "backslashreplace")
        assert "Traceback" not in said, said
        assert done.returncode in (0, 1, 141), said
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith(PRINTED)]
        return done.returncode, done.stdout, [line for line in lines if "locale" not in line]  # bash's own complaint

    return run


@pytest.mark.parametrize(
    "streams",
    [
        "<&-",
        "2>&-",
        "<&- 2>&-",
        pytest.param("2>/dev/full", marks=has_full),
        "2> >(true)",
    ],
)
@pytest.mark.parametrize("verb", ["list", "call", "check", "new"])
def test_neither_stdin_nor_stderr_is_needed(run, verb, streams):
    """What a plugin prints, to a stderr that takes nothing, is no fault of the plugin's either."""
    code, out, _ = run(verb, streams)
    assert code == 0
    assert out


@pytest.mark.parametrize("streams", [">&-", pytest.param(">/dev/full", marks=has_full)])
@pytest.mark.parametrize("verb", ["list", "call", "check", "new", "trace"])
def test_a_result_that_cannot_be_written_is_one_line(run, verb, streams):
    """And exit code 1."""
    code, _, lines = run(verb, streams)
    assert code == 1
    assert lines[-1].startswith("error: the result cannot be written to stdout: ")
    assert len(lines) == 1 + (verb == "trace")


@pytest.mark.parametrize(("verb", "code"), [("list", 141), ("doctor", 141), ("call", 1)])
def test_a_reader_that_goes_away_ends_it_quietly(run, verb, code):
    """As documented: of `call` it is a failure, since not all that was asked for was done."""
    assert run(verb, "| true")[::2] == (code, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "xx_YY.UTF-9"},
    ],
    ids=str,
)
def test_what_an_encoding_lacks_is_escaped(run, variables):
    """In results as in errors, which stay one line."""
    code, out, _ = run("call", **variables)
    assert code == 0
    assert out.startswith(b'"Gr')
    code, _, lines = run("crash", **variables)
    assert (code, len(lines)) == (1, 1)
    assert "ValueError: m" in lines[0]
    assert "second line" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": "/nonexistent", "XDG_CACHE_HOME": None},
        {"HOME": None, "XDG_CACHE_HOME": None},
        {"XDG_CACHE_HOME": "/proc"},
        {"XDG_CACHE_HOME": "/dev/null"},
        {"XDG_CACHE_HOME": "relative"},
        {"TMPDIR": "/nonexistent"},
        {"PATH": ""},
        {"TERM": "dumb"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"COLUMNS": "1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "many", "LINES": "-3"},
        {"COLUMNS": "100000000"},
        {"TZ": "Nowhere/Bogus"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONWARNINGS": "error"},
    ],
    ids=str,
)
def test_results_do_not_depend_on_the_environment(run, variables):
    """Nor on folders that are not there, or cannot be written."""
    assert run("trace", **variables)[:2] == (0, '"Grüße ✓"\n'.encode())


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["list", "call", "check", "doctor", "info"])
def test_the_working_directory_may_be_gone(run, verb, tmp_path):
    """Only what is to be written there fails."""
    assert run(verb, before=f"rmdir {tmp_path / 'here'};")[0] == 0
    (tmp_path / "here").mkdir()
    code, _, (line,) = run("new", before=f"rmdir {tmp_path / 'here'};")
    assert code == 1
    assert "cannot be made" in line


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts memory")
@pytest.mark.parametrize(
    "limits",
    [
        ((resource.RLIMIT_NOFILE, 6),),
        ((resource.RLIMIT_NOFILE, 8),),
        ((resource.RLIMIT_NOFILE, 12),),
        ((resource.RLIMIT_FSIZE, 0),),
        # Not where memory just ends amid a start of a thread: Python waits for ever for one that dies before it begins.
        ((resource.RLIMIT_AS, 80 << 20),),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["list", "call", "check", "trace", "status", "new"])
def test_what_the_system_refuses_is_one_line(run, verb, limits):
    """Few files, no threads, no memory, no file that may be written."""
    code, _, lines = run(verb, "| cat" if limits[0][0] is resource.RLIMIT_FSIZE else "", limits)
    if code and verb != "check":  # whose faults are its result
        assert lines[-1].startswith("error: "), lines
        assert len(lines) <= 1 + (verb == "trace"), lines  # which shows its spans, too


@pytest.mark.slow
def test_a_module_in_the_working_directory_hides_none_of_pythons(run, tmp_path):
    """`python -m jackfield` looks there after the standard library."""
    for name in ("random", "logging", "json", "decimal"):  # what Python and `-m` themselves import is theirs to find
        (tmp_path / "here" / f"{name}.py").write_text("raise SystemExit('hidden')", encoding="utf-8")
    assert run("call")[:2] == (0, '"Grüße ✓"\n'.encode())
    assert run("check")[0] == 0
    (tmp_path / "here" / "plug.py").write_text("def f() -> int: return 1", encoding="utf-8")
    text = '[[plugin]]\nname = "plug"\npath = "./plug.py"\nfunctions = { "plug.f" = "f" }\n'
    (tmp_path / "here" / "jackfield.toml").write_text(text, encoding="utf-8")
    VERBS["file"] = ("check", "jackfield.toml", "--json")
    code, out, _ = run("file")
    assert (code, json.loads(out)["functions"]) == (0, ["plug.f"])


@pytest.mark.slow
def test_a_fault_of_jackfields_own_is_one_line_and_whole_in_development_mode(run, site, tmp_path):
    """The line says where; `PYTHONDEVMODE=1` shows the traceback."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys, jackfield.cli\ndef rows(*_): raise LookupError('odd')\n"
        "sys.modules['jackfield.cli.info'].rows = rows\n",
        encoding="utf-8",
    )
    shutil.copytree(site, broken, dirs_exist_ok=True)
    command = [sys.executable, "-m", "jackfield", "info", "hostile.hi"]
    env = {**os.environ, "PYTHONPATH": str(broken), "NO_COLOR": "1", "JACKFIELD_NO_CACHE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: LookupError: odd (")
    assert done.stderr.count("\n") == 1
    done = subprocess.run(command, env={**env, "PYTHONDEVMODE": "1"}, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
