"""`pluginctl manifest`, and what `check` and `info` say of manifests: of distributions as pip installs them."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jackfield.cli import app
from jackfield.errors import ConfigError
from jackfield.manifests import MANIFEST, beside, shipped
from jackfield.manifests.read import read_manifest
from jackfield.manifests.schema import json_schema

BOMB = "raise SystemExit('imported')\n"
ASKS = "name: mf-demo\ncapabilities: [network:outbound, storage:scratch, publish:mf_demo.Done]\n"


def run(*arguments):
    return CliRunner().invoke(app, arguments, prog_name="pluginctl")


class Installation:
    """A folder like site-packages, and a project beside it."""

    def __init__(self, folder):
        self.site, self.project = folder / "site", folder / "project"
        self.info = self.site / "mf_demo-1.2.dist-info"
        self.info.mkdir(parents=True)
        (self.info / "METADATA").write_text("Metadata-Version: 2.1\nName: mf-demo\nVersion: 1.2\n")
        (self.info / "entry_points.txt").write_text("[jackfield.functions]\nmf.greet = mf_demo.functions:greet\n")

    def package(self, root, manifest=ASKS):
        package = root / "mf_demo"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(BOMB)
        (package / "functions.py").write_text(BOMB)
        if manifest:
            (package / MANIFEST).write_text(manifest)
        return package / MANIFEST

    def record(self, *rows):
        (self.info / "RECORD").write_text("".join(f"{row},sha256=x,1\n" for row in rows))

    def wheel(self, manifest=ASKS):
        """As pip installs a wheel."""
        file = self.package(self.site, manifest)
        self.record("mf_demo/__init__.py", *([f"mf_demo/{MANIFEST}"] if manifest else []))
        return file

    def editable(self, how, layout="src"):
        """As pip installs one that is worked on: by a path file, a finder, or the address of the project alone."""
        root = self.project / layout
        file = self.package(root)
        (self.project / "pyproject.toml").write_text('[project]\nname = "mf-demo"\nversion = "1.2"\n')
        if how == "path file":
            (self.site / "__editable__.mf_demo-1.2.pth").write_text(f"{root}\n")
            self.record("__editable__.mf_demo-1.2.pth")
        elif how == "finder":
            (self.site / "__editable__.mf_demo-1.2.pth").write_text("import __editable___mf_demo_1_2_finder\n")
            finder = f"MAPPING: dict[str, str] = {{'mf_demo': {str(root / 'mf_demo')!r}}}\n{BOMB}"
            (self.site / "__editable___mf_demo_1_2_finder.py").write_text(finder)
            self.record("__editable__.mf_demo-1.2.pth", "__editable___mf_demo_1_2_finder.py")
        else:
            said = {"url": self.project.as_uri(), "dir_info": {"editable": True}}
            (self.info / "direct_url.json").write_text(json.dumps(said))
        return file


@pytest.fixture
def installation(tmp_path, monkeypatch):
    made = Installation(tmp_path)
    monkeypatch.syspath_prepend(str(made.site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JACKFIELD_LOAD_PLUGINS", "mf-demo")
    monkeypatch.delenv("JACKFIELD_DISABLE_PLUGINS", raising=False)
    yield made
    assert not [name for name in sys.modules if name.startswith("mf_demo")]


@pytest.mark.parametrize(
    ("how", "layout"),
    [("path file", "src"), ("finder", "src"), ("address", "src"), ("address", ""), ("path file", "")],
)
def test_that_of_an_editable_install_is_found_without_import(installation, how, layout):
    """Where the path file, the finder's table or `direct_url.json` lead."""
    file = installation.editable(how, layout)
    assert shipped(str(installation.info), ["mf_demo.functions"]) == file
    shown = json.loads(run("manifest", "mf-demo", "--json").stdout)
    assert (shown["file"], shown["proposed"], shown["asks"][0]) == (str(file), False, "network:outbound")


def test_one_beside_the_package_of_an_editable_install_counts(installation):
    """But none beside a package of site-packages, where everybody's are."""
    file = installation.editable("path file")
    (file.parent.parent / MANIFEST).write_text(file.read_text())
    file.unlink()
    assert shipped(str(installation.info), ["mf_demo.functions"]) == file.parent.parent / MANIFEST
    (installation.site / MANIFEST).write_text("name: of somebody else\n")
    (file.parent.parent / MANIFEST).unlink()
    assert shipped(str(installation.info), ["mf_demo.functions"]) is None


