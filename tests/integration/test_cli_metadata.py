"""`list`, `info`, `explain`, `doctor`, `--help` and completion: from metadata alone, whatever is installed."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from jackfield.cli import app

VERBS = ["list", "info", "explain", "call", "check", "doctor", "graph", "new", "manifest"]


def install(site, name, version, functions, **groups):
    """Write a distribution's metadata, as pip would."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, entries in {"functions": functions, **groups}.items():
        lines += [f"[jackfield.{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Two plugins whose modules betray that they were imported; the second claims a name of the first."""
    site = tmp_path / "site"
    bomb = f"open({str(tmp_path / 'imported')!r}, 'w').close()\nimport os\nos._exit(9)\n"
    site.mkdir()
    (site / "clitest_bomb.py").write_text(bomb, encoding="utf-8")
    install(
        site,
        "clitest-first",
        "1.4",
        {"clitest.slugify": "clitest_bomb:slugify", "clitest.upper": "clitest_bomb:upper"},
        hooks={"audit": "clitest_bomb:Audit"},
        providers={"engine": "clitest_bomb:engine"},
    )
    install(site, "clitest-second", "0.1", {"clitest.slugify": "clitest_bomb:other", "bad name!": "clitest_bomb:x"})
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JACKFIELD_DISABLE_PLUGINS", raising=False)
    monkeypatch.setenv("JACKFIELD_LOAD_PLUGINS", "clitest-first,clitest-second")
    yield site
    assert not (tmp_path / "imported").exists()
    assert "clitest_bomb" not in sys.modules


def run(*arguments):
    """Run a verb in this process: what it imports would be seen."""
    return CliRunner().invoke(app, arguments, prog_name="pluginctl")


def ours(rows):
    return [row for row in rows if row["plugin"].startswith("clitest")]


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)])
def test_help_shows_usage_and_imports_nothing(site, verb):
    """With examples for every verb."""
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert "Usage: pluginctl" in result.stdout
    assert not verb or f"  pluginctl {verb[0]}" in result.stdout


def test_list_has_every_entry_with_what_became_of_it(site):
    """Served, shadowed by which rule, and lines that cannot be understood; the keys are promised."""
    rows = ours(json.loads(run("list", "--json").stdout))
    assert {tuple(row) for row in rows} == {
        ("name", "kind", "plugin", "version", "reference", "location", "status", "reason")
    }
    assert [(row["name"], row["kind"], row["status"]) for row in rows] == [
        ("clitest.slugify", "function", "ok"),
        ("clitest.upper", "function", "ok"),
        ("engine", "provider", "ok"),
        ("audit", "hook", "ok"),
        ("clitest.slugify", "function", "shadowed"),
        ("bad name!", "", "faulty"),
    ]
    assert rows[0]["plugin"] == "clitest-first"
    assert rows[0]["version"] == "1.4"
    assert rows[0]["reference"] == "clitest_bomb:slugify"
    assert "by clitest-first 1.4" in rows[4]["reason"]


def test_list_for_people_is_grouped_by_the_names_that_the_switches_take(site, monkeypatch):
    """A plugin that is switched off is listed as such."""
    monkeypatch.setenv("JACKFIELD_DISABLE_PLUGINS", "clitest-second")
    lines = run("list", "clitest").stdout.splitlines()
    assert lines[0] == "clitest-first 1.4"
    assert lines[1].split() == ["clitest.slugify", "function", "clitest_bomb:slugify"]
    off = lines.index("clitest-second 0.1")
    assert "switched off by JACKFIELD_DISABLE_PLUGINS" in lines[off + 1]


def test_list_keeps_what_matches(site):
    """And is no failure when nothing does."""
    assert [row["name"] for row in json.loads(run("list", "clitest.u*", "--json").stdout)] == ["clitest.upper"]
    result = run("list", "clitest-nothing-like-it")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing matches" in result.stderr


def test_info_shows_a_function_and_a_plugin(site):
    """Without importing either."""
    shown = json.loads(run("info", "clitest.upper", "--json").stdout)
    assert list(shown) == ["name", "entries", "faults", "contract", "asks"]
    assert [entry["plugin"] for entry in shown["entries"]] == ["clitest-first"]
    assert shown["contract"] is None
    text = run("info", "Clitest_First").stdout
    assert "clitest_bomb:slugify" in text
    assert "clitest_bomb:Audit" in text
    assert "clitest-first 1.4" in text


