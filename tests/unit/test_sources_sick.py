"""Files and folders that are sick: what is wrong is told with place and fix, and nothing of it stays behind."""

import contextlib
import os
import sys

import pytest

from jackfield.config import PluginConfig
from jackfield.errors import PluginError
from jackfield.plugins import content
from jackfield.plugins.discovery import Catalogue
from jackfield.plugins.loading import load_bundle, purge

PRIVATE = "_jackfield_plugin_"


def private():
    return [name for name in sys.modules if name.startswith(PRIVATE)]


def refused(path, **options):
    """Load what must be refused; nothing of it may stay."""
    with pytest.raises(PluginError) as caught:
        load_bundle(PluginConfig("billing", str(path), **options), Catalogue())
    assert private() == []
    error = caught.value
    (fault,) = error.faults
    assert (fault.stage, fault.plugin, fault.reason, fault.fix) == (error.stage, "billing", error.reason, error.fix)
    assert PRIVATE not in str(error)
    assert error.fix
    return error


@pytest.mark.parametrize(
    ("code", "line", "reason", "fix"),
    [
        (b"x = 1\ndef f(:\n", 2, "SyntaxError: invalid syntax", "correct it, for Python 3."),
        (b"x = 1\ny = '\xff'\n", 2, "SyntaxError: ", "correct it"),
        (b"# -*- coding: klingon -*-\n", None, "SyntaxError: unknown encoding: klingon", "correct it"),
        (b"x = '\0'\n", None, "null byte", ""),
        (b"\n\n1 / 0\n", 3, "ZeroDivisionError: division by zero", "leave the plugin billing out"),
        (
            b"import no_such_thing.at_all\n",
            1,
            "ModuleNotFoundError",
            "the distribution that provides the module no_such_thing",
        ),
        (b"from . import sibling\n", 1, "ImportError", ""),
        (b"import billing.tax\n", 1, "No module named 'billing'", "inside a folder write `from . import"),
        (b"import sys\nsys.exit(3)\n", 2, "SystemExit: 3", "must not exit when it is imported"),
        (b"raise GeneratorExit\n", 1, "GeneratorExit", ""),
        (b"def f(): f()\nf()\n", 1, "RecursionError", ""),
        (b"from jackfield import function\nfunction(3)\n", 2, "TypeError: @function is for functions", ""),
        (b"class E(Exception):\n    def __str__(self): 1/0\nraise E\n", 3, "billing.E", ""),
        (b"x = " + b"(" * 500 + b")" * 500, None, "", ""),
        (b"raise ValueError('secret')\n", 1, "raised ValueError (", "`pluginctl check FILE.toml` shows what it says"),
    ],
)
def test_whatever_a_file_raises_is_told_with_its_line(tmp_path, code, line, reason, fix):
    """The exception's type under the author's names, the file and line, what to do; the original is the cause."""
    file = tmp_path / "billing.py"
    file.write_bytes(code)
    error = refused(file)
    assert error.stage == "import"
    assert error.reason.startswith("importing billing raised ")
    assert reason in error.reason
    assert fix in error.fix
    assert error.__cause__ is not None
    assert "secret" not in str(error)
    if line is not None:
        assert error.reason.endswith(f"({file}:{line})")


def test_a_failure_in_a_submodule_takes_everything_with_it(tmp_path):
    """Submodules that were imported well go too, and the line is the submodule's."""
    folder = tmp_path / "billing"
    folder.mkdir()
    (folder / "__init__.py").write_text("from . import good, bad\n")
    (folder / "good.py").write_text("x = 1\n")
    (folder / "bad.py").write_text("\nfrom .good import y\n")
    error = refused(folder)
    assert f"({folder}/bad.py:2)" in error.reason
    assert "'billing.good'" in error.reason


def test_a_missing_submodule_is_told_under_the_authors_name(tmp_path):
    """And no other finder is asked, which could find a file that came later."""
    folder = tmp_path / "billing"
    folder.mkdir()
    (folder / "__init__.py").write_text("import importlib\nimportlib.import_module('.tax', __name__)\n")
    error = refused(folder)
    assert "ModuleNotFoundError: No module named 'billing.tax'" in error.reason
    assert error.fix == "create it, or correct the import in billing"


def test_a_compiled_module_is_refused(tmp_path):
    """It could be neither unloaded nor loaded a second time."""
    folder = tmp_path / "billing"
    folder.mkdir()
    (folder / "__init__.py").write_text("from ._fast import f\n")
    (folder / "_fast.so").write_bytes(b"\x7fELF")
    assert "billing._fast is a compiled module" in refused(folder).reason


