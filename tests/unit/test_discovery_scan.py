"""Scanning real metadata directories: what is found, and that whatever is broken costs only itself."""

import importlib.machinery
import importlib.metadata
import os
import signal
import sys
import zipfile
from pathlib import Path

import importlib_metadata
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackfield.cli.entries import rows
from jackfield.plugins.discovery import FUNCTIONS, HOOKS, PLUGINS, PROVIDERS, scan

GOOD = "[jackfield.functions]\ntext.slugify = good.text:slugify\n"


def put(site, name="good", version="1.0", *, entry_points=GOOD, metadata=None, suffix="dist-info"):
    """Write a distribution's metadata as an installer does."""
    directory = site / f"{name.replace('-', '_')}-{version}.{suffix}"
    directory.mkdir(parents=True, exist_ok=True)
    headers = (
        metadata if metadata is not None else f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText.\n"
    )
    (directory / ("METADATA" if suffix == "dist-info" else "PKG-INFO")).write_text(headers, encoding="utf-8")
    if entry_points is not None:
        (directory / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return directory


def look(*sites):
    return scan([str(site) for site in sites], cache=False)


def test_names_come_from_metadata_alone(tmp_path):
    """All four groups are read, nothing is imported, and each candidate knows where it came from."""
    directory = put(
        tmp_path,
        "My_Plugin",
        "1.4",
        entry_points="""
        # a comment
        [console_scripts]
        tool = nowhere:main
        [jackfield.functions]
        text.slugify = nowhere.text:slugify
        text.Count = nowhere.text : Count.run [extra]
        [jackfield.plugins]
        main = nowhere
        [jackfield.providers]
        db = nowhere.db:session
        [jackfield.hooks]
        audit = nowhere.audit
        """,
    )
    catalogue = look(tmp_path)
    assert [(one.group, one.name) for one in catalogue.candidates] == [
        (FUNCTIONS, "text.Count"),
        (FUNCTIONS, "text.slugify"),
        (PLUGINS, "main"),
        (PROVIDERS, "db"),
        (HOOKS, "audit"),
    ]
    assert catalogue.faults == ()
    assert catalogue.plugins == ("my-plugin",)
    found = catalogue.find("text.slugify")
    assert (found.value, found.plugin, found.distribution) == ("nowhere.text:slugify", "my-plugin", "my-plugin")
    assert (found.version, found.location) == ("1.4", str(directory))
    assert catalogue.find("text.slugify", HOOKS) is None
    assert [one.name for one in catalogue.group(PROVIDERS)] == ["db"]
    assert "nowhere" not in sys.modules


def test_egg_info_is_read_in_a_directory_an_egg_and_not_in_a_single_file(tmp_path):
    """The older layouts mean what they always meant; a single .egg-info file is whole, and advertises nothing."""
    put(tmp_path, "legacy", entry_points="[jackfield.functions]\na = m:a\n", suffix="egg-info")
    egg = tmp_path / "packed-2.0-py3.11.egg"
    put(egg, "packed", entry_points=None, metadata="Name: packed\nVersion: 2.0\n").rename(egg / "EGG-INFO")
    (egg / "EGG-INFO" / "METADATA").rename(egg / "EGG-INFO" / "PKG-INFO")
    (egg / "EGG-INFO" / "entry_points.txt").write_text("[jackfield.functions]\nb = m:b\n")
    (tmp_path / "single-1.0-py3.11.egg-info").write_text("Name: single\nVersion: 1.0\n")
    catalogue = look(tmp_path, egg)
    assert [(one.name, one.plugin, one.version) for one in catalogue.candidates] == [
        ("a", "legacy", "1.0"),
        ("b", "packed", "2.0"),
    ]
    assert catalogue.faults == ()


def test_zip_files_on_the_path_are_read(tmp_path):
    """What importlib can import from, discovery can find in; one bad distribution in it leaves the others."""
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("good-1.0.dist-info/METADATA", "Name: good\nVersion: 1.0\n")
        bundle.writestr("good-1.0.dist-info/entry_points.txt", GOOD)
        bundle.writestr("bad-1.0.dist-info/entry_points.txt", GOOD)
        bundle.writestr("worse-1.0.dist-info/METADATA", "Name: worse\nVersion: 1.0\n")
        bundle.writestr("worse-1.0.dist-info/entry_points.txt", b"[jackfield.functions]\na = \xff:b\n")
    catalogue = look(archive)
    assert [one.plugin for one in catalogue.candidates] == ["good"]
    assert "good-1.0.dist-info" in catalogue.candidates[0].location
    assert sorted(fault.stage for fault in catalogue.faults) == ["scan", "scan"]
    assert any("has no Name" in fault.reason for fault in catalogue.faults)


def test_finders_of_other_packages_are_asked_and_one_that_raises_is_named(tmp_path, monkeypatch):
    """A distribution that no directory holds is found through its finder."""
    directory = put(tmp_path)

    class Finder:
        def find_spec(self, *_):
            return None

        def find_distributions(self, context):
            return [importlib.metadata.PathDistribution(directory)]

    class Broken(Finder):
        def find_distributions(self, context):
            raise RuntimeError("no network")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Broken(), Finder()])
    monkeypatch.setattr(sys, "path", [])
    catalogue = scan(cache=False)
    assert [one.name for one in catalogue.candidates] == ["text.slugify"]
    (fault,) = catalogue.faults
    assert fault.entry == "Broken.find_distributions"
    assert "asking it raised RuntimeError (" in fault.reason
    assert "no network" not in str(fault)


