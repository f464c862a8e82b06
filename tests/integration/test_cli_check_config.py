"""`pluginctl check CONFIG`: every fault of the file with its line, then those of the plugins; nothing is started."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def check(tmp_path):
    def run(config, code="", *options):
        (tmp_path / "a.py").write_text(code)
        (tmp_path / "jackfield.toml").write_text(config)
        command = [sys.executable, "-m", "jackfield", "check", "jackfield.toml", "--json", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    return run


PLUGIN = '[[plugin]]\nname = "a"\npath = "./a.py"\n'


def test_a_sound_configuration_has_no_faults_and_starts_nothing(check, tmp_path):
    """Whatever its plugins print; its functions are named."""
    code = "from jackfield import function\nprint('noise')\n@function\ndef f(): ...\n"
    status, report = check(PLUGIN, code)
    assert (status, report["ok"], report["functions"]) == (0, True, ["a.f"])


def test_every_fault_of_the_file_is_shown_with_its_line(check):
    """All at once."""
    status, report = check('[[plugin]]\nname = "a b"\npath = 5\ndepends_on = ["x"]\ntimeout = "soon"\n')
    assert status == 1
    assert len(report["faults"]) >= 4
    assert all("(line" in fault["entry"] for fault in report["faults"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    """By its path, as every other fault has its place."""
    command = [sys.executable, "-m", "jackfield", "check", "gone.toml", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    (fault,) = json.loads(done.stdout)["faults"]
    assert (done.returncode, fault["entry"], fault["fix"]) == (1, "gone.toml", "give the path of a readable file")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(:", "SyntaxError"),
        ("import os; os._exit(7)", "status 7"),
        ("import time; time.sleep(60)", "longer than 2 s"),
        ("from jackfield import function, inject\n@function\ndef f(*, x=inject(name='nobody')): ...", "nobody"),
    ],
)
def test_faults_of_the_plugins_are_shown(check, code, reason):
    """Those that cannot be loaded or injected, and those that end or hold up the process."""
    status, report = check(PLUGIN, code, "--timeout", "2" if "sleep" in code else "30")
    assert status == 1
    assert any(reason in fault["reason"] for fault in report["faults"])


def test_what_cannot_be_checked_is_a_note_or_a_fault_on_request(check):
    """A function whose contract has a hole is served all the same, unless `--strict-contracts` says otherwise."""
    code = "from jackfield import function\n@function\ndef f(x: [int] = ()): ...\n"
    status, report = check(PLUGIN, code)
    assert (status, report["ok"], report["faults"]) == (0, True, [])
    assert "[int] cannot be checked" in report["notes"][0]["note"]
    status, report = check(PLUGIN, code, "--strict-contracts")
    assert (status, report["ok"], report["notes"]) == (1, False, [])
    assert "[int] cannot be checked" in report["faults"][0]["reason"]


def test_a_webhook_of_a_function_that_nothing_brings_is_a_fault(check):
    """With the name that was meant."""
    code = "from jackfield import function\n@function\ndef on_push(): ..."
    hook = '[webhooks.push]\nfunction = "a.on_psh"\nscheme = "none"\n'
    status, report = check(f"{PLUGIN}{hook}", code)
    (fault,) = report["faults"]
    assert (status, fault["entry"], fault["fix"]) == (1, "webhook push", "did you mean 'a.on_push'?")
    assert check(f"{PLUGIN}{hook.replace('psh', 'push')}", code)[0] == 0