def test_an_interrupt_passes_and_leaves_nothing(tmp_path):
    """Ctrl-C is for whoever runs the host."""
    file = tmp_path / "billing.py"
    file.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_bundle(PluginConfig("billing", str(file)), Catalogue())
    assert private() == []


def test_what_is_not_there_or_not_what_it_should_be_is_refused(tmp_path):
    """Missing, a folder for a file, a file for a folder, a pipe, a link to nowhere, a NUL, no package."""
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    (tmp_path / "empty").mkdir()
    for path, reason in (
        ("none.py", "No such file or directory"),
        ("none/", "No such file or directory"),
        ("folder.py", "is not a regular file"),
        ("./file", "is not a folder"),
        ("loop.py", "cannot be read"),
        ("a\0b.py", "cannot be read"),
        ("./empty", "is no package: it has no __init__.py"),
    ):
        error = refused(f"{tmp_path}/{path}")
        assert error.stage == "source"
        assert reason in error.reason
    assert "is not the path of a plugin" in refused("no such path").reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    """As the plugin it is refused; among a folder's files it does not count."""
    os.mkfifo(tmp_path / "pipe.py")
    assert "is not a regular file" in refused(tmp_path / "pipe.py").reason
    (tmp_path / "billing").mkdir()
    os.mkfifo(tmp_path / "billing/pipe")
    (tmp_path / "billing/__init__.py").write_text("")
    purge(load_bundle(PluginConfig("billing", f"{tmp_path}/billing"), Catalogue()))


def test_a_link_to_nowhere_in_a_folder_is_named(tmp_path):
    """The folder is not what its author thinks it is."""
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing/__init__.py").write_text("")
    (tmp_path / "billing/data").symlink_to(tmp_path / "nowhere")
    error = refused(tmp_path / "billing")
    assert f"{tmp_path}/billing/data cannot be read" in error.reason
    assert error.fix == "remove it, or make it readable"


@contextlib.contextmanager
def ordinary_user():
    """For root nothing is unreadable."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs permissions")
@pytest.mark.parametrize("path", ["billing.py", "billing/__init__.py", "billing/sub/x.py"])
def test_what_may_not_be_read_is_named_with_the_way_out(tmp_path, path):
    """A file, the package's own, one deep below."""
    for file in ("billing.py", "billing/__init__.py", "billing/sub/x.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    (tmp_path / path).chmod(0)
    with ordinary_user():
        error = refused(tmp_path / path.partition("/")[0])
    assert "Permission denied" in error.reason
    assert error.fix == "make it readable for the user that runs the host"


def test_what_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    """A file of terabytes, a folder of too many files."""
    with (tmp_path / "billing.py").open("wb") as stream:
        stream.truncate(content.SIZE_LIMIT + 1)
    assert "67,108,865 bytes, 67,108,864 are allowed" in refused(tmp_path / "billing.py").reason
    monkeypatch.setattr(content, "FILES_LIMIT", 3)
    (tmp_path / "billing").mkdir()
    for number in range(4):
        (tmp_path / f"billing/{number}").write_text("")
    assert "more than 3 files" in refused(tmp_path / "billing").reason


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path):
    """What is executed is one state of the file, and the digest is of it."""
    file = tmp_path / "billing.py"
    file.write_text("x = 1\n")
    file_states = iter(["x = 22\n", "x = 333\n"])

    def pause():
        text = next(file_states, None)
        if text is not None:
            file.write_text(text)
        else:
            os.utime(file, (1, 1))

    found = content.read_content("billing", str(file), "file", pause)
    assert found.files == {"billing.py": b"x = 333\n"}


def test_a_folder_that_never_rests_is_refused(tmp_path):
    """Rather than loading halves of two versions."""
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing/__init__.py").write_text("")
    numbers = iter(range(100))
    with pytest.raises(PluginError, match="kept changing while it was read"):
        content.read_content(
            "billing",
            f"{tmp_path}/billing",
            "folder",
            lambda: (tmp_path / "billing/__init__.py").write_text(f"x = {next(numbers)}"),
        )


def test_a_file_removed_from_a_folder_while_it_is_read_is_no_harm(tmp_path, monkeypatch):
    """Listed, and gone when its turn comes: the next look does not list it."""
    folder = tmp_path / "billing"
    folder.mkdir()
    for name in ("__init__.py", "gone.txt"):
        (folder / name).write_text("")
        os.utime(folder / name, (1, 1))
    read = content._bytes

    def racing(path, size):
        (folder / "gone.txt").unlink(missing_ok=True)
        return read(path, size)

    monkeypatch.setattr(content, "_bytes", racing)
    assert list(content.read_content("billing", str(folder), "folder", lambda: None).files) == ["__init__.py"]


