"""`check`, `graph` and `info --contract`: plugins are imported in a child process, and may do there what they like."""

import json
import os
import subprocess
import sys

import pytest

PACKAGES = {
    "checktest_good": '''
from typing import Any
from jackfield import Logger, inject

print("printed at import")

class Engine: ...
class Missing: ...

def engine() -> Engine:
    return Engine()

def area(width: float, height: "Unknown" = 1.0) -> float:
    """Multiply."""
    return width * height

def query(text: str, *, engine: Engine = inject(), log: Logger = inject()) -> str: ...
def lost(text: str, *, missing: Missing = inject()) -> str: ...
''',
    "checktest_exit": "import os\nos._exit(7)\n",
    "checktest_crash": "import faulthandler\nfaulthandler._sigsegv()\n",
    "checktest_hang": "import time\n\ntime.sleep(600)\n",
    "checktest_raise": "1 / 0\n",
    "checktest_quit": "raise SystemExit('bye')\n",
    "checktest_gen": "def f():\n    yield 1\n",
    "checktest_fork": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\ndef f(): ...\n",
    "checktest_thread": "import threading as t, time\nt.Thread(target=time.sleep, args=(600,)).start()\ndef f(): ...\n",
    "checktest_hook": """
import os
from jackfield import hookimpl

class Deadly:
    @hookimpl
    def jackfield_register(self, function):
        os._exit(5)
""",
}
FUNCTIONS = {
    "good": {
        "good.area": "checktest_good:area",
        "good.query": "checktest_good:query",
        "good.lost": "checktest_good:lost",
    },
    "exit": {"sick.exit": "checktest_exit:f", "sick.exit_too": "checktest_exit:g"},
    "crash": {"sick.crash": "checktest_crash:f"},
    "hang": {"sick.hang": "checktest_hang:f"},
    "raise": {"sick.raise": "checktest_raise:f", "sick.quit": "checktest_quit:f", "sick.gen": "checktest_gen:f"},
    "busy": {"busy.fork": "checktest_fork:f", "busy.thread": "checktest_thread:f"},
    "deadly": {},
}
OTHERS = {
    "good": "[jackfield.providers]\nengine = checktest_good:engine\n",
    "deadly": "[jackfield.hooks]\ndeadly = checktest_hook:Deadly\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One plugin for each kind of sickness, each its own distribution."""
    site = tmp_path_factory.mktemp("site")
    for package, text in PACKAGES.items():
        (site / f"{package}.py").write_text(text, encoding="utf-8")
    for name, functions in FUNCTIONS.items():
        info = site / f"checktest_{name}-1.0.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: checktest-{name}\nVersion: 1.0\n"
        (info / "METADATA").write_text(text, encoding="utf-8")
        lines = "".join(f"{key} = {value}\n" for key, value in functions.items())
        (info / "entry_points.txt").write_text(
            f"[jackfield.functions]\n{lines}{OTHERS.get(name, '')}", encoding="utf-8"
        )
    return site


@pytest.fixture
def pluginctl(site, tmp_path):
    """Run a verb with some of these plugins."""

    def run(plugins, *arguments):
        env = {
            **os.environ,
            "PYTHONPATH": str(site),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "JACKFIELD_LOAD_PLUGINS": ",".join(f"checktest-{plugin}" for plugin in plugins.split()),
            "NO_COLOR": "1",
        }
        done = subprocess.run(  # our own
            [sys.executable, "-m", "jackfield", *arguments], env=env, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    return run


def test_check_names_every_sick_plugin_and_checks_the_others(pluginctl):
    """One that ends the process, crashes it, hangs, raises, exits politely, or is no function at all."""
    done = pluginctl("good exit crash hang raise", "check", "--json", "--timeout", "2")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert list(report) == ["ok", "functions", "notes", "faults", "asks"]
    assert report["functions"] == ["good.area", "good.query"]
    faults = {fault["entry"].partition("@")[0]: fault for fault in report["faults"]}
    assert {name: fault["stage"] for name, fault in faults.items()} == {
        "sick.exit": "import",
        "sick.exit_too": "import",
        "sick.crash": "import",
        "sick.hang": "import",
        "sick.raise": "import",
        "sick.quit": "import",
        "sick.gen": "contract",
        "good.lost": "inject",
    }
    assert "importing checktest_exit ended the process with exit status 7" in faults["sick.exit"]["reason"]
    assert "JACKFIELD_DISABLE_PLUGINS=checktest-exit" in faults["sick.exit_too"]["fix"]
    assert faults["sick.crash"]["plugin"] == "checktest-crash"
    assert "took longer than 2 s" in faults["sick.hang"]["reason"]
    if os.name == "posix":
        assert "killed the process with SIGSEGV" in faults["sick.crash"]["reason"]
        assert "checktest_crash.py:2)" in faults["sick.crash"]["reason"]
        assert "checktest_hang.py:3)" in faults["sick.hang"]["reason"]
    (note,) = report["notes"]
    assert (note["function"], note["plugin"]) == ("good.area", "checktest-good")
    assert "cannot be evaluated" in note["note"]


def test_check_reports_in_words(pluginctl):
    """Each fault with its fix, each note, and the count."""
    done = pluginctl("good", "check")
    assert done.returncode == 1
    assert "note good.area [checktest-good]: parameter 'height'" in done.stdout
    assert "✗ good.lost" in done.stdout
    assert "fix: " in done.stdout
    assert "printed at import" not in done.stdout
    assert done.stdout.endswith("2 functions can be called, 1 fault\n")


def test_strict_contracts_refuse_what_cannot_be_checked(pluginctl):
    """A note becomes a fault, with how to mend it."""
    assert pluginctl("good", "check", "good.area").returncode == 0
    done = pluginctl("good", "check", "good.area", "--strict-contracts")
    assert done.returncode == 1
    assert "✗ good.area" in done.stdout
    assert "--strict-contracts" in done.stdout


def test_check_of_some_names_leaves_the_others_alone(pluginctl):
    """Functions and plugins alike: what would end the process is not imported."""
    done = pluginctl("good exit", "check", "good.area", "good.query", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["functions"] == ["good.area", "good.query"]
    done = pluginctl("good raise exit", "check", "Checktest_Raise", "--json")
    assert done.returncode == 1
    assert {fault["plugin"] for fault in json.loads(done.stdout)["faults"]} == {"checktest-raise"}


def test_check_of_an_unknown_name_fails_with_close_ones(pluginctl):
    """Nothing checked is not the same as nothing wrong."""
    done = pluginctl("good", "check", "good.aera")
    assert done.returncode == 1
    assert "did you mean 'good.area'" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_plugin_leaves_running_does_not_hold_check_up(pluginctl):
    """A thread, or a process with every pipe of its parent open."""
    done = pluginctl("busy", "check", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["functions"] == ["busy.fork", "busy.thread"]


def test_a_hook_that_ends_the_process_is_reported_with_what_was_found_before(pluginctl):
    """It cannot be blocked, since nobody knows which hook it was."""
    done = pluginctl("good raise deadly", "check", "--json")
    assert done.returncode == 1
    faults = {fault["entry"]: fault for fault in json.loads(done.stdout)["faults"]}
    assert "exit status 5 while the hooks ran" in faults["the child process"]["reason"]
    assert "sick.raise" in faults


def test_graph_draws_what_is_injected_and_what_is_missing(pluginctl):
    """In both languages; what could not be imported is told on stderr."""
    mermaid = pluginctl("good exit", "graph")
    assert mermaid.returncode == 0
    assert mermaid.stdout.startswith("flowchart LR\n")
    for text in ("good.query", "Engine", "Logger", "good.lost", "missing"):
        assert text in mermaid.stdout
    assert "left out: sick.exit" in mermaid.stderr
    assert pluginctl("good", "graph", "--format", "dot").stdout.startswith("digraph")


def test_info_shows_the_contract_when_asked(pluginctl):
    """Parameters, result, dependencies, and schemas in JSON."""
    contract = json.loads(pluginctl("good", "info", "good.area", "--contract", "--json").stdout)["contract"]
    assert set(contract) == {
        *("summary", "colour", "parameters", "fields", "result", "dependencies", "policy", "notes"),
        *("payload_schema", "result_schema", "untyped"),
    }
    assert contract["summary"] == "Multiply."
    assert contract["parameters"] == ["width: float", "height: anything = 1.0"]
    assert contract["payload_schema"]["required"] == ["width"]
    text = pluginctl("good", "info", "good.query", "--contract").stdout
    assert "text: str" in text
    assert "engine: Engine" in text


@pytest.mark.parametrize(("name", "says"), [("sick.raise", "ZeroDivisionError"), ("sick.exit", "exit status 7")])
def test_info_of_a_sick_function_says_what_is_wrong(pluginctl, name, says):
    """The contract cannot be had."""
    done = pluginctl("raise exit", "info", name, "--contract")
    assert done.returncode == 1
    assert says in done.stdout
