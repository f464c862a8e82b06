"""Data as people have it comes in by every way, and results go out as JSON: in process, a project, a running host."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from jackfield import Host, JackfieldError, PluginError, to_json
from jackfield.control import ControlClient
from jackfield.wire.documents import from_json

MODULE = """
    from __future__ import annotations

    import collections, datetime, decimal, functools, math, zlib
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from fractions import Fraction
        from nowhere import Gone
        from uuid import UUID

    def numbers(it: dict[int, str]): return it
    def flags(it: dict[bool, int]): return it
    def several(ids: dict[int, dict[float, bool]], times: int = 1): return ids
    def queue(it: collections.deque[int]): return [type(it).__name__, it]
    def totals(it: collections.defaultdict[str, list[int]]):
        it["new"].append(1)
        return it
    def ordered(it: collections.OrderedDict[str, int]): return it
    def counted(it: collections.Counter[str]): return it.most_common(1)
    def raw(data): return len(data), data
    def typed(data: bytes): return data
    def checked(it: UUID): return it
    def lax(it: Gone): return it
    def single(n: int): return n + 1
    def scale(n: int, by: int): return n * by
    double = functools.partial(scale, by=2)

    class Adder:
        def __init__(self, to): self.to = to
        def __call__(self, n: int) -> int: return n + self.to

    add_five = Adder(5)
    hypot = math.hypot
    crc = zlib.crc32

    class Shop:
        def sell(self, n: int): return n

    sell = Shop.sell
    sell_here = Shop().sell

    def odd(n: int): return {"fine": n, "list": [1, object, 2]}
    def results(): return {1: decimal.Decimal("1.5"), "at": datetime.date(2024, 1, 1), "raw": b"hi", "nan": math.nan,
                           "set": {1}, "q": collections.deque([1]), "bad name": "\\udc80"}
"""

REFUSED = object()

CASES = [
    ("numbers", '{"1": "a", "-2": "b"}', {"1": "a", "-2": "b"}),
    ("numbers", '{"1.0": "a"}', REFUSED),
    ("numbers", '{"01": "a"}', REFUSED),
    ("flags", '{"true": 1, "false": 0}', {"true": 1, "false": 0}),
    ("flags", '{"True": 1}', REFUSED),
    ("several", '{"ids": {"7": {"1.5": true}}}', {"7": {"1.5": True}}),
    ("queue", "[1, 2]", ["deque", [1, 2]]),
    ("queue", '["x"]', REFUSED),
    ("totals", '{"a": [1]}', {"a": [1], "new": [1]}),
    ("ordered", '{"b": 1, "a": 2}', {"b": 1, "a": 2}),
    ("counted", '{"b": 1, "a": 2}', [["a", 2]]),
    ("raw", '{"$bytes": "aGk="}', [2, "aGk="]),
    ("raw", '"aGk="', [4, "aGk="]),
    ("typed", '"aGk="', "aGk="),
    ("typed", '{"$bytes": "aGk="}', "aGk="),
    ("crc", '{"data": {"$bytes": "aGk="}}', 3633523372),
    ("checked", '"00000000-0000-0000-0000-000000000001"', "00000000-0000-0000-0000-000000000001"),
    ("checked", '"x"', REFUSED),
    ("lax", '"x"', "x"),
    ("single", "1", 2),
    ("single", '{"n": 1}', REFUSED),
    ("double", "4", 8),
    ("add_five", "4", 9),
    ("hypot", "[3, 4]", 5.0),
    ("hypot", "3", REFUSED),
    ("sell_here", "3", 3),
    ("results", "null", {"1": "1.5", "at": "2024-01-01", "raw": "aGk=", "nan": None, "set": [1], "q": [1],
                         "bad name": "\udc80"}),
]  # fmt: skip
NAMES = [*dict.fromkeys(name for name, _, _ in CASES), "odd"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A plugin, installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "datatest_functions.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    info = site / "datatest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: datatest\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"datatest.{name} = datatest_functions:{name}" for name in NAMES]
    (info / "entry_points.txt").write_text("\n".join(["[jackfield.functions]", *lines]), encoding="utf-8")
    return site


@pytest.fixture(scope="module")
def env(site, tmp_path_factory):
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "JACKFIELD_LOAD_PLUGINS": "datatest",
        "NO_COLOR": "1",
    }


@pytest.fixture(scope="module")
def host(site):
    """A host in this process, with the same functions."""
    found = importlib.util.spec_from_file_location("datatest_here", site / "datatest_functions.py")
    module = sys.modules["datatest_here"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with Host(observers=()) as host:
        for name in NAMES:
            host.register(f"datatest.{name}", getattr(module, name))
        yield host
    del sys.modules["datatest_here"]


@pytest.fixture(scope="module")
def control(site, env, tmp_path_factory):
    """The control socket of a host in another process."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "jackfield.toml").write_text('[[plugin]]\nname = "datatest"\npath = "datatest"\n', encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="jf-") as short:
        path = Path(short) / "c.sock"
        command = [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", "--control", str(path)]
        with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
            said = []
            for line in process.stderr:
                said.append(line)
                if line.startswith("serving "):
                    break
            else:
                pytest.fail(f"it does not serve: {said}")
            yield path
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def agrees(wanted, ask):
    """Hold what a way gives against the table."""
    if wanted is REFUSED:
        with pytest.raises(JackfieldError) as caught:
            ask()
        assert caught.value.outcome.value == "invalid_payload"
        return
    assert ask() == wanted


@pytest.mark.parametrize(("name", "document", "wanted"), CASES)
def test_in_process(host, name, document, wanted):
    """As a host's caller passes it: what `json.loads` gives, and bytes as they are."""
    agrees(wanted, lambda: json.loads(to_json(host.call(f"datatest.{name}", from_json(document)))))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "document", "wanted"), CASES)