def test_a_faulty_function_is_left_out_alone(tmp_path):
    """Missing attributes, no callables, generators, bad names, missing modules; the good one is there."""
    file = tmp_path / "billing.py"
    file.write_text(
        "from jackfield import function, provides\n"
        "def good(): return 1\n"
        "def rows():\n    yield 1\n"
        "value = 3\n"
        "class Sly:\n    @property\n    def __signature__(self): raise KeyError('x')\n    def __call__(self, a): ...\n"
        "sly = Sly()\n"
        "def __getattr__(name):\n    if name == 'boom': raise SystemExit(3)\n    raise AttributeError(name)\n"
        "@provides\ndef nothing(): ...\n"
    )
    long = "x" * 10_000
    loaded = load_bundle(
        PluginConfig(
            "billing",
            str(file),
            functions={
                "good": "good",
                "gone": "goood",
                "rows": "rows",
                "value": "value",
                "sly": "sly",
                "boom": "boom",
                "no.module": "no_such_module:f",
                "bad name": "good",
                "longattr": long,
                long: "good",
            },
        ),
        Catalogue(),
    )
    try:
        assert {"good"} <= {spec.name for spec in loaded.functions} <= {"good", "sly"}
        told = {fault.entry[:20]: fault for fault in loaded.faults}
        assert told["gone"].reason == "billing has no attribute 'goood'"
        assert told["gone"].fix == "did you mean 'good'? correct it in the configuration"
        assert "generator" in told["rows"].reason
        assert "cannot be called" in told["value"].reason
        assert "SystemExit: 3" in told["boom"].reason
        assert told["no.module"].fix == "correct 'no_such_module' in the configuration, or install what provides it"
        assert told["bad name"].stage == "name"
        assert told["longattr"].stage == "attribute"
        assert "10,000 characters" in told["x" * 20].reason
        assert told["billing:nothing"].stage == "inject"
        assert all(len(str(fault)) < 1000 and PRIVATE not in str(fault) for fault in loaded.faults)
    finally:
        purge(loaded)


def test_marked_names_that_cannot_be_called_are_faults(tmp_path):
    """A name beyond ASCII, one too long, a method named like a function."""
    file = tmp_path / "billing.py"
    file.write_text(
        "from jackfield import function\n"
        "@function\ndef größe(): ...\n"
        "@function\ndef charge(): ...\n"
        f"@function\ndef {'x' * 300}(): ...\n"
        "class Billing:\n    @function\n    def charge(self): ...\n"
    )
    loaded = load_bundle(PluginConfig("billing", f"{file}:Billing"), Catalogue())
    try:
        assert [spec.name for spec in loaded.functions] == ["billing.charge"]
        assert loaded.methods == ()
        assert [fault.stage for fault in loaded.faults] == ["name", "name", "duplicate"]
    finally:
        purge(loaded)


def test_a_plugin_of_a_long_name_loads(tmp_path):
    """Only the beginning of it goes into the module's name."""
    file = tmp_path / "billing.py"
    file.write_text("def f(): return 1\n")
    loaded = load_bundle(PluginConfig("x" * 10_000, str(file), functions={"f": "f"}), Catalogue())
    try:
        assert loaded.functions[0].target() == 1
        assert len(loaded.root) < 80
    finally:
        purge(loaded)


def test_a_folder_that_imports_itself_by_a_public_name_is_told(tmp_path, monkeypatch):
    """That copy would stay old at a reload; the rest of the plugin serves."""
    folder = tmp_path / "twin_plugin"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from jackfield import function\n@function\ndef f():\n    return tax.x\n"
        "if __name__ != 'twin_plugin':\n    from twin_plugin import tax\n"
    )
    (folder / "tax.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loaded = load_bundle(PluginConfig("billing", str(folder)), Catalogue())
    try:
        assert loaded.functions[0].target() == 1
        assert {fault.entry for fault in loaded.faults} == {"twin_plugin", "twin_plugin.tax"}
        assert {fault.fix for fault in loaded.faults} == {"inside the folder write `from . import …`"}
    finally:
        purge(loaded)
        for name in ("twin_plugin", "twin_plugin.tax"):
            sys.modules.pop(name, None)
