"""`pluginctl new`: the project that it writes is a plugin, and passes its own tests."""

import json
import os
import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from jackfield.cli import app


def new(name, *options):
    return CliRunner().invoke(app, ["new", name, *options])


def install(project):
    """Do what an editable installation does, without a package index."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project / "src"
    info = source / f"{table['name'].replace('-', '_')}-{table['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, entries in table["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return source


def run(project, source, *command):
    env = {
        **os.environ,
        "PYTHONPATH": str(source),
        "XDG_CACHE_HOME": str(project / "cache"),
        "JACKFIELD_LOAD_PLUGINS": "newtest-plugin",
    }
    command = [sys.executable, "-m", *command]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)  # our own


@pytest.mark.slow  # a process each for its tests, a call and a check
@pytest.mark.parametrize(
    ("kind", "tests_passed"), [("function", 4), ("async", 5), ("provider", 5), ("plugin", 5), ("hooks", 6)]
)
def test_a_new_project_passes_its_own_tests_and_serves_its_function(tmp_path, monkeypatch, kind, tests_passed):
    """Its tests through jackfield's pytest plugin, its function through `pluginctl`, its contract through `check`."""
    monkeypatch.chdir(tmp_path)
    made = new("newtest-plugin", "--kind", kind)
    assert made.exit_code == 0, made.output
    assert "newtest-plugin/pyproject.toml".replace("/", os.sep) in made.stdout
    project = tmp_path / "newtest-plugin"
    source = install(project)
    tests = run(project, source, "pytest", "-p", "no:cacheprovider")
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert f"{tests_passed} passed" in tests.stdout
    called = run(project, source, "jackfield", "call", "newtest_plugin.greet", "name=World")
    assert (called.returncode, called.stdout) == (0, '"Hello, World!"\n')
    checked = run(project, source, "jackfield", "check", "--json")
    assert json.loads(checked.stdout) == {
        "ok": True,
        "functions": ["newtest_plugin.greet"],
        "notes": [],
        "faults": [],
        "asks": [],
    }
    assert "$ pip install -e" in (project / "README.md").read_text(encoding="utf-8")


def test_a_kind_that_there_is_not_is_refused_with_those_there_are(tmp_path, monkeypatch):
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = new("newtest", "--kind", "functions")
    assert result.exit_code == 2
    assert "'functions' is none of function, async, provider, plugin, hooks" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_ever_overwritten(tmp_path, monkeypatch):
    """Not even an empty folder is taken over."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "newtest").mkdir()
    result = new("newtest")
    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert list((tmp_path / "newtest").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "3d",
        "-x",
        "x-",
        "../up",
        "a/b",
        "x" * 63,
        "class",
        "json",
        "jackfield",
        "tests",
        "Grüße",
        "a\nb",
        ".",
    ],
)
def test_names_that_would_not_work_are_refused(tmp_path, monkeypatch, name):
    """For pip, for Python, or because they would hide a module."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["new", "--", name]).exit_code == 2
    assert list(tmp_path.iterdir()) == []
