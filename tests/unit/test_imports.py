"""What importing jackfield must not import: start-up is paid by every process, also by those that never need it."""

import json
import os
import subprocess
import sys

import pytest

OBSERVERS = {"prometheus_client", "opentelemetry", "http.server"}
CONFIGURATION = {"cattrs", "tomllib", "jackfield.config"}
COMMAND_LINE = {"typer", "rich", "click", "jackfield.cli"}
OTHERS = {"loguru", "packaging", "importlib_metadata", "importlib.metadata", "hypothesis", "pydantic", "zoneinfo"}
if sys.platform == "linux":
    OTHERS.add("platformdirs")
PLUGINS = {
    "jackfield.rollout",
    "jackfield.injection.drawing",
    "jackfield.plugins.loading.importer",
    "jackfield.plugins.discovery",
    "jackfield.plugins.state",
    "jackfield.store.identity",
}
FUNCTIONS = {"jackfield.contract.shapes", "jackfield.contract.payload", "jackfield.injection.diagnosis", "difflib"}
FILES = {"pathlib", "urllib.parse", "hashlib"}
if sys.version_info >= (3, 15):  # there `traceback` imports it, and so does whatever imports `logging`
    FILES.remove("pathlib")
UNUSED = OBSERVERS | CONFIGURATION | COMMAND_LINE | OTHERS | PLUGINS | FUNCTIONS | FILES

_REPORT = "; import sys, json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def imported(code, tmp_path):
    """The modules of a fresh process after some code."""
    done = subprocess.run(
        [sys.executable, "-c", code + _REPORT],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def verb(*arguments):
    return (
        f"import runpy, sys; sys.argv = ['pluginctl', *{arguments!r}]\n"
        "try: runpy.run_module('jackfield', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "0"
    )


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("from jackfield import Host", UNUSED),
        ("from jackfield import Host; Host(observers=())", UNUSED),
        ("from jackfield import function, inject", {"asyncio", "jackfield.host", *OBSERVERS, *OTHERS}),
        (verb("--help"), {"asyncio", "attrs", "msgspec", "jackfield.errors", "pydantic", *OBSERVERS, *CONFIGURATION}),
        (verb("list"), {"asyncio", "jackfield.host", "pluggy", *OBSERVERS, *CONFIGURATION, *OTHERS}),
    ],
    ids=["import Host", "Host(observers=())", "the marks of authors", "pluginctl --help", "pluginctl list"],
)
def test_libraries_are_imported_when_they_are_used(code, absent, tmp_path):
    """Each of these is slow to import, and nothing here needs it."""
    assert imported(code, tmp_path) & absent == set()


_FIRST_CALL = """
from jackfield import Host, inject
import sys
class Clock: pass
async def later(text: str) -> str: return text
def now(text: str, clock: Clock = inject()) -> str: return text
with Host(observers=(), timeout=5.0) as host:
    host.provide(Clock)
    host.register("a.now", now)
    host.register("a.later", later)
    there = set(sys.modules)
    host.call("a.now", "x")
    host.call("a.later", "x", timeout=1.0)
    new = set(sys.modules) - there
print(new, file=sys.stderr)
assert not new
0"""


def test_the_first_call_imports_nothing(tmp_path):
    """What a call needs is imported when its function is registered: the first one takes no longer, and cannot fail."""
    imported(_FIRST_CALL, tmp_path)


def test_a_host_that_runs_can_say_something_when_no_file_can_be_opened(tmp_path):
    """loguru is there before it is needed: running out of descriptors is when most is to be said."""
    assert "loguru" in imported("from jackfield import Host\nwith Host(observers=()): pass\n0", tmp_path)


_EACH_FIRST = """
import importlib, pkgutil, sys
import jackfield.plugins
names = [each.name for each in pkgutil.walk_packages(jackfield.plugins.__path__, "jackfield.plugins.")]
names += [f"jackfield.{each}" for each in ("desired.hosted", "control", "operations", "store", "testing")]
for name in names:
    for known in [known for known in sys.modules if known.partition(".")[0] == "jackfield"]:
        del sys.modules[known]
    importlib.import_module(name)
"""


def test_whatever_is_imported_first_can_be_imported():
    """No module of the plugins needs that another has been imported before it: a command may begin with any of them."""
    done = subprocess.run([sys.executable, "-c", _EACH_FIRST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