def write(folder, **files):
    """Write a metadata directory, file by file; bytes as they are."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / {"entry_points": "entry_points.txt", "PKG_INFO": "PKG-INFO"}.get(name, name)).write_bytes(data)
    return folder


HEADERS = "Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.4\n"


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        ("my_plugin-1.4.dist-info", {"METADATA": HEADERS}),
        ("my_plugin-1.4.DIST-INFO", {"METADATA": HEADERS}),
        ("My_Plugin-1.4.Dist-Info", {"METADATA": HEADERS}),
        ("my_plugin.dist-info", {"METADATA": HEADERS}),
        ("my-plugin-1.4.dist-info", {"METADATA": HEADERS}),
        ("my_plugin-1.4.dist-info", {"PKG_INFO": HEADERS}),
        ("my-plugin.egg-info", {"PKG_INFO": HEADERS}),
        ("my_plugin-1.4-py3.11-linux-x86_64.egg-info", {"PKG_INFO": HEADERS}),
        ("my_plugin.EGG-INFO", {"PKG_INFO": HEADERS}),
        ("my_plugin.egg-info", {"METADATA": HEADERS}),
        ("my_plugin.egg-info", {"METADATA": HEADERS, "PKG_INFO": "Name: my-plugin\nVersion: 0.9\n"}),
        ("my_plugin-1.4.dist-info", {"METADATA": b"\xef\xbb\xbf" + HEADERS.encode()}),
        ("my_plugin-1.4.dist-info", {"METADATA": b"\xef\xbb\xbfName: my-plugin\nVersion: 1.4\n"}),
        ("my_plugin-1.4.dist-info", {"METADATA": "Author: J\xf6rg\n".encode("latin-1") + HEADERS.encode()}),
        ("my_plugin-1.4.dist-info", {"METADATA": HEADERS.replace("\n", "\r\n")}),
        ("my_plugin-1.4.dist-info", {"METADATA": HEADERS.replace("\n", "\r")}),
        ("my_plugin-1.4.dist-info", {"METADATA": "Name:\n my-plugin\nVersion: 1.4\n"}),
        ("my_plugin-1.4.dist-info", {"METADATA": HEADERS + "\nName: not-a-header\n"}),
        ("elsewhere-9.dist-info", {"METADATA": HEADERS}),
    ],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["directory", "archive"])
def test_every_layout_and_encoding_means_what_it_says(tmp_path, folder, files, zipped):
    """In a directory as in an archive: the file within has the name, whatever the directory is called."""
    place = write(tmp_path / "site" / folder, entry_points=GOOD, **files).parent
    if zipped:
        with zipfile.ZipFile(tmp_path / "bundle.whl", "w") as archive:
            for file in (place / folder).iterdir():
                archive.write(file, file.relative_to(place))
        place = tmp_path / "bundle.whl"
    catalogue = look(place)
    assert [(one.distribution, one.version, one.name) for one in catalogue.candidates] == [
        ("my-plugin", "1.4", "text.slugify")
    ]
    assert catalogue.faults == ()


def test_a_dashed_egg_info_is_not_its_twin(tmp_path):
    """`paint.egg-info` and `paint-extra-tools.egg-info` are two distributions: what stands in them says so."""
    for name, function in (("paint", "paint.one"), ("paint-extra-tools", "paint.two"), ("paint-stranger", "")):
        entries = f"[jackfield.functions]\n{function} = mod:f\n" if function else "[console_scripts]\na = b:c\n"
        write(tmp_path / f"{name}.egg-info", PKG_INFO=f"Name: {name}\nVersion: 1.0\n", entry_points=entries)
    catalogue = look(tmp_path)
    assert [(one.plugin, one.name) for one in catalogue.candidates] == [
        ("paint", "paint.one"),
        ("paint-extra-tools", "paint.two"),
    ]
    assert catalogue.faults == catalogue.shadowed == ()


@pytest.mark.parametrize("zipped", [False, True], ids=["directory", "archive"])
def test_what_advertises_nothing_hides_a_later_version_of_itself_in_an_archive_too(tmp_path, zipped):
    """A wheel on `sys.path` counts as the directory that it would be."""
    headers = "Name: good\nVersion: 2.0\n"
    front = write(tmp_path / "front" / "good-2.0.dist-info", METADATA=headers).parent
    if zipped:
        front = tmp_path / "good-2.0-py3-none-any.whl"
        with zipfile.ZipFile(front, "w") as archive:
            archive.writestr("good-2.0.dist-info/METADATA", headers)
    put(tmp_path / "back", "good", "1.0")
    catalogue = look(front, tmp_path / "back")
    assert catalogue.candidates == ()
    assert [one.winner for one in catalogue.shadowed] == [None]


def test_an_egg_that_is_a_file_is_read(tmp_path):
    """As `easy_install` left them on `sys.path`."""
    egg = tmp_path / "my_plugin-1.4-py3.11.egg"
    with zipfile.ZipFile(egg, "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", HEADERS)
        archive.writestr("EGG-INFO/entry_points.txt", GOOD)
        archive.writestr("my_plugin.py", "")
    assert [(one.plugin, one.version) for one in look(egg).candidates] == [("my-plugin", "1.4")]


class Finder:
    """A finder of another package, which knows one distribution."""

    def __init__(self, *found):
        self.found = found

    def find_spec(self, *_):
        return None

    def find_distributions(self, context):
        return list(self.found)


def test_a_finder_in_front_of_pythons_own_comes_first(tmp_path, monkeypatch):
    """The order of `sys.meta_path` is the order of import."""
    put(tmp_path / "site", "good", "1.0")
    other = importlib_metadata.PathDistribution(put(tmp_path / "hidden", "good", "2.0"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    for path, version in (([Finder(other), *sys.meta_path], "2.0"), ([*sys.meta_path, Finder(other)], "1.0")):
        monkeypatch.setattr(sys, "meta_path", path)
        catalogue = scan(cache=False)
        assert [one.version for one in catalogue.candidates] == [version]
        assert catalogue.faults == ()


def test_a_finder_that_merely_has_the_name_of_pythons_own_is_asked(tmp_path, monkeypatch):
    """And one that inherits Python's own search is not asked for what is found already."""
    found = importlib.metadata.PathDistribution(put(tmp_path / "hidden", "good"))
    namesake = type("PathFinder", (Finder,), {})(found)
    heir = type("Mine", (importlib.machinery.PathFinder,), {})
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [heir, namesake, type("MetadataPathFinder", (Finder,), {})(), *sys.meta_path])
    catalogue = scan(cache=False)
    assert [one.name for one in catalogue.candidates] == ["text.slugify"]
    assert catalogue.faults == ()