def test_the_one_in_record_is_it_and_two_are_a_fault(installation):
    """Wherever in the distribution it is."""
    file = installation.wheel()
    assert shipped(str(installation.info), ["mf_demo.functions"]) == file
    (installation.site / "mf_other").mkdir()
    (installation.site / "mf_other" / MANIFEST).write_text(ASKS)
    installation.record(f"mf_demo/{MANIFEST}", f"mf_other/{MANIFEST}")
    with pytest.raises(ConfigError, match="it has 2 manifests"):
        shipped(str(installation.info), ["mf_demo.functions"])
    assert run("manifest", "mf-demo").exit_code == 1
    fault = json.loads(run("info", "mf.greet", "--json").stdout)["faults"][0]
    assert (fault["stage"], fault["plugin"]) == ("manifest", "mf-demo")
    installation.record("mf_gone/plugin-manifest.yaml")
    with pytest.raises(ConfigError, match="which is not there"):
        shipped(str(installation.info), ["mf_demo.functions"])


@pytest.mark.parametrize("junk", ["\x00", "not, json", "[1]", '{"url": 5, "dir_info": {"editable": true}}', '"x"'])
def test_odd_metadata_is_no_manifest(installation, junk):
    """Nor an exception."""
    for name in ("direct_url.json", "RECORD"):
        (installation.info / name).write_text(junk)
    assert shipped(str(installation.info), ["mf_demo.functions"]) is None


def test_beside_a_file_or_in_a_folder(tmp_path):
    """Of a folder within it, or beside it; both are one too many."""
    (tmp_path / "a.py").touch()
    (tmp_path / "b").mkdir()
    assert beside(str(tmp_path / "a.py")) is None
    inside = tmp_path / "b" / MANIFEST
    inside.touch()
    assert beside(str(tmp_path / "b")) == inside
    (tmp_path / MANIFEST).touch()
    assert beside(str(tmp_path / "a.py")) == tmp_path / MANIFEST
    with pytest.raises(ConfigError, match="2 manifests"):
        beside(str(tmp_path / "b"))


def test_info_shows_what_it_asks_for_and_the_line_that_is_missing(installation):
    """Types of its own need no word, nor does a folder of its own."""
    file = installation.wheel()
    shown = json.loads(run("info", "mf.greet", "--json").stdout)
    assert shown["asks"] == [
        {
            "plugin": "mf-demo",
            "manifest": str(file),
            "asks": ["network:outbound", "storage:scratch", "publish:mf_demo.Done"],
            "missing": ["network:outbound"],
            "allow": 'allow = ["network:outbound"]',
        }
    ]
    assert 'allow = ["network:outbound"]' in run("info", "mf-demo").stdout


def test_what_manifest_and_metadata_say_differently_is_a_fault(installation):
    """A manifest that describes another version is not believed silently."""
    installation.wheel("name: mf-demo\nversion: 1.1\nfunctions: [mf.gone]\n")
    faults = json.loads(run("info", "mf.greet", "--json").stdout)["faults"]
    assert [fault["stage"] for fault in faults] == ["manifest"] * 3


def test_a_faulty_manifest_is_shown_with_every_line(installation):
    """By `manifest` itself, and by `info`."""
    file = installation.wheel("nmae: x\nrestart: no\n")
    shown = run("manifest", "mf-demo")
    assert shown.exit_code == 1
    assert "nmae (line 1)" in shown.stdout
    assert "restart (line 2)" in shown.stdout
    faults = json.loads(run("info", "mf.greet", "--json").stdout)["faults"]
    assert [fault["where"] for fault in faults] == [f"{file}:1", f"{file}:2"]


def test_a_plugin_without_one_gets_a_proposal_and_no_place_in_site_packages(installation):
    """What is installed from a wheel is not written to."""
    installation.wheel(manifest="")
    shown = json.loads(run("manifest", "mf-demo", "--json").stdout)
    assert (shown["proposed"], shown["place"]) == (True, "")
    assert "functions:\n- mf.greet\n" in shown["text"]
    refused = run("manifest", "mf-demo", "--write")
    assert refused.exit_code == 1
    assert "is not installed from its sources" in refused.output


@pytest.mark.parametrize(
    ("pyproject", "expected"),
    [
        ("", [MANIFEST]),
        ("[tool.setuptools.package-data]\nmf_demo = ['py.typed']\n[tool.x]\na = 1\n", ["py.typed", MANIFEST]),
        ("[tool.setuptools.package-data]\nother = ['x']\n", [MANIFEST]),
        ('[tool.setuptools.package-data]\n"mf_demo" = [\n  "py.typed",\n]\n', ["py.typed", MANIFEST]),
        (f'[tool.setuptools.package-data]\nmf_demo = ["{MANIFEST}"]\n', [MANIFEST]),
        ('[tool.setuptools.package-data]\nmf_demo = ["*.yaml"]\n', ["*.yaml"]),
    ],
)
def test_write_puts_it_where_it_is_found_and_sets_up_the_package_data(installation, pyproject, expected):
    """In the project of an editable install; what else stands in `pyproject.toml` stays; a second time is refused."""
    file = installation.editable("path file")
    file.unlink()
    head = '[project]\nname = "mf-demo"\nversion = "1.2"\n# mine\n'
    (installation.project / "pyproject.toml").write_text(head + pyproject)
    written = run("manifest", "mf-demo", "--write")
    assert written.exit_code == 0, written.output
    assert read_manifest(file).functions == ("mf.greet",)
    text = (installation.project / "pyproject.toml").read_text()
    assert text.startswith(head)
    assert tomllib.loads(text)["tool"]["setuptools"]["package-data"]["mf_demo"] == expected
    assert run("manifest", "mf-demo", "--write").exit_code == 1


