"""Over trees of metadata in every layout there has been, the scan and `importlib.metadata` find the same."""

import importlib.metadata
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.plugins.discovery import scan
from jackfield.plugins.discovery.entries import GROUPS, canonical

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,4}([-_.][a-z0-9]{1,4}){0,3}", fullmatch=True)
VERSIONS = st.sampled_from(["1", "1.0", "2.0.1", "1.0rc1", "1!2.0", "3.0+local.1", "0.0.0.dev1"])
ATTRIBUTES = st.sampled_from(["mod:f", "pkg.mod:Class.method", "pkg.mod : f", "mod:f [extra]"])
EQUALS = st.sampled_from(["=", " = ", "= "])
NOISE = st.sampled_from(
    ["", "# a comment", "   ", "\t", "[console_scripts]\ntool = nowhere:main", "[other.group]\na = b:c"]
)
# What the directory is called, before its suffix; {escaped} is what installers make of a name.
STEMS = {
    ".dist-info": ["{escaped}-{version}", "{escaped}", "{name}-{version}"],
    ".DIST-INFO": ["{escaped}-{version}"],
    ".Dist-Info": ["{escaped}-{version}"],
    ".egg-info": ["{escaped}-{version}-py3.11", "{escaped}-{version}", "{escaped}", "{name}", "{name}-{version}"],
    ".EGG-INFO": ["{escaped}-{version}"],
}


@st.composite
def distributions(draw):
    """One distribution: the name of its directory, and its files."""
    name, version = draw(NAMES), draw(VERSIONS)
    suffix = draw(st.sampled_from(list(STEMS)))
    escaped = name.replace("-", "_")
    stem = draw(st.sampled_from(STEMS[suffix])).format(name=name, escaped=escaped, version=version)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    author = draw(st.sampled_from(["", "Author: Grüße aus Köln\n", "Summary: one\n\ttwo\n"]))
    headers = f"Metadata-Version: 2.1\n{author}Name: {name}\nVersion: {version}\n\nName: another\n"
    files = {"METADATA" if "dist" in suffix.lower() else draw(st.sampled_from(["PKG-INFO", "METADATA"])): headers}
    if draw(st.booleans()):
        files.setdefault("PKG-INFO", "Name: a-lesser-source\nVersion: 0\n\n")
    lines = []
    if draw(st.integers(0, 4)):
        for number in range(draw(st.integers(1, 3))):
            lines += [draw(NOISE), f"[{draw(st.sampled_from(GROUPS))}]", draw(NOISE).partition("[")[0]]
            lines.append(f"{canonical(name).replace('-', '_')}.n{number}{draw(EQUALS)}{draw(ATTRIBUTES)}")
        files["entry_points.txt"] = "\n".join(lines) + "\n"
    return canonical(name), f"{stem}{suffix}", {file: text.replace("\n", newline) for file, text in files.items()}


def write(place, trees, zipped):
    if zipped:
        with zipfile.ZipFile(place, "w") as archive:
            for _, folder, files in trees:
                for file, text in files.items():
                    archive.writestr(f"{folder}/{file}", text.encode())
        return
    for _, folder, files in trees:
        (place / folder).mkdir(parents=True)
        for file, text in files.items():
            (place / folder / file).write_bytes(text.encode())


@settings(max_examples=150)
@given(
    trees=st.lists(distributions(), min_size=1, max_size=5, unique_by=(lambda one: one[0], lambda one: one[1].lower())),
    zipped=st.booleans(),
)
def test_the_scan_and_importlib_metadata_find_the_same(trees, zipped):
    """Names, versions and entry points, in directories and in archives."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / ("bundle.whl" if zipped else "site")
        if not zipped:
            place.mkdir()
        write(place, trees, zipped)
        wanted = {
            (canonical(found.metadata["Name"]), found.version, entry.group, entry.name, entry.value)
            for found in importlib.metadata.distributions(path=[str(place)])
            for entry in found.entry_points
            if entry.group in GROUPS
        }
        catalogue = scan([str(place)], cache=False)
        assert not catalogue.faults
        assert not catalogue.shadowed
        assert {(o.distribution, o.version, o.group, o.name, o.value) for o in catalogue.candidates} == wanted