class Spoken(importlib.metadata.Distribution):
    """A distribution without files: what it has, it says."""

    name, version = "spoken", "3.0"
    entry_points = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, "mod:f", group) for name, group in (("text.say", FUNCTIONS), ("x", "other"))
    )

    def read_text(self, filename):
        return None

    def locate_file(self, path):
        return path


def test_a_distribution_may_say_its_entry_points_instead_of_writing_them(monkeypatch):
    """It overrides `entry_points`, `name` and `version`, and reads no file."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(Spoken())])
    monkeypatch.setattr(sys, "path", [])
    catalogue = scan(cache=False)
    assert [(o.plugin, o.version, o.name, o.value) for o in catalogue.candidates] == [
        ("spoken", "3.0", "text.say", "mod:f")
    ]
    assert catalogue.faults == ()


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_distribution_that_raises_costs_itself(tmp_path, monkeypatch, error):
    """Whatever it raises, and wherever."""

    class Sick(Spoken):
        @property
        def entry_points(self):
            raise error

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(Sick(), Spoken())])
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    catalogue = scan(cache=False)
    assert [one.plugin for one in catalogue.candidates] == ["spoken"]
    (fault,) = catalogue.faults
    assert error.__name__ in fault.reason


def test_what_is_no_directory_or_not_there_provides_nothing(tmp_path):
    """Path entries are as import takes them: missing ones, plain files and odd objects are passed over."""
    (tmp_path / "file.txt").write_text("text")
    catalogue = scan(["", str(tmp_path / "missing"), str(tmp_path / "file.txt"), 7, "nul\0byte"], cache=False)
    assert [one for one in catalogue.candidates if one.location.startswith(str(tmp_path))] == []


# --- sick distributions


def no_metadata(site):
    (put(site, "sick") / "METADATA").unlink()


def stray(site):
    (site / "sick-1.0.dist-info").mkdir()


def empty_metadata(site):
    put(site, "sick", metadata="")


def empty_metadata_without_entry_points(site):
    put(site, "sick", metadata="", entry_points=None)


def no_name(site):
    put(site, "sick", metadata="Version: 1.0\n\nName: in-the-body\n")


def bad_name(site):
    put(site, "sick", metadata="Name: sick plugin!\nVersion: 1.0\n")


def no_version(site):
    put(site, "sick", metadata="Name: sick\n")


def bad_version(site):
    put(site, "sick", metadata="Name: sick\nVersion: one two\n")


def junk_metadata(site):
    (put(site, "sick") / "METADATA").write_bytes(bytes(range(256)) * 50)


def junk_entry_points(site):
    (put(site, "sick") / "entry_points.txt").write_bytes(b"\x7fELF\x00\x00\x00" * 100)


def not_utf8(site):
    (put(site, "sick") / "entry_points.txt").write_bytes(GOOD.encode("utf-16"))


def no_group(site):
    put(site, "sick", entry_points="text.slugify = good.text:slugify\n")


def a_file(site):
    (site / "sick-1.0.dist-info").write_text("what is this")


def entry_points_a_directory(site):
    directory = put(site, "sick", entry_points=None)
    (directory / "entry_points.txt").mkdir()


def metadata_a_directory(site):
    directory = put(site, "sick")
    (directory / "METADATA").unlink()
    (directory / "METADATA").mkdir()


def dangling_entry_points(site):
    (put(site, "sick", entry_points=None) / "entry_points.txt").symlink_to("nowhere")


def dangling_directory(site):
    (site / "sick-1.0.dist-info").symlink_to("nowhere")


def a_circle_of_links(site):
    (put(site, "sick", entry_points=None) / "entry_points.txt").symlink_to("entry_points.txt")


def a_pipe(site):
    os.mkfifo(put(site, "sick", entry_points=None) / "entry_points.txt")


def enormous(site):
    with (put(site, "sick") / "entry_points.txt").open("r+b") as stream:
        stream.truncate(1 << 30)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_metadata, "METADATA is missing"),
        (stray, "METADATA is missing"),
        (empty_metadata, "METADATA has no Name"),
        (empty_metadata_without_entry_points, "METADATA is empty"),
        (no_name, "METADATA has no Name"),
        (bad_name, "METADATA has no valid Name (sick plugin!)"),
        (no_version, "METADATA has no Version"),
        (bad_version, "METADATA has no valid Version (one two)"),
        (junk_metadata, "METADATA has no Name"),
        (junk_entry_points, "entry_points.txt is not a list of entry points"),
        (not_utf8, "entry_points.txt is not UTF-8 (byte 0)"),
        (no_group, "entry_points.txt is not a list of entry points"),
        (a_file, "sick-1.0.dist-info is a file where a directory belongs"),
        (entry_points_a_directory, "entry_points.txt is not a file"),
        (metadata_a_directory, "METADATA is not a file"),
        (dangling_entry_points, "entry_points.txt is a link to nothing"),
        (dangling_directory, "sick-1.0.dist-info is a link to nothing"),
        (a_circle_of_links, "entry_points.txt"),
        pytest.param(a_pipe, "is not a file", marks=pytest.mark.skipif(os.name != "posix", reason="no pipes")),
        (enormous, "entry_points.txt has 1,073,741,824 bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_sick_distribution_is_one_fault_and_the_rest_serves(tmp_path, make, reason):
    """The fault names the plugin, the file, what is wrong with it and the command that mends it."""
    put(tmp_path)
    make(tmp_path)
    catalogue = look(tmp_path)
    assert [one.plugin for one in catalogue.candidates] == ["good"]
    (fault,) = catalogue.faults
    assert (fault.stage, fault.plugin) == ("scan", "sick")
    assert reason in f"{fault.entry} {fault.reason}"
    assert fault.entry.startswith(str(tmp_path))
    assert "pip install --force-reinstall sick" in fault.fix


def test_what_an_interrupted_pip_left_is_named_and_not_served(tmp_path):
    """`~ick-1.0.dist-info` is what pip renames a distribution to before it removes it."""
    put(tmp_path)
    left = put(tmp_path, "sick").rename(tmp_path / "~ick-1.0.dist-info")
    catalogue = look(tmp_path)
    assert [one.plugin for one in catalogue.candidates] == ["good"]
    (fault,) = catalogue.faults
    assert (fault.stage, fault.entry, fault.fix) == ("scan", str(left), f"remove {left}")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX permissions")
def test_what_may_not_be_read_is_a_fault(tmp_path):
    """Permission denied on a file, a metadata directory or a whole site directory costs only what it protects."""
    site, locked = tmp_path / "site", tmp_path / "locked"
    put(site)
    put(locked)
    put(site, "unreadable", entry_points="[jackfield.functions]\na = m:a\n")
    put(site, "closed", entry_points="[jackfield.functions]\nb = m:b\n")
    denied = [site / "unreadable-1.0.dist-info" / "entry_points.txt", site / "closed-1.0.dist-info", locked]
    root = os.geteuid() == 0
    for parent in (tmp_path, *tmp_path.parents):
        if root and not parent.stat().st_mode & 0o001:
            parent.chmod(0o755)
    for path in denied:
        path.chmod(0)
    try:
        if root:
            os.seteuid(65534)
        catalogue = look(site, locked)
    finally:
        if root:
            os.seteuid(0)
        for path in denied:
            path.chmod(0o755)
    assert [one.plugin for one in catalogue.candidates] == ["good"]
    assert sorted(fault.plugin for fault in catalogue.faults) == ["", "closed", "unreadable"]
    assert all("Permission denied" in fault.reason for fault in catalogue.faults)


def test_an_author_in_latin_1_does_not_cost_the_plugin(tmp_path):
    """Only Name and Version are needed, so only they must be readable; carriage returns do not matter."""
    (put(tmp_path) / "METADATA").write_bytes(b"NAME:  Good \r\nVersion: 1.0\r\nAuthor: Andr\xe9\r\n\r\ntext")
    catalogue = look(tmp_path)
    assert [one.plugin for one in catalogue.candidates] == ["good"]
    assert catalogue.faults == ()


@pytest.mark.parametrize(
    ("lines", "stage", "words"),
    [
        ("[jackfield.functions]\ntext.slugify good.text:slugify", "scan", "line 5 (text.slugify good"),
        ("[jackfield.functions\na = m:a", "scan", "no closing bracket"),
        ("[jackfield.function]\na = m:a", "scan", "did you mean [jackfield.functions]?"),
        ("[jackfield.functions]\ntwo words = m:a", "name", "not a dotted name"),
        ("[jackfield.functions]\n = m:a", "name", "not a dotted name"),
        ("[jackfield.functions]\n" + "x" * 10_000 + " = m:a", "name", "10,000 characters"),
        ("[jackfield.hooks]\nbell\x07 = m:a", "name", "must be printable"),
        ("[jackfield.functions]\na = ", "reference", "is not an object reference"),
        ("[jackfield.functions]\na = m-n:a", "reference", "(m-n:a) is not an object reference"),
        ("[jackfield.functions]\na = m:a:b", "reference", "is not an object reference"),
        ("[jackfield.functions]\na = .m:a", "reference", "is not an object reference"),
        ("[jackfield.functions]\na = m", "reference", "write `a = m:attribute`"),
        ("[jackfield.providers]\na = m", "reference", "names a module"),
    ],
)
def test_a_bad_line_is_left_out_alone(tmp_path, lines, stage, words):
    """The other lines of the same file serve."""
    put(tmp_path, "good", entry_points=f"{GOOD}\n{lines}\n[jackfield.hooks]\naudit = good.audit\n")
    catalogue = look(tmp_path)
    assert [one.name for one in catalogue.candidates] == ["text.slugify", "audit"]
    (fault,) = catalogue.faults
    assert (fault.stage, fault.plugin) == (stage, "good")
    assert words in f"{fault.reason}: {fault.fix}"
    assert str(fault).isprintable()


def test_bad_lines_in_a_strangers_groups_are_not_our_business(tmp_path):
    """An environment is full of other people's entry points; a future group of jackfield's is left alone too."""
    put(tmp_path, entry_points=f"{GOOD}[console_scripts]\nnonsense\n[jackfield.contrib.doors]\nhttp = a:b\n")
    assert look(tmp_path).faults == ()


# --- duplicates


def test_one_directory_reached_twice_is_one(tmp_path):
    """lib64 → lib, and a path that names one directory twice, change nothing and are worth no word."""
    put(tmp_path / "lib")
    (tmp_path / "lib64").symlink_to("lib")
    catalogue = look(tmp_path / "lib", tmp_path / "lib64", tmp_path / "lib" / ".." / "lib")
    assert len(catalogue.candidates) == 1
    assert catalogue.shadowed == catalogue.faults == ()


def test_a_metadata_directory_that_is_linked_elsewhere_is_one(tmp_path):
    """Package managers that build environments out of links do this."""
    real = put(tmp_path / "store")
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / real.name).symlink_to(real)
    catalogue = look(tmp_path / "env", tmp_path / "store")
    assert [one.location for one in catalogue.candidates] == [str(tmp_path / "env" / real.name)]
    assert catalogue.shadowed == catalogue.faults == ()


def test_an_editable_install_seen_twice_is_one_and_the_first_on_the_path_counts(tmp_path):
    """The dist-info in the site directory and the egg-info beside the source are one: no fault, but explained."""
    put(tmp_path / "site", "my-plugin", "1.1")
    put(tmp_path / "src", "my_plugin", "1.0", suffix="egg-info")
    catalogue = look(tmp_path / "site", tmp_path / "src")
    (served,) = catalogue.candidates
    assert served.version == "1.1"
    assert catalogue.faults == ()
    (lost,) = catalogue.shadowed
    assert (lost.candidate.version, lost.winner) == ("1.0", served)
    assert "earlier on sys.path" in lost.rule
    assert not lost.is_editable_twin  # it has its version in its name: another installation


def test_what_is_wrong_with_an_editable_install_is_told_once(tmp_path):
    """Its twin beside the source has the same line."""
    entries = "[jackfield.functions]\ntext.bad = good.text\n"
    put(tmp_path / "site", "my-plugin", "1.1", entry_points=entries)
    write(tmp_path / "src" / "my_plugin.egg-info", PKG_INFO="Name: my-plugin\nVersion: 1.1\n", entry_points=entries)
    catalogue = look(tmp_path / "site", tmp_path / "src")
    assert [(fault.stage, fault.entry) for fault in catalogue.faults] == [("reference", "text.bad")]


def test_an_editable_install_has_one_line_in_a_listing(tmp_path):
    """What lies beside its source says nothing new; where the two differ, it is shown."""
    put(tmp_path / "site", "my-plugin", "1.1")
    entries = f"{GOOD}text.only = good.text:only\n"
    write(tmp_path / "src" / "my_plugin.egg-info", PKG_INFO="Name: my-plugin\nVersion: 1.0\n", entry_points=entries)
    for sites in (("site", "src"), ("src", "site")):
        catalogue = look(*(tmp_path / one for one in sites))
        assert [lost.candidate.name for lost in catalogue.shadowed if lost.is_editable_twin] == ["text.slugify"]
        shown = [(row.name, row.status) for row in rows(catalogue)]
        assert shown.count(("text.slugify", "ok")) == 1
        assert ("text.slugify", "shadowed") not in shown
        assert len(shown) == 2


def test_the_installation_that_import_would_use_hides_entries_that_only_the_other_has(tmp_path):
    """Entry points of code that is not importable must not be advertised, even when the first advertises nothing."""
    put(tmp_path / "front", "good", "2.0", entry_points=None)
    put(tmp_path / "back", "good", "1.0")
    catalogue = look(tmp_path / "front", tmp_path / "back")
    assert catalogue.candidates == ()
    (lost,) = catalogue.shadowed
    assert lost.winner is None


def test_a_broken_installation_hides_nobody(tmp_path):
    """When the first copy cannot be read, the second serves, and the first is a fault."""
    (put(tmp_path / "front", "good", "2.0") / "METADATA").unlink()
    put(tmp_path / "back", "good", "1.0")
    catalogue = look(tmp_path / "front", tmp_path / "back")
    assert [one.version for one in catalogue.candidates] == ["1.0"]
    assert [fault.stage for fault in catalogue.faults] == ["scan"]


def test_two_versions_left_in_one_directory_are_reported_and_the_higher_serves(tmp_path):
    """1.10 is higher than 1.9; what an interrupted upgrade leaves is a fault with the command that mends it."""
    old = put(tmp_path, "good", "1.9")
    put(tmp_path, "good", "1.10")
    catalogue = look(tmp_path)
    assert [one.version for one in catalogue.candidates] == ["1.10"]
    (fault,) = catalogue.faults
    assert (fault.stage, fault.plugin, fault.entry) == ("duplicate", "good", str(old))
    assert f"remove {old}" in fault.fix


@pytest.mark.parametrize("installed", [("alpha", "zeta"), ("zeta", "alpha")])
def test_two_distributions_that_claim_one_name_are_reported_with_both_sides(tmp_path, installed):
    """Within a directory the alphabetically first wins, whatever the order of installation."""
    for name in installed:
        put(tmp_path, name)
    catalogue = look(tmp_path)
    assert [one.plugin for one in catalogue.candidates] == ["alpha"]
    (lost,) = catalogue.shadowed
    assert (lost.candidate.plugin, lost.winner.plugin) == ("zeta", "alpha")
    (fault,) = catalogue.faults
    assert (fault.stage, fault.plugin, fault.entry) == ("duplicate", "zeta", "text.slugify")
    for words in (str(tmp_path / "alpha-1.0.dist-info"), str(tmp_path / "zeta-1.0.dist-info"), lost.rule):
        assert words in fault.reason
    assert "JACKFIELD_DISABLE_PLUGINS=alpha" in fault.fix


def test_between_directories_the_one_earlier_on_the_path_wins(tmp_path):
    """A directory put in front overrides, as it does for import."""
    put(tmp_path / "front", "zeta")
    put(tmp_path / "back", "alpha")
    catalogue = look(tmp_path / "front", tmp_path / "back")
    assert [one.plugin for one in catalogue.candidates] == ["zeta"]
    assert "earlier on sys.path" in catalogue.shadowed[0].rule


def test_one_name_twice_in_one_file_is_a_conflict_too(tmp_path):
    """The first line wins; the fault shows both values."""
    put(tmp_path, entry_points=f"{GOOD}text.slugify = good.other:slugify\n")
    catalogue = look(tmp_path)
    assert [one.value for one in catalogue.candidates] == ["good.text:slugify"]
    (fault,) = catalogue.faults
    assert fault.stage == "duplicate"
    assert "good.text:slugify and as good.other:slugify" in fault.reason


def test_labels_in_other_groups_do_not_conflict(tmp_path):
    """Two plugins may both call their plugin object `main`."""
    for name in ("alpha", "zeta"):
        put(tmp_path, name, entry_points="[jackfield.plugins]\nmain = m:main\n")
    catalogue = look(tmp_path)
    assert [one.plugin for one in catalogue.candidates] == ["alpha", "zeta"]
    assert catalogue.faults == ()


# --- explaining


def test_explain_tells_winner_losers_rules_and_faults(tmp_path):
    """By the function's name, by the plugin's name in any spelling, and with close names for one that is unknown."""
    put(tmp_path, "alpha")
    put(tmp_path, "zeta-text", entry_points=f"{GOOD}text.upper = m:\n")
    catalogue = look(tmp_path)
    explained = catalogue.explain("text.slugify")
    assert [one.plugin for one in explained.served] == ["alpha"]
    assert [one.candidate.plugin for one in explained.shadowed] == ["zeta-text"]
    assert [fault.stage for fault in explained.faults] == ["duplicate"]
    assert [fault.stage for fault in catalogue.explain("Zeta_Text").faults] == ["reference", "duplicate"]
    assert catalogue.explain("text.slugfy").close == ("text.slugify",)
    assert catalogue.explain("zeta-txt").close == ("zeta-text",)


# --- properties


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry_points=st.binary(max_size=200), metadata=st.binary(max_size=200), ours=st.booleans())
def test_no_bytes_whatever_cost_the_others(tmp_path, entry_points, metadata, ours):
    """Whatever is in one distribution's files, the scan returns and the neighbour serves."""
    put(tmp_path, "neighbour", entry_points="[jackfield.functions]\nnext.door = m:a\n")
    directory = put(tmp_path, "sick")
    (directory / "METADATA").write_bytes(metadata)
    (directory / "entry_points.txt").write_bytes((GOOD.encode() if ours else b"") + entry_points)
    assert look(tmp_path).find("next.door") is not None