def test_over_the_control_socket_as_a_document(control, name, document, wanted):
    """As `pluginctl call --running` sends it."""

    def ask():
        result, missed = ControlClient(control).request(
            "console_call", name=f"datatest.{name}", typed={}, document=document.encode()
        )
        assert missed == []
        return json.loads(result)

    agrees(wanted, ask)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "document", "wanted"), CASES)
def test_over_the_control_socket_as_plain_data(control, name, document, wanted):
    """As a program sends it, in MessagePack: bytes stay bytes, numbers keys and NaN what they are."""

    def ask():
        return json.loads(
            to_json(ControlClient(control).request("call", name=f"datatest.{name}", payload=from_json(document)))
        )

    agrees({**wanted, "bad name": "\\udc80"} if name == "results" else wanted, ask)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "document", "wanted"),
    [case for case in CASES if case[0] in {"numbers", "totals", "crc", "checked", "double", "hypot", "results"}],
)
def test_from_a_project(env, name, document, wanted):
    """As `pluginctl call` does it in a process of its own."""
    done = call(env, f"datatest.{name}", "--json", document)
    if wanted is REFUSED:
        assert done.returncode == 1
        assert done.stderr.startswith("error: invalid_payload:")
    else:
        assert (done.returncode, json.loads(done.stdout)) == (0, wanted)


def call(env, *arguments, code=None, **options):
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "call", *arguments],
        env=env, capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip
    assert code in (None, done.returncode), done.stderr
    return done


@pytest.mark.slow
def test_what_could_not_be_shown_is_told_by_the_exit_code(env, control, tmp_path):
    """One part of a result as text, the rest as itself, a line that says where, and 1."""
    wanted = {"fine": 1, "list": [1, "<class 'object'>", 2]}
    for way in ([], ["--running", "--control", str(control)]):
        done = call(env, "datatest.odd", "n=1", *way, code=1)
        assert json.loads(done.stdout) == wanted
        assert done.stderr == "not JSON: datatest.odd: $.list[1]: type has no form in plain data: shown as text\n"
    (tmp_path / "lines").write_text("1\n2\n", encoding="utf-8")
    done = call(env, "datatest.odd", "--lines", str(tmp_path / "lines"), code=1)
    assert [json.loads(line)["fine"] for line in done.stdout.splitlines()] == [1, 2]
    assert "line 2: not JSON: $.list[1]: type has no form in plain data: shown as text" in done.stderr
    assert "2 calls: 2 ok, none failed, 2 ok with parts that are no JSON" in done.stderr


def test_the_error_of_a_single_parameter_says_to_pass_the_value(host):
    """It is how functions of several parameters are called."""
    with pytest.raises(JackfieldError, match=r"expected int, got dict with the key 'n': pass the value itself$"):
        host.call("datatest.single", {"n": 1})


def test_a_method_without_its_object_is_refused(tmp_path):
    """By the class, with what to do; a class as a namespace of functions is none of that."""
    (tmp_path / "shop.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    functions = '"shop.sell" = "sell"\n"shop.ok" = "double"\n'
    config = f'[[plugin]]\nname = "shop"\npath = "./shop.py"\n[plugin.functions]\n{functions}'
    (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.call("shop.ok", 2) == 4
        (fault,) = host.faults
    assert fault.reason == "it is a method of Shop, and there is no object to call it on"
    assert "`sell = Shop(…).sell`" in fault.fix


@pytest.mark.parametrize("name", ["double", "single", "hypot"])
def test_a_function_is_no_plugin_object(tmp_path, name):
    """Nor a partial: nothing of it would ever be called."""
    (tmp_path / "shop.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    config = f'strict = true\n[[plugin]]\nname = "shop"\npath = "./shop.py:{name}"\n'
    (tmp_path / "jackfield.toml").write_text(config, encoding="utf-8")
    with pytest.raises(PluginError, match=r"which has no start, stop or health") as caught:
        Host.from_config(tmp_path / "jackfield.toml", observers=())
    assert "name a class" in caught.value.fix


def test_an_object_that_can_be_called_is_a_plugin_object(tmp_path):
    """It may have a life, and functions, and be one."""
    code = """
        class Greeter:
            started = False
            def start(self): self.started = True
            def __call__(self, name: str): return f"hello {name}" if self.started else "asleep"
            def bye(self, name: str): return f"bye {name}"
        greeter = Greeter()
    """
    (tmp_path / "greeter.py").write_text(textwrap.dedent(code), encoding="utf-8")
    config = """
        [[plugin]]
        name = "greeter"
        path = "./greeter.py:greeter"
        [plugin.functions]
        "greeter.bye" = "bye"
        "greeter.hello" = "__call__"
    """
    (tmp_path / "jackfield.toml").write_text(textwrap.dedent(config), encoding="utf-8")
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        assert host.faults == ()
        assert host.call("greeter.bye", "Ada") == "bye Ada"
        assert host.call("greeter.hello", "Ada") == "hello Ada"
