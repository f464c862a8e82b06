"""The index: used when nothing changed, never stale, never fatal."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from jackfield.plugins.discovery import Switches, scan
from jackfield.plugins.discovery.index import Record, read_index, write_index

ENTRIES = "[jackfield.functions]\ntext.{} = m:a\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture
def site(tmp_path):
    return tmp_path / "site"


@pytest.fixture
def later(monkeypatch):
    """Ten seconds later: what is on disk has settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)


def put(site, name="good", function="a", version="1.0"):
    directory = site / f"{name}-1.0.dist-info"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    if function:
        (directory / "entry_points.txt").write_text(ENTRIES.format(function))
    return directory


def names(site, **options):
    return [one.name for one in scan([str(site)], **options).candidates]


def tick(folder):
    """Wait until the file system's clock has moved on, as it has long done when a file is two seconds old."""
    probe = folder / "probe"
    probe.write_text("")
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.write_text("")


def rewrite(file, text):
    """Rewrite in place, later than whatever was written before."""
    tick(file.parent)
    file.write_text(text)


def index_files(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_what_has_settled_is_read_from_the_index(site, later):
    """A record whose stamps hold is believed: that is what makes the second scan fast."""
    put(site)
    assert names(site) == ["text.a"]
    records = read_index(str(site))
    (directory,) = records
    old = records[directory]
    write_index(
        str(site),
        {directory: Record(old.key, old.entry_points, old.metadata, "good", "9", (("jackfield.hooks", "x", "m"),))},
    )
    assert [(one.name, one.version) for one in scan([str(site)]).candidates] == [("x", "9")]
    assert names(site, cache=False) == names(site, switches=Switches(no_cache=True)) == ["text.a"]


def test_a_time_under_two_seconds_old_is_not_trusted(site, cache):
    """Right after an installation nothing is kept, since the files may change again without changing their stamps."""
    put(site)
    assert names(site) == ["text.a"]
    assert read_index(str(site)) == {}
    assert index_files(cache) == []


def test_a_rewrite_in_place_of_the_same_size_within_a_second_is_seen(site, later):
    """The directory did not change, the size did not change: the file's own times tell."""
    file = put(site) / "entry_points.txt"
    assert names(site) == ["text.a"]
    rewrite(file, ENTRIES.format("b"))
    assert names(site) == ["text.b"]


@pytest.mark.skipif(os.name != "posix", reason="ctime is the time of creation elsewhere")
def test_a_rewrite_that_restores_the_time_of_modification_is_seen(site, later):
    """As `cp -p`, `rsync -t` and tar do."""
    file = put(site) / "entry_points.txt"
    status = file.stat()
    assert names(site) == ["text.a"]
    rewrite(file, ENTRIES.format("b"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert names(site) == ["text.b"]


def test_a_new_version_in_place_is_seen(site, later):
    """Only METADATA was rewritten, as an editable installation does."""
    file = put(site) / "METADATA"
    assert scan([str(site)]).candidates[0].version == "1.0"
    rewrite(file, "Name: good\nVersion: 1.1\n")
    assert scan([str(site)]).candidates[0].version == "1.1"


def test_metadata_that_comes_beside_pkg_info_is_seen(site, later):
    """Whichever of the two is there is read, METADATA first; a record of the other does not outlive its coming."""
    directory = put(site)
    (directory / "METADATA").rename(directory / "PKG-INFO")
    assert scan([str(site)]).candidates[0].version == "1.0"
    assert read_index(str(site))[directory.name].headers == "PKG-INFO"
    assert scan([str(site)]).candidates[0].version == "1.0"
    (directory / "METADATA").write_text("Name: good\nVersion: 2.0\n")
    assert scan([str(site)]).candidates[0].version == "2.0"
    (directory / "METADATA").unlink()
    assert scan([str(site)]).candidates[0].version == "1.0"


def test_entry_points_reached_through_a_link_are_followed(site, tmp_path, later):
    """Some installers link metadata to a store: the store's file is what counts."""
    directory = put(site)
    store = (directory / "entry_points.txt").rename(tmp_path / "store.txt")
    (directory / "entry_points.txt").symlink_to(store)
    assert names(site) == ["text.a"]
    rewrite(store, ENTRIES.format("b"))
    assert names(site) == ["text.b"]


def test_faults_are_the_same_with_the_index(site, later):
    """What is faulty is read again at each scan, whole or in part."""
    (put(site, "sick") / "METADATA").unlink()
    (put(site, "partly") / "entry_points.txt").write_text(ENTRIES.format("b") + "nonsense\n")
    first, second, fresh = scan([str(site)]), scan([str(site)]), scan([str(site)], cache=False)
    assert first.faults == second.faults == fresh.faults
    assert len(first.faults) == 2
    assert first.candidates == second.candidates == fresh.candidates


class NeverStale(RuleBasedStateMachine):
    """Whatever is done to a site directory, a scan with the index finds what a scan without it finds."""

    @initialize()
    def start(self):
        self.site = Path(os.environ["HOME"]) / f"site-{time.perf_counter_ns()}"
        self.site.mkdir(parents=True)

    def directory(self, name):
        return self.site / f"{name}-1.0.dist-info"

    name = st.sampled_from(["one", "two"])
    file = st.sampled_from(["METADATA", "entry_points.txt"])

    @rule(name=name, function=st.sampled_from(["a", "b", ""]))
    def install(self, name, function):
        if self.directory(name).is_dir():
            put(self.site, name, function)

    @rule(name=name)
    def make(self, name):
        self.directory(name).mkdir(exist_ok=True)

    @rule(name=name, file=file)
    def remove(self, name, file):
        (self.directory(name) / file).unlink(missing_ok=True)

    @rule(name=name, file=file)
    def dangle(self, name, file):
        path = self.directory(name) / file
        if self.directory(name).is_dir() and not os.path.lexists(path):
            path.symlink_to("nowhere")

    @rule(name=name, file=file)
    def empty(self, name, file):
        path = self.directory(name) / file
        if path.is_file():
            path.write_text("")

    @rule(name=name)
    def stranger(self, name):
        path = self.directory(name) / "entry_points.txt"
        if path.is_file():
            path.write_text("[console_scripts]\na = m:a\n")

    @rule()
    def look(self):
        with_index, without = scan([str(self.site)], cache=True), scan([str(self.site)], cache=False)
        assert with_index.candidates == without.candidates
        assert with_index.faults == without.faults
        tick(self.site)

    def teardown(self):
        if hasattr(self, "site"):
            self.look()
            self.look()


def test_never_stale(later):
    """The state machine above, on a clock that trusts everything at once: a harder test than real time."""
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415

    run_state_machine_as_test(NeverStale, settings=settings(max_examples=40, stateful_step_count=15))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: os.urandom(len(data)),
        lambda data: b"\0" * len(data),
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b" 1\n", b" 2\n", 1),
        lambda data: data.replace(b"text.a", b"text.b"),
    ],
    ids=["empty", "torn", "noise", "zeros", "one bit", "another format", "edited"],
)
def test_a_damaged_index_is_ignored_and_made_anew(site, cache, later, damage):
    """Whatever is in the file."""
    put(site)
    names(site)
    (file,) = index_files(cache)
    data = file.read_bytes()
    file.write_bytes(damage(data))
    assert names(site) == ["text.a"]
    assert file.read_bytes() == data


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_an_index_that_others_could_write_is_not_believed(site, cache, later):
    """They could advertise anything in it."""
    put(site)
    names(site)
    (file,) = index_files(cache)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o666)
    assert read_index(str(site)) == {}
    assert names(site) == ["text.a"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_index_of_another_directory_is_not_believed(site, tmp_path, cache, later):
    """Even under the right file name."""
    put(site)
    put(tmp_path / "other", function="b")
    names(site)
    (mine,) = index_files(cache)
    names(tmp_path / "other")
    (theirs,) = set(index_files(cache)) - {mine}
    mine.write_bytes(theirs.read_bytes())
    assert names(site) == ["text.a"]


@pytest.mark.parametrize("home", ["/dev/null/home", "file"])
def test_without_a_place_to_write_scanning_works(site, tmp_path, monkeypatch, later, home):
    """A read-only home costs speed and nothing else."""
    (tmp_path / "file").write_text("")
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, home if home.startswith("/") else str(tmp_path / home))
    put(site)
    assert names(site) == names(site) == ["text.a"]