def _is_header(line):
    return line.startswith("[") and line.endswith("]")


_word = st.text("abz_.-:[]=# \t\x0b\u00e9", max_size=12).filter(
    # The standard library takes a header without its closing bracket for an entry; that is a fault here.
    lambda word: all(_is_header(line.strip()) or not line.strip().startswith("[") for line in word.splitlines())
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.one_of(_word, st.sampled_from(["[jackfield.functions]", "[other]", "a = m:a", "b=m.n:b.c"]))))
def test_the_file_means_what_it_means_to_importlib_metadata(tmp_path, lines):
    """Every candidate is an entry point that the standard library sees, in the same group, with the same value."""
    directory = put(tmp_path, entry_points="\n".join(["[jackfield.functions]", "z = m:z", *lines]))
    theirs = {
        (entry.group, entry.name, entry.value) for entry in _standard_library(directory) if entry.group == FUNCTIONS
    }
    catalogue = look(tmp_path)
    ours = {(one.group, one.name, one.value) for one in catalogue.candidates}
    assert ours <= theirs
    assert (FUNCTIONS, "z", "m:z") in ours
    assert {(FUNCTIONS, "a", "m:a"), (FUNCTIONS, "b", "m.n:b.c")} & theirs <= ours | {
        (one.candidate.group, one.candidate.name, one.candidate.value) for one in catalogue.shadowed
    }


def _is_entry(line):
    name, equals, value = line.partition("=")
    try:
        importlib.metadata.EntryPoint(name.strip(), value.strip(), "")
    except ValueError:  # from 3.15 on, it is one that refuses what is no object reference
        return False
    return bool(equals)


def _standard_library(directory: Path):
    """Read with the standard library, which raises for lines that it does not understand: those are tested above."""
    file = directory / "entry_points.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _is_header(line.strip()) or _is_entry(line)]
    distribution = importlib.metadata.PathDistribution(directory)
    copy = directory.parent / "copy.txt"
    copy.write_text("\n".join(kept), encoding="utf-8")
    distribution.read_text = lambda name: copy.read_text(encoding="utf-8")
    return distribution.entry_points
