"""What holds for every folder that is sealed, and for every variable of a host."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.environments.cache import delete
from jackfield.environments.installers import Pin, parse_lock, surroundings
from jackfield.environments.seal import differs, seal

NAMES = st.from_regex(r"[a-zA-Z0-9_\u00e4-\u00fc]{1,8}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(
    lambda parts: "/".join([*(f"d{part}" for part in parts[:-1]), parts[-1]])
)
TREES = st.dictionaries(PATHS, st.binary(max_size=20), min_size=1, max_size=6)


class Folder:
    """A folder with files, for one example."""

    def __init__(self, tree):
        self.path = Path(tempfile.mkdtemp())
        for name, content in tree.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.is_dir():
                file.write_bytes(content)
        self.files, self.stamps = seal(self.path, "demo")

    def __enter__(self):
        for parent, _, _ in os.walk(self.path):
            Path(parent).chmod(0o700)
        return self

    def __exit__(self, *_):
        delete(self.path)


@settings(max_examples=50)
@given(TREES)
def test_what_nobody_changed_does_not_differ(tree):
    """Neither as it is, nor as a copy, whose stamps are then those that are noted."""
    with Folder(tree) as folder:
        assert differs(folder.path, folder.files, folder.stamps) is None
        copy = Path(shutil.copytree(folder.path, f"{folder.path}-copy"))
        assert differs(copy, folder.files, folder.stamps) is None
        noted = dict(folder.stamps)
        assert differs(copy, folder.files, folder.stamps) is None
        assert folder.stamps == noted
        delete(copy)


@settings(max_examples=100)
@given(TREES, st.data())
def test_whatever_is_changed_is_named(tree, data):
    """Content, even of the same size and with the times of before; files that are missing, or too many; links."""
    with Folder(tree) as folder:
        name = data.draw(st.sampled_from(sorted(folder.files)))
        file = folder.path / name
        kind = data.draw(st.sampled_from(["content", "missing", "more", "link"]))
        if kind == "content":
            status, content = file.stat(), file.read_bytes()
            changed = data.draw(
                st.binary(min_size=len(content), max_size=len(content) + 1).filter(lambda it: it != content)
            )
            file.chmod(0o600)
            file.write_bytes(changed)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif kind == "missing":
            file.unlink()
        elif kind == "more":
            name += ".more"
            (folder.path / name).touch()
        else:
            file.rename(file.with_name(f"{file.name}.real"))
            file.symlink_to(f"{file.name}.real")
        wrong = differs(folder.path, folder.files, folder.stamps)
        assert wrong is not None
        assert wrong.startswith(name)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_an_installer_sees_no_variable_of_the_host_s_own(environ):
    """Whatever it is called: only names that uv, pip and the libraries below them know go through."""
    seen = surroundings(
        {**environ, "DATABASE_URL": "secret", "PYTHONPATH": "here", "PIP_TARGET": "there", "UV_LINK_MODE": "hardlink"}
    )
    assert "secret" not in seen.values()
    assert not {"PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "PIP_TARGET", "UV_LINK_MODE"} & set(seen)


HASHES = st.sets(st.integers(0, 2**256 - 1).map("sha256:{:064x}".format), min_size=1, max_size=3).map(sorted).map(tuple)
PINS = st.builds(
    Pin,
    st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True),
    st.sampled_from(["1.0", "2.0.post1", "1!3+local"]),
    st.just(""),
    HASHES,
)


@given(st.lists(PINS, unique_by=lambda pin: pin.name))
def test_a_lock_is_read_as_it_is_written(pins):
    """In uv's way of breaking lines, too, and in whatever order."""
    text = "".join(f"{pin.line}\n" for pin in pins)
    assert list(parse_lock(text)) == sorted(pins, key=lambda pin: pin.name)
    assert parse_lock(text.replace(" --hash", " \\\n    --hash")) == parse_lock(text)