def test_a_project_a_file_and_a_folder_need_not_be_installed(tmp_path, monkeypatch):
    """`pluginctl new` writes a project that `manifest --write` completes; the default is the folder it is called in."""
    monkeypatch.chdir(tmp_path)
    assert run("new", "mf-new").exit_code == 0
    monkeypatch.chdir(tmp_path / "mf-new")
    assert run("manifest", "--write").exit_code == 0
    found = read_manifest(Path("src/mf_new") / MANIFEST)
    assert (found.name, found.functions) == ("mf-new", ("mf_new.greet",))
    assert json.loads(run("manifest", ".", "--json").stdout)["proposed"] is False
    assert json.loads(run("manifest", f"src/mf_new/{MANIFEST}", "--json").stdout)["plugin"] == "mf-new"
    Path("tool.py").touch()
    assert run("manifest", "./tool.py", "--write").exit_code == 0
    assert beside("tool.py") is not None
    for nothing in ("./gone.py", "tests", "mf-unknown"):
        assert run("manifest", nothing).exit_code == 1


def test_the_schema_is_printed():
    """For editors."""
    assert json.loads(run("manifest", "--schema").stdout) == json_schema()


def test_check_says_which_line_a_configuration_lacks(tmp_path, monkeypatch):
    """Of workers, whatever their executor is worth here; a faulty manifest is a fault of any plugin."""
    (tmp_path / "a.py").write_text("")
    (tmp_path / MANIFEST).write_text("capabilities: [network:outbound, 'calls:text.*']\n")
    text = '[[plugin]]\nname = "a"\npath = "./a.py"\nexecutor = "worker"\n[plugin.worker]\nallow = ["calls:*"]\n'
    (tmp_path / "jackfield.toml").write_text(text)
    shown = json.loads(run("check", str(tmp_path / "jackfield.toml"), "--json").stdout)
    assert shown["asks"][0]["allow"] == 'allow = ["calls:*", "network:outbound"]'
    assert "asks a: asks for more" in run("check", str(tmp_path / "jackfield.toml")).stdout
    (tmp_path / MANIFEST).write_text("nmae: a\n")
    faults = json.loads(run("check", str(tmp_path / "jackfield.toml"), "--json").stdout)["faults"]
    assert any(fault["stage"] == "manifest" and fault["plugin"] == "a" for fault in faults)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / "jackfield.toml").write_text(text.replace("calls:*", "all"))
    faults = json.loads(run("check", str(tmp_path / "jackfield.toml"), "--json").stdout)["faults"]
    assert any("it has no manifest" in fault["reason"] for fault in faults)


def test_check_of_a_file_reads_the_manifest_beside_it(tmp_path):
    """What it asks for, and what is wrong with it."""
    (tmp_path / "tool.py").write_text("def f(): ...\n")
    (tmp_path / MANIFEST).write_text("capabilities: [network:outbound, storage:scratch]\n")
    shown = json.loads(run("check", str(tmp_path / "tool.py"), "--json").stdout)
    assert (shown["ok"], shown["asks"][0]["missing"]) == (True, ["network:outbound"])
    (tmp_path / MANIFEST).write_text("capabilities: [network]\n")
    shown = json.loads(run("check", str(tmp_path / "tool.py"), "--json").stdout)
    assert [fault["where"] for fault in shown["faults"]] == [f"{tmp_path / MANIFEST}:1"]


@pytest.mark.slow  # pip builds and installs
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_what_pip_really_installs_is_found(tmp_path, monkeypatch, editable):
    """The project of `pluginctl new`, with its manifest, in a folder of its own."""
    there = [each.version for each in metadata.distributions(name="setuptools")]
    if not there or int(there[0].partition(".")[0]) < 77:  # not imported: it would replace `distutils` for all others
        pytest.skip("needs setuptools, 77 at least")
    monkeypatch.chdir(tmp_path)
    assert run("new", "mf-pip").exit_code == 0
    assert run("manifest", "mf-pip/", "--write").exit_code == 0
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    where = ["--prefix", str(tmp_path / "prefix"), *(["-e"] if editable else []), "./mf-pip"]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = next((tmp_path / "prefix").glob("[Ll]ib*/**/site-packages"))
    (info,) = site.glob("mf_pip-*.dist-info")
    found = shipped(str(info), ["mf_pip.functions"])
    home = tmp_path / "mf-pip" / "src" if editable else site
    assert found == home / "mf_pip" / MANIFEST
