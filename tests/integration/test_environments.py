"""Environments: real wheels, real installers, real kills."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jackfield
from jackfield import PluginError
from jackfield.cli import app
from jackfield.environments import Environments, EnvironmentSettings
from jackfield.plugins.discovery import scan
from support.wheels import wheel

HAS_UV = bool(shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv"))
UV = pytest.param("uv", marks=pytest.mark.skipif(not HAS_UV, reason="uv is not installed"))
PIP = pytest.param("pip", marks=pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed"))
INSTALLERS = [UV, PIP]

DEMO = """
    import demo_c

    def run() -> str:
        return f"{VERSION} with {demo_c.VERSION}"
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder of wheels: two versions of one distribution with conflicting pins of another; and what cannot be had."""
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        wheel(folder, "demo-c", version, entries="")
        wheel(folder, "demo-a", version, requires=[f"demo-c=={version}", "jackfield>=0"], code=DEMO)
    wheel(folder, "demo-attrs", "1.0", requires=["attrs>=22"])
    wheel(folder, "demo-old", "1.0", requires=["attrs<20"])
    wheel(folder, "demo-new", "1.0", requires=["jackfield>=99"])
    wheel(folder, "demo-mute", "1.0", entries="")
    wheel(folder, "demo-split", "1.0", requires=["demo-c==1.0", "demo-a==2.0"])
    return folder


@pytest.fixture
def environments(wheels, tmp_path):
    """Make `Environments` that look nowhere but into the folder of wheels."""
    made = []

    def make(installer=None, folder=tmp_path / "cache", links=(wheels,), **settings):
        known = EnvironmentSettings(tuple(map(str, links)), **{"offline": True, **settings})
        made.append(Environments(known, folder=folder, installer=installer))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def built(wheels, tmp_path_factory):
    """A cache that has demo-a 1.0 and 2.0."""
    folder = tmp_path_factory.mktemp("built") / "cache"
    with Environments(EnvironmentSettings((str(wheels),), offline=True), folder=folder) as made:
        made.get("demo-a==1.0")
        made.get("demo-a==2.0")
    return folder


@pytest.fixture
def cache(built, tmp_path):
    """A copy of that, for one test."""
    return shutil.copytree(built, tmp_path / "cache")


def run(environment, code):
    """Run code as a worker does: no site, no variables, and the environment's own paths."""
    paths = list(map(str, environment.paths))
    command = [str(environment.python), "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout.strip()


def nothing_left(folder):
    """Nothing half done, and no lock but of what is there."""
    return not [path for path in folder.iterdir() if path.name.startswith(".")] and not [
        path for path in (folder / "locks").iterdir() if path.suffix != ".use"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_two_versions_with_conflicting_pins_are_there_at_once(environments, tmp_path, installer):
    """Each with what it depends on, and with the host's own jackfield, which runs there."""
    made = environments(installer)
    for version in ("1.0", "2.0"):
        environment = made.get(f"demo-a=={version}")
        assert run(environment, "import demo_a; print(demo_a.run())") == f"{version} with {version}"
        where = run(environment, "import jackfield, jackfield.wire.frames; print(jackfield.__file__)")
        assert Path(where) == environment.paths[0] / "jackfield" / "__init__.py"
        assert Path(where).read_bytes() == Path(jackfield.__file__).read_bytes()
        libraries = {one.name for one in environment.distributions} - {"demo-a", "demo-c"}
        assert libraries == {"attrs", "jackfield", "msgspec", "packaging", "pluggy", "typing-extensions"}
        assert (environment.distribution.name, environment.distribution.version) == ("demo-a", version)
    assert nothing_left(tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_UV, reason="uv is not installed")
def test_uv_and_pip_come_to_the_same_address(environments, tmp_path):
    """The lock says what is in it, whoever made it."""
    addresses = {environments(one, tmp_path / one).get("demo-a==1.0").address for one in ("uv", "pip")}
    assert len(addresses) == 1


def test_what_is_there_needs_neither_installer_nor_index(environments, cache):
    """It is found by its requirement, in any spelling that means the same text."""
    made = environments("none at all", cache)
    assert made.get("demo-a == 1.0").address == made.get("demo-a==1.0").address
    with pytest.raises(PluginError, match="pip install uv"):
        made.get("demo-attrs")


def test_the_functions_are_read_without_importing_anything(environments, cache):
    """From the environment's metadata, by the scan that reads everything else."""
    environment = environments(folder=cache).get("demo-a==2.0")
    catalogue = scan(list(map(str, environment.paths)), cache=False)
    assert [(one.name, one.version, one.value) for one in catalogue.candidates] == [("demo-a.run", "2.0", "demo_a:run")]
    assert environment.distribution.groups == ("jackfield.functions",)
    assert "demo_a" not in sys.modules


@pytest.mark.slow
def test_further_distributions_come_along(environments):
    """And make another environment than without them; their order does not matter."""
    made = environments()
    one = made.get("demo-a==1.0", with_=("demo-attrs==1.0", "demo-mute"))
    assert {"demo-attrs", "demo-mute"} < {each.name for each in one.distributions}
    assert one.address == made.get("demo-a==1.0", with_=("demo-mute", "demo-attrs==1.0")).address
    assert one.address != made.get("demo-a==1.0").address


REFUSED = [
    ("demo-a==3.0", "it cannot be resolved: .*demo-a==3.0", "find_links"),
    ("demo-unheard-of", "it cannot be resolved: .*demo-unheard-of", "find_links"),
    ("demo-split", "it cannot be resolved: .*demo-c==1.0", "check its name"),
    ("demo-old", "together with what a worker runs on: .*attrs<20", "which needs attrs>="),
    ("demo-new", "together with what a worker runs on: .*jackfield>=99", "loosen its pin"),
    ("demo a", "no requirement", "demo-ocr==2.0"),
    ("demo-a==", "no requirement", "demo-ocr==2.0"),
    ("demo-a; python_version < '3'", "does not apply", "marker"),
]


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
@pytest.mark.parametrize(("requirement", "reason", "fix"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_had_is_refused_before_anything_is_built(
    environments, tmp_path, installer, requirement, reason, fix
):
    """In the resolver's words, in one line, with what to do; and nothing is left."""
    with pytest.raises(PluginError, match=reason) as refused:
        environments(installer).get(requirement)
    assert refused.value.stage == "environment"
    assert fix in refused.value.fix
    assert str(tmp_path) not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "cache").exists() or (
        nothing_left(tmp_path / "cache") and not environments(installer).list()
    )


@pytest.mark.slow
def test_a_distribution_without_functions_is_refused_unless_a_configuration_names_them(environments):
    """The environment is there all the same."""
    made = environments()
    with pytest.raises(PluginError, match=r"demo-mute 1\.0 advertises neither"):
        made.get("demo-mute")
    assert made.get("demo-mute", serving=False).distribution.groups == ()


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_an_index_that_is_away_is_named(environments, monkeypatch, installer):
    """Nobody listens there."""
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "http://me:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    with pytest.raises(PluginError, match=r"index cannot be reached: .*127\.0\.0\.1") as refused:
        environments(installer, offline=False).get("demo-unheard-of==1.0")
    assert "offline = true" in refused.value.fix
    assert "secret" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "requirement",
    ["demo-a @ http://me:secret@127.0.0.1:9/demo_a-1.0-py3-none-any.whl", "demo-a @ http://me:secret@127.0.0.1:9 1.0"],
)
def test_no_credentials_are_told(environments, monkeypatch, requirement):
    """Neither in an error, nor in the steps, which are logged."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "0")
    steps = []
    with pytest.raises(PluginError) as refused:
        environments(offline=False).get(requirement, progress=steps.append)
    assert "secret" not in f"{refused.value} {refused.value.faults} {steps}"


def test_a_folder_of_find_links_that_is_not_there_is_named(environments, tmp_path):
    """It is a slip, not an empty folder."""
    with pytest.raises(PluginError, match="nowhere, of find_links, is not there"):
        environments(links=(tmp_path / "nowhere",)).get("demo-a==1.0")


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_another_wheel_of_the_same_version_is_another_environment(environments, tmp_path, installer):
    """Whoever asks again gets what is in the folder now; the old one stays as it is."""
    links = tmp_path / "links"
    made = environments(installer, links=(links,))
    wheel(links, "demo-a", "1.0", code="def run() -> str: return 'old'")
    old = made.get("demo-a==1.0")
    wheel(links, "demo-a", "1.0", code="def run() -> str: return 'newer'")
    new = made.get("demo-a==1.0")
    assert [run(one, "import demo_a; print(demo_a.run())") for one in (old, new)] == ["old", "newer"]


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_no_code_of_an_environment_runs_where_it_is_built(environments, tmp_path, monkeypatch, installer):
    """No .pth file, no sitecustomize: neither its own, nor one that a variable of the host's leads to."""
    mark = tmp_path / "ran"
    evil = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    links = tmp_path / "links"
    wheel(links, "demo-evil", "1.0", code=evil, files={"evil.pth": evil, "sitecustomize.py": evil})
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(evil)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    made = environments(installer, links=(links,))
    environment = made.get("demo-evil==1.0")
    assert made.get("demo-evil==1.0") == environment
    scan(list(map(str, environment.paths)), cache=False)
    assert not mark.exists()
    assert (environment.paths[0] / "sitecustomize.py").exists()


def test_a_finished_environment_is_read_only_and_this_user_s_alone(environments, cache):
    """Every file and every folder of it."""
    environment = environments(folder=cache).get("demo-a==1.0")
    assert stat.S_IMODE(cache.stat().st_mode) == stat.S_IMODE(environment.folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in environment.paths[0].rglob("*")}
    assert modes <= {0o400, 0o500}


def _append(site):
    file = site / "demo_a.py"
    file.chmod(0o600)
    file.write_text(file.read_text() + "# more\n")


def _same_size(site):
    file = site / "demo_a.py"
    file.chmod(0o600)
    file.write_text(file.read_text().replace("with", "WITH"))
    os.utime(file, ns=(0, 0))


def _one_more(site):
    site.chmod(0o700)
    (site / "sitecustomize.py").write_text("print('gotcha')\n")


def _one_less(site):
    site.chmod(0o700)
    (site / "demo_c.py").unlink()


def _link(site):
    site.chmod(0o700)
    text = (site / "demo_c.py").read_bytes()
    (site / "demo_c.py").unlink()
    (site.parent.parent / "elsewhere.py").write_bytes(text)
    (site / "demo_c.py").symlink_to(site.parent.parent / "elsewhere.py")


def _listing(site):
    (site.parent / "environment.json").write_text("{}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (_append, "demo_a.py is not what was installed"),
        (_same_size, "demo_a.py is not what was installed"),
        (_one_more, "sitecustomize.py was put into it"),
        (_one_less, "demo_c.py is missing"),
        (_link, "demo_c.py is not what was installed"),
        (_listing, "its list of files cannot be read"),
    ],
)
def test_what_was_tampered_with_is_refused_until_it_is_removed(environments, cache, tamper, reason):
    """And is then built anew."""
    made = environments(folder=cache)
    made.release(environment := made.get("demo-a==1.0"))
    tamper(environment.paths[0])
    with pytest.raises(PluginError, match=f"tampered with: {reason}") as refused:
        made.get("demo-a==1.0")
    assert f"pluginctl env remove {environment.address[:12]}" in refused.value.fix
    made.remove(environment.address)
    assert made.get("demo-a==1.0").address == environment.address


def test_a_cache_that_was_copied_is_read_once(environments, cache):
    """Its files have other times and inodes than those that were noted; what they are then is noted."""
    made = environments(folder=cache)
    made.release(environment := made.get("demo-a==1.0"))
    place = environment.folder
    (noted := place / "stamps").chmod(0o600)
    inode = noted.stat().st_ino
    made.get("demo-a==1.0")
    assert noted.stat().st_ino == inode


_UPGRADED = """
import sys
from pathlib import Path
from jackfield import PluginError
from jackfield.environments import Environments, EnvironmentSettings

environments = Environments(EnvironmentSettings((sys.argv[1],), offline=True), folder=Path(sys.argv[2]))
try:
    environments.get("demo-unheard-of")
except PluginError:
    pass  # it has looked at what it runs
here = Path(sys.modules["jackfield"].__file__)
assert here.is_relative_to(sys.argv[3]), here
here.write_text(here.read_text() + "# another version\\n")
try:
    environments.get("demo-a==1.0")
except PluginError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_jackfield_that_was_upgraded_under_its_host_is_told(wheels, tmp_path):
    """A worker would run another one than the host."""
    copy = tmp_path / "copy"
    shutil.copytree(Path(jackfield.__file__).parent, copy / "jackfield", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", _UPGRADED, str(wheels), str(tmp_path / "cache"), str(copy)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True
    )
    assert "__init__.py, of jackfield, has changed since this process has started: restart it" in done.stdout


_CHILD = """
import sys
from pathlib import Path
from jackfield.environments import Environments, EnvironmentSettings

settings = EnvironmentSettings((sys.argv[1],), offline=True)
environments = Environments(settings, folder=Path(sys.argv[2]), installer=sys.argv[3])
environment = environments.get(sys.argv[4], progress=lambda step: print(step.phase, flush=True))
print(environment.address, flush=True)
sys.stdin.read()
"""


def child(wheels, folder, installer="", requirement="demo-a==1.0"):
    """Start another process that has an environment until its stdin is closed."""
    installer = installer or ("uv" if HAS_UV else "pip")
    command = [sys.executable, "-c", _CHILD, str(wheels), str(folder), installer, requirement]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def working_in(folder):
    """Give the command lines of processes that work there still."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = file.read_bytes()
            found += [line] if str(folder / ".new-").encode() in line else []
    return found


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing is killed so there")
@pytest.mark.parametrize("installer", INSTALLERS)
@pytest.mark.parametrize("phase", ["resolving", "installing", "compiling", "checking"])
def test_what_was_killed_half_way_leaves_nothing_usable_and_is_cleaned_up(
    wheels, environments, tmp_path, installer, phase
):
    """Whatever it was doing: the next one removes what is there, and builds it."""
    folder = tmp_path / "cache"
    with child(wheels, folder, installer) as process:
        for line in process.stdout:
            if line.strip() == phase:
                process.kill()
                break
        process.wait()
    for path in folder.glob("[0-9a-f]*"):  # whatever has an address is finished
        assert (path / "environment.json").is_file()
    environment = environments(installer).get("demo-a==1.0")
    assert run(environment, "import demo_a; print(demo_a.run())") == "1.0 with 1.0"
    assert nothing_left(folder)
    assert working_in(folder) == []


@pytest.mark.slow
def test_eight_processes_at_once_build_it_once(wheels, tmp_path):
    """Seven wait, and get what the one has built."""
    children = [child(wheels, tmp_path / "cache") for _ in range(8)]
    said = [process.communicate()[0].split() for process in children]
    assert [process.returncode for process in children] == [0] * 8
    assert len({words[-1] for words in said}) == 1
    assert sum(words.count("installing") for words in said) == 1
    assert nothing_left(tmp_path / "cache")


@pytest.mark.slow
def test_eight_threads_at_once_build_it_once(environments):
    """The same within one process, with several objects."""
    phases, guard = [], threading.Lock()

    def note(step):
        with guard:
            phases.append(step.phase)

    with ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(environments().get, "demo-a==1.0", progress=note) for _ in range(8)]
        assert len({task.result().address for task in tasks}) == 1
    assert phases.count("installing") == 1


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_host_that_stops_gives_up_what_it_builds(environments, tmp_path, installer):
    """The thread that waits for it is told, and nothing is left."""
    made = environments(installer)

    def stop(step):
        if step.phase == "installing":
            made.close()

    with pytest.raises(PluginError, match="given up: the host stops"):
        made.get("demo-a==1.0", progress=stop)
    with pytest.raises(PluginError, match="given up: the host stops"):
        made.get("demo-a==1.0")
    assert nothing_left(tmp_path / "cache")
    assert made.list() == ()