def test_explain_names_winner_loser_and_rule(site, monkeypatch):
    """For a name and for a plugin, in text and as JSON."""
    text = run("explain", "clitest.slugify").stdout
    assert "served    clitest.slugify from clitest-first 1.4" in text
    assert "shadowed  clitest.slugify from clitest-second 0.1" in text
    assert "alphabetical order" in text
    shown = json.loads(run("explain", "clitest.slugify", "--json").stdout)
    assert shown["served"][0]["plugin"] == "clitest-first"
    assert shown["shadowed"][0]["winner"]["plugin"] == "clitest-first"
    monkeypatch.setenv("JACKFIELD_DISABLE_PLUGINS", "clitest-first")
    assert "by JACKFIELD_DISABLE_PLUGINS" in run("explain", "clitest-first").stdout


@pytest.mark.parametrize("verb", ["info", "explain"])
def test_an_unknown_name_fails_with_close_ones(site, verb):
    """Exit code 1: the question was well put."""
    result = run(verb, "clitest.sligify")
    assert result.exit_code == 1
    assert "did you mean 'clitest.slugify'" in result.stderr
    assert result.stdout == ""


def test_doctor_reports_faults_and_surroundings_and_fails(site):
    """The conflict and the malformed line, each with its fix."""
    result = run("doctor", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert list(report) == ["ok", "jackfield", "python", "switches", "cache", "plugins", "notes", "faults"]
    assert report["ok"] is False
    assert {(fault["stage"], fault["entry"]) for fault in report["faults"]} >= {
        ("duplicate", "clitest.slugify"),
        ("name", "bad name!"),
    }
    assert report["python"]["executable"] == sys.executable
    assert report["switches"]["JACKFIELD_LOAD_PLUGINS"] == ["clitest-first", "clitest-second"]
    (first,) = (one for one in report["plugins"] if one["plugin"] == "clitest-first")
    assert (first["functions"], first["hooks"], first["providers"]) == (2, 1, 1)
    text = run("doctor").stdout
    assert "fix: uninstall one of them" in text
    assert "clitest-first 1.4" in text


def test_doctor_passes_when_nothing_is_wrong(site, monkeypatch):
    """The broken plugin being switched off."""
    monkeypatch.setenv("JACKFIELD_LOAD_PLUGINS", "clitest-first")
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    assert "no faults" in result.stdout


def test_doctor_works_amid_wreckage(site):
    """A directory that pip left behind and metadata that is no text."""
    (site / "~litest-1.0.dist-info").mkdir()
    broken = install(site, "clitest-broken", "1", {})
    (broken / "entry_points.txt").write_bytes(b"\xff\xfe[jackfield.functions]")
    report = json.loads(run("doctor", "--json").stdout)
    assert any("~litest" in fault["entry"] for fault in report["faults"])
    assert any(row["name"] == "clitest.upper" for row in json.loads(run("list", "--json").stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["list", "--frobnicate"],
        ["info"],
        ["graph", "--format", "jpeg"],
        ["check", "--timeout", "x"],
    ],
)
def test_wrong_usage_is_exit_code_two(arguments):
    """Whatever is wrong with it."""
    assert run(*arguments).exit_code == 2


def test_the_shell_completes_names_without_importing(site, tmp_path):
    """In a real process, as the shell's script asks for it."""
    env = {**os.environ, "PYTHONPATH": str(site), "_PLUGINCTL_COMPLETE": "complete_bash"}

    def complete(line):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        command = [sys.executable, "-m", "jackfield"]
        done = subprocess.run(command, env={**env, **words}, capture_output=True, text=True, check=False)  # our own
        return done.stdout.split()

    assert complete("pluginctl call clit") == ["clitest.slugify", "clitest.upper"]
    assert {"clitest.upper", "clitest-first", "clitest-second"} <= set(complete("pluginctl info clit"))
    assert complete("pluginctl expl") == ["explain"]


def test_the_version_is_shown():
    """Of jackfield and of Python."""
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("jackfield ")
