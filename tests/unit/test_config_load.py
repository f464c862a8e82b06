"""A good configuration file: what `load_config` makes of it, and how the file itself is read."""

import os
import pickle
from pathlib import Path

import attrs
import pytest

from jackfield.config import (
    LogsConfig,
    MetricsConfig,
    PluginConfig,
    RouteConfig,
    Source,
    TenantConfig,
    load_config,
    parse_config,
)
from jackfield.config.load import KIND, SIZE_LIMIT
from jackfield.errors import ConfigError
from jackfield.model.grants import Resources

EVERYTHING = """
discover = true
timeout = 2
strict = true
lazy = true

[[plugin]]
name = "billing"
path = "billing.app:Billing"
depends_on = ["audit"]
auto_start = false
version = "1.4.0"
executor = "thread"
timeout = 0.5
restart = "on-failure"
restart_limit = 3
restart_backoff = 0.1
start_timeout = 5
stop_timeout = 2.5
[plugin.functions]
"billing.charge" = "charge"
[plugin.options]
currency = "EUR"
limits = { daily = [1, 2, 3] }

[[plugin]]
name = "audit"
path = "./plugins/audit.py"

[routes]
"text.upper" = "2.0.0"
[routes."text.slugify"]
default = "1.0.0"
shares = { "1.1.0" = 0.2 }
tenants = { t-1 = "1.1.0" }

[tenants.t-1]
versions = true
weight = 2
labels = { tier = "gold" }
permissions = ["text.*"]
[tenants.t-2]

[observability]
traces = false
[observability.logs]
stream = "stdout"
format = "json"
successes = false
messages = false
[observability.metrics]
port = 9464
"""


def _folder(tmp_path: Path, text: str = EVERYTHING) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "audit.py").touch()
    file = tmp_path / "jackfield.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_key_arrives_typed(tmp_path):
    """What the file says is what the model holds, whole numbers of seconds as floats."""
    file = _folder(tmp_path)
    config = load_config(file)
    assert config.plugins["billing"] == PluginConfig(
        name="billing",
        path="billing.app:Billing",
        depends_on=("audit",),
        auto_start=False,
        version="1.4.0",
        executor="thread",
        timeout=0.5,
        functions={"billing.charge": "charge"},
        options={"currency": "EUR", "limits": {"daily": [1, 2, 3]}},
        restart="on-failure",
        restart_limit=3,
        restart_backoff=0.1,
        start_timeout=5.0,
        stop_timeout=2.5,
    )
    assert list(config.plugins) == ["billing", "audit"]
    assert config.plugins["audit"] == PluginConfig(name="audit", path=str(tmp_path / "plugins" / "audit.py"))
    assert config.plugins["audit"].auto_start
    assert (config.discover, config.timeout, config.strict, config.lazy) == (True, 2.0, True, True)
    assert type(config.timeout) is float
    assert config.routes == {
        "text.upper": RouteConfig(default="2.0.0"),
        "text.slugify": RouteConfig(default="1.0.0", shares={"1.1.0": 0.2}, tenants={"t-1": "1.1.0"}),
    }
    assert config.tenants == {
        "t-1": TenantConfig(versions=True, weight=2.0, labels={"tier": "gold"}, permissions=("text.*",)),
        "t-2": TenantConfig(),
    }
    assert not config.observability.traces
    assert config.observability.logs == LogsConfig(stream="stdout", format="json", successes=False, messages=False)
    assert config.observability.metrics == MetricsConfig(port=9464)
    assert config.lines == {"billing": 7, "audit": 26}
    assert config.file == file


def test_a_configuration_cannot_be_changed(tmp_path):
    """The values are frozen and the mappings read-only."""
    config = load_config(_folder(tmp_path))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.strict = False
    with pytest.raises(TypeError):
        config.plugins["x"] = config.plugins["billing"]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.plugins["billing"].timeout = 1.0


def test_a_plugin_survives_pickling(tmp_path):
    """A plugin's part of the configuration can travel to another process."""
    plugin = load_config(_folder(tmp_path)).plugins["billing"]
    assert pickle.loads(pickle.dumps(plugin)) == plugin  # noqa: S301  # our own bytes