def test_what_is_open_is_closed_when_its_last_user_lets_go(environments, cache):
    """However many threads of a process have it: it is one lock, and one check."""
    made = environments(folder=cache)
    one, two = made.get("demo-a==1.0"), made.get("demo-a ==1.0")
    made.release(one)
    with pytest.raises(PluginError, match="a live process uses"):
        made.remove(two.address)
    made.release(two)
    made.release(two)
    assert made.remove(two.address).requirement == "demo-a==1.0"


def test_what_is_used_least_recently_goes_first(environments, cache):
    """Until the rest is small enough."""
    made = environments(folder=cache)
    for requirement in ("demo-a==2.0", "demo-a==1.0"):
        made.release(made.get(requirement))
        os.utime(cache / "locks" / f"{made.list()[0].address}.use", (1000, 1000) if "2.0" in requirement else None)
    size = sum(one.size for one in made.list())
    assert [one.requirement for one in made.collect(size)] == []
    assert [one.requirement for one in made.collect(size - 1)] == ["demo-a==2.0"]
    assert [one.requirement for one in made.list()] == ["demo-a==1.0"]
    assert [one.requirement for one in made.collect(0)] == ["demo-a==1.0"]
    assert nothing_left(cache)
    assert list((cache / "locks").iterdir()) == list((cache / "requests").iterdir()) == []