def test_nothing_is_written_when_the_cache_is_off(site, cache, later):
    """Neither by argument nor by switch."""
    put(site)
    names(site, cache=False)
    names(site, switches=Switches(no_cache=True))
    assert index_files(cache) == []


def test_old_indexes_are_dropped(tmp_path, cache, later):
    """Environments come and go; the folder stays small, and the newest indexes stay."""
    for number in range(70):
        put(tmp_path / f"site{number}")
        names(tmp_path / f"site{number}")
    assert len(index_files(cache)) == 64
    assert read_index(str(tmp_path / "site69"))


WRITER = """
import sys
from jackfield.plugins.discovery.index import Record, read_index, write_index
site, mark = sys.argv[1:]
def full(mark):
    return {f"d{n}": Record(f"k{n}", (1, 2, 3, 4), None, mark, "1", (("g", "n", mark),)) for n in range(2000)}
either = [full("x"), full("y")]
write_index(site, full(mark))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    write_index(site, full(mark))
    assert read_index(site) in either
"""


def test_processes_that_write_at_once_never_see_half_an_index(cache):
    """Each replaces the file in one step: whoever reads gets one or the other, whole."""
    writers = [
        subprocess.Popen(  # our own code
            [sys.executable, "-c", WRITER, "/some/site", mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mark in "xyxy"
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert len(index_files(cache)) == 1