def test_relative_paths_are_relative_to_the_file_and_not_to_the_working_directory(tmp_path, monkeypatch):
    """A plugin's file is found wherever the process was started."""
    file = _folder(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load_config(os.path.relpath(file))
    source = config.plugins["audit"].source
    assert source.kind == "file"
    assert Path(source.target).samefile(tmp_path / "plugins" / "audit.py")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pkg", Source("name", "pkg")),
        ("pkg.mod", Source("name", "pkg.mod")),
        ("pkg.mod:Object", Source("module", "pkg.mod", "Object")),
        ("pkg:Outer.Inner", Source("module", "pkg", "Outer.Inner")),
        ("my-distribution", Source("distribution", "my-distribution")),
        ("./x.py", Source("file", "./x.py")),
        ("x.py", Source("file", "x.py")),
        ("./x.py:Plugin", Source("file", "./x.py", "Plugin")),
        ("C:\\plugins\\x.py", Source("file", "C:\\plugins\\x.py")),
        ("./folder", Source("folder", "./folder")),
        (".", Source("folder", ".")),
        ("./folder:Plugin", Source("folder", "./folder", "Plugin")),
        ("a b", None),
        (":x", None),
        ("x:", None),
        ("a-b:c", None),
        ("x:y:z", None),
        ("-x", None),
        ("\0", None),
    ],
)
def test_the_spelling_of_a_path_tells_its_kind(path, source):
    """Files, folders, modules, objects and distributions are told apart without importing anything."""
    assert Source.parse(path) == source


def test_a_folder_and_an_object_in_a_file_are_paths_too(tmp_path):
    """The object survives making the path absolute."""
    text = """
    plugin = [
        { name = "a", path = "plugins" },
        { name = "b", path = "./plugins" },
        { name = "c", path = "plugins/audit.py:Audit" },
    ]
    """
    file = _folder(tmp_path, text)
    plugins = load_config(file).plugins
    assert plugins["a"].source == Source("name", "plugins")
    assert plugins["b"].source == Source("folder", str(tmp_path / "plugins"))
    assert plugins["c"].source == Source("file", str(tmp_path / "plugins" / "audit.py"), "Audit")


def test_order_gives_levels_sorted_by_name():
    """Each plugin's dependencies are in earlier levels, and a level's order does not depend on the file's."""
    config = _parse("".join(_plugin(name, needs) for name, needs in [
        ("web", ["cache", "auth"]), ("cache", ["log"]), ("auth", ["log"]), ("zeta", []), ("log", []),
    ]))  # fmt: skip
    assert config.order() == (("log", "zeta"), ("auth", "cache"), ("web",))
    assert _parse("discover = true").order() == ()


def test_versions_may_be_picked_by_all_until_tenants_are_configured():
    """Without `[tenants]` everybody may send x-version; with it, those with `versions = true` alone."""
    free = _parse("discover = true")
    assert free.tenants is None
    assert free.may_pick_version(None)
    assert free.may_pick_version("anybody")
    strict = _parse("[tenants.beta]\nversions = true\n[tenants.plain]\n")
    assert [strict.may_pick_version(tenant) for tenant in ("beta", "plain", "unknown", None)] == [
        True,
        False,
        False,
        False,
    ]
    assert not _parse("[tenants]").may_pick_version("anybody")


def test_executors_are_those_of_the_host():
    """The host says which executors there are."""
    text = _plugin("a") + 'executor = "gpu"\n'
    assert parse_config(text.encode(), Path("j.toml"), executors=("gpu",)).plugins["a"].executor == "gpu"
    with pytest.raises(ConfigError, match="unknown executor 'gpu' → known here: inline, ray, thread, worker"):
        _parse(text)


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    """What editors on Windows write is a configuration too, lines counted alike."""
    config = parse_config(b"\xef\xbb\xbf" + _plugin("a").replace("\n", "\r\n").encode(), Path("j.toml"))
    assert config.lines == {"a": 1}


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", None, "it declares nothing"),
        (b"# nothing\n\n", None, "it declares nothing"),
        (b"strict = true\nname = '\xff'\n", 2, "not UTF-8"),
        (b"strict = true\nlazy =\n", 2, "not valid TOML: Invalid value (column 7)"),
        (b"strict = true\nstrict = true\n", 2, "not valid TOML"),
        (b"discover = true\n[[plugin]\nname = 1", 2, "not valid TOML"),
        (b"x = [\n1,\n2", 3, "not valid TOML: Unclosed array"),
        (b"x = " + b"9" * 5000, None, "not valid TOML"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, None, "nested more than 64 levels deep"),
        (b"x = " + b"[" * 80 + b"]" * 80, None, "nested more than 64 levels deep"),
        (b".".join([b"x"] * 80) + b" = 1", None, "nested more than 64 levels deep"),
        (b"#" * (SIZE_LIMIT + 1), None, "larger than 1,048,576 bytes"),
        (b"strict = true\n\0", 2, "not valid TOML"),
    ],
)
def test_what_is_no_toml_document_is_refused_with_its_line(data, line, reason):
    """The file, the line and what to do are in the one error."""
    with pytest.raises(ConfigError) as caught:
        parse_config(data, Path("jackfield.toml"))
    error = caught.value
    assert (error.file, error.line) == ("jackfield.toml", line)
    assert reason in str(error)
    assert "→" in str(error)
    (fault,) = error.faults
    assert fault.stage == "config"
    assert fault.fix