@pytest.mark.slow
def test_what_a_live_process_uses_is_neither_collected_nor_removed(wheels, environments, cache):
    """Be it another one; once that is dead it may go."""
    made = environments(folder=cache)
    with child(wheels, cache) as process:
        address = [process.stdout.readline().strip() for _ in range(2)][-1]
        assert {one.address: one.in_use for one in made.list()}[address]
        assert address not in {one.address for one in made.collect(0)}
        with pytest.raises(PluginError, match="a live process uses"):
            made.remove(address[:8])
        process.kill()
        process.wait()
    assert made.remove(address[:8]).address == address
    assert made.list() == ()


def test_the_size_of_the_cache_holds_after_each_build(environments, cache):
    """What was just built is in use, and stays."""
    made = environments(folder=cache, size=0)
    made.get("demo-attrs==1.0")
    assert [one.requirement for one in made.list()] == ["demo-attrs==1.0"]


def test_a_cache_that_cannot_be_written_is_named(environments, tmp_path):
    """A file is where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(PluginError, match="file/cache cannot be used") as refused:
        environments(folder=tmp_path / "file" / "cache").get("demo-a==1.0")
    assert "XDG_CACHE_HOME" in refused.value.fix


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root believes nobody else")
def test_root_does_not_believe_a_cache_that_others_may_have_filled(environments, tmp_path):
    """Not even one below a folder that somebody else could replace."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PluginError, match="may be written by everybody"):
        environments(folder=tmp_path / "open" / "cache").get("demo-a==1.0")


