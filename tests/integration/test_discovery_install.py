"""Discovery of what pip really installed: a wheel, an editable project, and reinstallations within a second."""

import json
import subprocess
import sys
import time
import venv
import zipfile

import pytest

from jackfield.plugins.discovery import Switches, load, scan
from jackfield.plugins.discovery.index import read_index

pytest.importorskip("pip")
pytestmark = pytest.mark.slow

BACKEND = '''
"""A build backend that makes editable wheels as setuptools does: a .pth file to the source."""
import pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "edited_plugin-2.0-py3-none-any.whl"
    info = "edited_plugin-2.0.dist-info/"
    files = {
        "__editable__.edited_plugin.pth": str(pathlib.Path("src").resolve()) + "\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: Edited_Plugin\\nVersion: 2.0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": pathlib.Path("entry_points.txt").read_text(),
    }
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        record = "".join(f"{path},,\\n" for path in files)
        wheel.writestr(info + "RECORD", record + info + "RECORD,,\\n")
    return name
'''


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


def make_wheel(folder, function, name="wheeled_plugin"):
    """Make a wheel by hand that advertises one function."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info/"
    files = {
        f"{name}.py": f"def {function}(x):\n    return '{function}', x\n",
        f"{info}METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n\nText.\n",
        f"{info}WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}entry_points.txt": f"[jackfield.functions]\nwheeled.{function} = {name}:{function}\n",
    }
    with zipfile.ZipFile(file, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}RECORD", "".join(f"{path},,\n" for path in files) + f"{info}RECORD,,\n")
    return file


def pip(*arguments, python=sys.executable):
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--root-user-action=ignore", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # our own arguments
    assert done.returncode == 0, done.stderr


def names(*path):
    return [one.name for one in scan([str(entry) for entry in path]).candidates]


def test_a_wheel_is_found_loaded_and_gone_when_it_is_uninstalled(tmp_path, monkeypatch):
    """The path of a plugin from `pip install` to its function, without any of jackfield in it."""
    site = tmp_path / "site"
    pip("--target", site, make_wheel(tmp_path, "first"))
    (candidate,) = scan([str(site)]).candidates
    assert (candidate.plugin, candidate.version, candidate.name) == ("wheeled-plugin", "1.0", "wheeled.first")
    monkeypatch.syspath_prepend(str(site))
    try:
        assert load(candidate)(7) == ("first", 7)
    finally:
        sys.modules.pop("wheeled_plugin", None)
    assert scan([str(site)], switches=Switches(disable=("wheeled-plugin",))).candidates == ()
    for path in sorted(site.glob("wheeled_plugin-1.0.dist-info/*")):
        path.unlink()
    (site / "wheeled_plugin-1.0.dist-info").rmdir()
    assert names(site) == []


def test_a_reinstallation_of_the_same_version_is_seen_at_once(tmp_path):
    """Same version, same file names, same sizes, and no time in between: with the index, and on the real clock."""
    site = tmp_path / "site"
    first, other = make_wheel(tmp_path / "one", "first"), make_wheel(tmp_path / "two", "other")
    again = ("--upgrade", "--force-reinstall", "--target", site)
    pip(*again, first)
    assert names(site) == ["wheeled.first"]
    pip(*again, other)
    assert names(site) == ["wheeled.other"]
    file = site / "wheeled_plugin-1.0.dist-info" / "entry_points.txt"
    text = file.read_text()
    for function in ("first", "other", "first"):  # rewritten in place, three times within a second
        file.write_text(text.replace("wheeled.other", f"wheeled.{function}"))
        assert names(site) == [f"wheeled.{function}"]

    limit = time.monotonic() + 30
    while not read_index(str(site)):  # until two seconds have passed, nothing is kept
        assert time.monotonic() < limit
        assert names(site) == ["wheeled.first"]
        time.sleep(0.05)
    file.write_text(text)
    assert names(site) == ["wheeled.other"]
    pip(*again, first)
    assert names(site) == ["wheeled.first"]


def test_an_editable_project_is_one_plugin_although_it_is_seen_twice(tmp_path):
    """The site directory has its dist-info, its source has an egg-info, and both are on the path: `pip install -e`."""
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    python = next(
        path for path in (environment / "bin" / "python", environment / "Scripts" / "python.exe") if path.exists()
    )
    project = tmp_path / "project"
    egg_info = project / "src" / "edited_plugin.egg-info"
    egg_info.mkdir(parents=True)
    (project / "src" / "edited_plugin.py").write_text("def edited(x): return x\n")
    entry_points = "[jackfield.functions]\nedited.function = edited_plugin:edited\n"
    for folder in (project, egg_info):
        (folder / "entry_points.txt").write_text(entry_points)
    (egg_info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: edited-plugin\nVersion: 1.9\n")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    pip("--no-build-isolation", "--editable", project, python=python)
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)  # our own code
    path = json.loads(done.stdout)
    assert str((project / "src").resolve()) in path, "pip made the .pth file"

    catalogue = scan(path)
    (candidate,) = catalogue.candidates
    assert (candidate.plugin, candidate.version) == ("edited-plugin", "2.0")
    assert [one.candidate.version for one in catalogue.shadowed] == ["1.9"]
    assert catalogue.faults == ()


def test_two_installed_distributions_that_claim_one_name(tmp_path):
    """Really installed into one directory, in either order: one serves, both are named."""
    for order in (("alpha_plugin", "zeta_plugin"), ("zeta_plugin", "alpha_plugin")):
        site = tmp_path / order[0]
        pip("--target", site, *(make_wheel(tmp_path / "wheels", "first", name) for name in order))
        catalogue = scan([str(site)])
        assert [one.plugin for one in catalogue.candidates] == ["alpha-plugin"]
        (fault,) = catalogue.faults
        assert (fault.stage, fault.plugin) == ("duplicate", "zeta-plugin")
        assert "alpha-plugin" in fault.reason