def _no_file(tmp_path: Path) -> Path:
    return tmp_path / "missing.toml"


def _nul_in_name(tmp_path: Path) -> Path:
    return tmp_path / "a\0b.toml"


def _large_file(tmp_path: Path) -> Path:
    file = tmp_path / "large.toml"
    with file.open("wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    return file


def _pipe(tmp_path: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.toml")
    return tmp_path / "pipe.toml"


def _unreadable(tmp_path: Path) -> Path:
    file = tmp_path / "secret.toml"
    file.touch(mode=0o000)
    if os.access(file, os.R_OK):
        pytest.skip("this user can read every file")
    return file


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_no_file, "cannot be read: No such file or directory"),
        (_nul_in_name, "cannot be read: .*embedded null"),
        (lambda tmp_path: tmp_path, "it is a folder"),
        (_large_file, r"it has 104,857,600 bytes, 1,048,576 are allowed"),
        (_pipe, "it is not a regular file"),
        (_unreadable, "cannot be read: Permission denied"),
    ],
)
def test_a_file_that_cannot_be_a_configuration_is_refused(tmp_path, make, reason):
    """A missing, unreadable, huge or irregular file is named with what is wrong, and never waited for."""
    file = make(tmp_path)
    with pytest.raises(ConfigError, match=reason) as caught:
        load_config(file)
    assert caught.value.file == str(file)
    assert caught.value.faults[0].fix


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path):
    """What is returned is the content after the last change, never a part of it."""
    file = tmp_path / "jackfield.toml"
    file.write_text("strict = false")
    changes = iter(["strict = true # 1", "strict = true # 2"])

    def meanwhile() -> None:
        text = next(changes, None)
        if text is not None:
            file.write_text(text)
        else:
            os.utime(file, (0, 0))  # long settled

    assert KIND.read(file, meanwhile) == b"strict = true # 2"


def test_a_file_that_never_stops_changing_is_refused(tmp_path):
    """The error says so and how to write a configuration in one step."""
    file = tmp_path / "jackfield.toml"
    file.write_text("strict = false")
    with pytest.raises(ConfigError, match=r"kept changing while it was read .* rename that into its place"):
        KIND.read(file, file.touch)


def test_a_file_that_was_just_written_is_read(tmp_path):
    """A young file is waited for until its time can be trusted, and then read."""
    file = tmp_path / "jackfield.toml"
    file.write_text("strict = true")
    assert load_config(file).strict


def _plugin(name: str, needs: list[str] | None = None) -> str:
    return f'[[plugin]]\nname = "{name}"\npath = "pkg"\ndepends_on = {needs or []}\n'


def _parse(text: str):
    return parse_config(text.encode(), Path("jackfield.toml"))


def test_workers_and_environments_are_read(tmp_path):
    """Every key of the two tables; quantities come out as numbers, folders absolute."""
    (tmp_path / "wheels").mkdir()
    text = """
[environments]
find_links = ["wheels", "https://example.com/simple"]
offline = true
build = true
size = "1GiB"

[[plugin]]
name = "ocr"
path = "demo-ocr"
executor = "worker"
[plugin.worker]
allow = ["network:outbound:api.example.com:443", "storage:readonly:/data", "calls:text.*", "all"]
with = ["my-providers==1.0"]
min = 1
max = 4
idle = 5
calls = 0
cpu = "500m"
memory = "512Mi"
pids = 8
open_files = 64
tier = "namespaces"
enforce = true
share = true
per_tenant = true
"""
    config = parse_config(text.encode(), tmp_path / "jackfield.toml")
    worker = config.plugins["ocr"].worker
    assert worker.with_ == ("my-providers==1.0",)
    assert (worker.min, worker.max, worker.idle, worker.calls, worker.tier) == (1, 4, 5.0, 0, "namespaces")
    assert (worker.enforce, worker.share, worker.per_tenant) == (True, True, True)
    assert worker.resources == Resources(0.5, 512 << 20, 8, 64)
    environments = config.environments
    assert environments.find_links == (str(tmp_path / "wheels"), "https://example.com/simple")
    assert (environments.offline, environments.build, environments.size_in_bytes) == (True, True, 1 << 30)


def test_without_the_tables_there_are_defaults():
    """A plugin that does not run apart has no such table; the cache has a bound all the same."""
    config = parse_config(b'[[plugin]]\nname = "a"\npath = "b"\n', Path("jackfield.toml"))
    assert config.plugins["a"].worker is None
    assert config.environments.size_in_bytes == 4 << 30