@pytest.fixture
def small(tmp_path):
    """A disk of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = [shutil.which("mount") or "/bin/mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(place)]
    try:
        failed = subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        failed = True
    if failed:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run([mount[0].replace("mount", "umount"), "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_full_disk_is_named_and_nothing_is_left_on_it(environments, small, installer):
    """Whoever fills it: the host, uv or pip."""
    made = environments(installer, small / "cache")
    with pytest.raises(PluginError, match="is full") as refused:
        made.get("demo-a==1.0")
    assert "pluginctl env collect" in refused.value.fix
    assert nothing_left(small / "cache")


def pluginctl(*arguments):
    return CliRunner().invoke(app, ["env", *arguments])


@pytest.mark.slow
def test_pluginctl_builds_lists_and_removes(wheels, tmp_path, monkeypatch):
    """In the user's cache folder, with JSON where asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = pluginctl("build", "demo-a==1.0", "--with", "demo-mute", "--find-links", str(wheels), "--offline", "--json")
    assert done.exit_code == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "resolving",
        "installing",
        "compiling",
        "checking",
        "ready",
    ]
    built = json.loads(done.stdout)
    assert {"demo-a==1.0", "demo-c==1.0", "demo-mute==1.0"} < set(built["distributions"])
    (listed,) = json.loads(pluginctl("list", "--json").stdout)
    assert (listed["address"], listed["with"], listed["in_use"]) == (built["address"], ["demo-mute"], False)
    assert built["address"] in pluginctl("list").stdout
    assert pluginctl("collect", "--size", "1GiB").stdout == ""
    assert "demo-a==1.0" in pluginctl("remove", built["address"][:6]).stdout
    gone = pluginctl("remove", built["address"][:6])
    assert (gone.exit_code, gone.stderr.count("\n")) == (1, 1)
    assert "no environment has an address" in gone.stderr
    assert pluginctl("list", "--json").stdout.strip() == "[]"


@pytest.mark.slow
def test_pluginctl_builds_what_the_host_of_a_configuration_would(wheels, tmp_path, monkeypatch):
    """Its folders, relative to the file, and whether an index is asked; a faulty file is told of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "wheels").symlink_to(wheels)
    config = tmp_path / "jackfield.toml"
    config.write_text('[environments]\nfind_links = ["./wheels"]\noffline = true\nsize = "1GiB"\n')
    built = json.loads(pluginctl("build", "demo-a==1.0", "--config", str(config), "--json").stdout)
    with Environments(EnvironmentSettings((str(tmp_path / "wheels"),), offline=True), installer="none") as made:
        assert made.get("demo-a==1.0").address == built["address"]
    config.write_text("[environments]\noffline = 3\n")
    refused = pluginctl("build", "demo-a==1.0", "--config", str(config))
    assert (refused.exit_code, "offline" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("size", "code"), [("12 parsecs", 2), ("0", 0)])
def test_pluginctl_collects_by_size(tmp_path, monkeypatch, size, code):
    """A size that is none is wrong usage."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pluginctl("collect", "--size", size).exit_code == code


def test_pluginctl_tells_what_cannot_be_had_in_one_line(wheels, tmp_path, monkeypatch):
    """With the plugin, the reason and the fix."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = pluginctl("build", "demo-old", "--find-links", str(wheels), "--offline")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: plugin demo-old: environment: it cannot be resolved")
