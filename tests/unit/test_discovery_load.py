"""Loading a candidate: what is wrong with a plugin's code is told, and costs only that plugin."""

import sys
import threading
import types

import pytest

from jackfield.errors import PluginError
from jackfield.plugins.discovery import Candidate, load


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write modules of a package `sick_plugin`, and forget what was imported of it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(**modules):
        package = tmp_path / "sick_plugin"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(modules.pop("init", ""), encoding="utf-8")
        for name, text in modules.items():
            (package / f"{name}.py").write_text(text, encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "sick_plugin":
            del sys.modules[name]


def candidate(value, name="text.f"):
    return Candidate("jackfield.functions", name, value, "sick-plugin", "1.0")


def refused(value):
    with pytest.raises(PluginError) as caught:
        load(candidate(value))
    error = caught.value
    assert error.plugin == "sick-plugin"
    (fault,) = error.faults
    assert (fault.stage, fault.plugin, fault.entry) == (error.stage, "sick-plugin", "text.f")
    assert (fault.reason, fault.fix) == (error.reason, error.fix)
    return error


def test_a_function_an_attribute_of_a_class_and_a_module_are_loaded(plugin):
    """Whatever the reference names."""
    plugin(text="def f(x):\n    return x\nclass C:\n    m = 7\n")
    assert load(candidate("sick_plugin.text:f"))(3) == 3
    assert load(candidate("sick_plugin.text:C.m")) == 7
    assert load(candidate("sick_plugin.text")) is sys.modules["sick_plugin.text"]


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        ("\n1 / 0\n", "ZeroDivisionError: division by zero", "JACKFIELD_DISABLE_PLUGINS=sick-plugin"),
        (
            "import no_such_thing.at_all",
            "ModuleNotFoundError",
            "the distribution that provides the module no_such_thing",
        ),
        ("from sick_plugin import missing", "ImportError", "pip install --force-reinstall sick-plugin"),
        ("import sick_plugin.missing", "ModuleNotFoundError", "pip install --force-reinstall sick-plugin"),
        ("from json import no_such_name", "ImportError", "rename the plugin's own json"),
        ("def f(:\n", "SyntaxError", "pip install --upgrade sick-plugin"),
        ("import sys\nsys.exit(3)", "SystemExit: 3", "if __name__ == '__main__'"),
        ("raise BaseException('secret')", "raised BaseException (", "upgrade or correct sick-plugin"),
        ("raise GeneratorExit", "GeneratorExit", "upgrade or correct sick-plugin"),
        ("def f(): f()\nf()", "RecursionError", "upgrade or correct sick-plugin"),
        (
            "class E(Exception):\n    def __str__(self): 1/0\nraise E",
            "raised sick_plugin.text.E",
            "upgrade or correct sick-plugin",
        ),
        ("raise ValueError('line\\nbreak\\x1b[31m')", "raised ValueError (", "`pluginctl check` shows what it says"),
        ("x = '\0'", "", ""),
    ],
)
def test_whatever_an_import_raises_is_told_with_place_and_fix(plugin, code, reason, fix):
    """The exception's type, the plugin's own file and line, the command that helps; the original is the cause."""
    plugin(text=code)
    error = refused("sick_plugin.text:f")
    assert error.stage == "import"
    assert "importing sick_plugin.text raised" in error.reason
    assert reason in error.reason
    assert fix in error.fix
    assert error.__cause__ is not None
    assert "sick_plugin.text" not in sys.modules
    assert str(error).isprintable()
    assert "secret" not in str(error)


def test_the_place_is_the_plugins_own_line(plugin):
    """Not that of the library in which its mistake came out."""
    plugin(text="import json\n\njson.loads('{')\n")
    assert "text.py:3)" in refused("sick_plugin.text:f").reason


def test_a_syntax_errors_place_is_the_line_that_cannot_be_read(plugin):
    """Which never ran, and so is in no stack."""
    plugin(text="x = 1\n\ndef f(:\n")
    assert "text.py:3)" in refused("sick_plugin.text:f").reason


def test_a_module_that_is_not_there_asks_for_a_reinstallation():
    """The metadata promised it."""
    error = refused("sick_plugin_that_is_not_there.text:f")
    assert "ModuleNotFoundError" in error.reason
    assert "pip install --force-reinstall sick-plugin" in error.fix


def test_keyboard_interrupt_passes_through(plugin):
    """It is the operator's, not the plugin's."""
    plugin(text="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load(candidate("sick_plugin.text:f"))


def test_a_missing_attribute_comes_with_close_names(plugin):
    """Of a module and of a class in it."""
    plugin(text="def slugify(x): pass\nclass C:\n    def run(self): pass\n")
    error = refused("sick_plugin.text:slugfy")
    assert (error.stage, error.reason) == ("attribute", "sick_plugin.text has no attribute 'slugfy'")
    assert "did you mean 'slugify'?" in error.fix
    assert "'sick_plugin.text:slugfy'" in error.fix
    assert "did you mean 'run'?" in refused("sick_plugin.text:C.runn").fix
    assert "install it again" in refused("sick_plugin.text:wholly_different").fix


@pytest.mark.parametrize("error", ["ValueError('no')", "SystemExit(1)"])
def test_a_module_getattr_that_raises_is_contained(plugin, error):
    """It is the plugin's code."""
    plugin(text=f"def __getattr__(name):\n    raise {error}\n")
    refusal = refused("sick_plugin.text:f")
    assert refusal.stage == "attribute"
    assert error.partition("(")[0] in refusal.reason
    assert "text.py:2)" in refusal.reason


def test_a_value_that_is_no_reference_is_refused(plugin):
    """A candidate may have been made by hand."""
    assert refused("not a reference").stage == "reference"


def test_a_module_that_failed_is_tried_anew_and_serves_once_it_is_mended(plugin):
    """Nothing of the failed import is served from `sys.modules`."""
    plugin(text="raise ValueError('not yet')")
    refused("sick_plugin.text:f")
    refused("sick_plugin.text:f")
    plugin(text="def f(): return 'mended, and of another length'\n")
    assert load(candidate("sick_plugin.text:f"))().startswith("mended")


def test_what_imported_the_failed_module_in_a_circle_goes_with_it(plugin):
    """Otherwise a function of the finished half would run against the dead one."""
    plugin(
        first="import sick_plugin.second\nimport sick_plugin.sound\nraise ValueError('half-made')\n",
        second="import sick_plugin.first as half\nimport sick_plugin.sound\ndef f(): return half.VALUE\n",
        third="",
        sound="def g(): return 1\n",
    )
    refused("sick_plugin.first:f")
    assert "sick_plugin.second" not in sys.modules
    assert "sick_plugin.sound" in sys.modules, "what is sound must not be executed twice"
    sound = sys.modules["sick_plugin.sound"]
    refused("sick_plugin.second:f")
    plugin(
        first="import sick_plugin.second\nVALUE = 'both halves are alive again'\n",
        second="import sick_plugin.first as half\ndef f(): return half.VALUE\n",
        sound="def g(): return 1\n",
    )
    assert load(candidate("sick_plugin.second:f"))() == "both halves are alive again"
    assert sys.modules["sick_plugin.sound"] is sound


def test_a_package_that_fails_takes_no_earlier_module_with_it(plugin):
    """What was loaded before stays loaded."""
    plugin(good="def f(): return 1\n", bad="import sick_plugin.good\nraise ValueError\n")
    function = load(candidate("sick_plugin.good:f"))
    refused("sick_plugin.bad:f")
    assert load(candidate("sick_plugin.good:f")) is function


def test_threads_that_come_together_load_once(plugin):
    """The module is executed once, and everyone gets the same object."""
    plugin(
        text="""
import threading
import time
import builtins
builtins.times_sick_plugin_was_executed = getattr(builtins, "times_sick_plugin_was_executed", 0) + 1
time.sleep(0.05)  # a wide window for the other threads to come through
def f(): pass
"""
    )
    barrier = threading.Barrier(16)
    found = []

    def run():
        barrier.wait(30)
        found.append(load(candidate("sick_plugin.text:f")))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    import builtins  # noqa: PLC0415

    assert builtins.__dict__.pop("times_sick_plugin_was_executed") == 1
    assert len(found) == 16
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize(
    ("value", "reason", "fix"),
    [
        (
            "types:thing",
            f"types has no attribute 'thing' (it was loaded from {types.__file__})",
            "rename the plugin's types",
        ),
        ("sys:qqqqqq", "sys has no attribute 'qqqqqq' (it is built into Python)", "rename the plugin's sys"),
        ("random.plugin:thing", "No module named 'random.plugin'", "rename the plugin's random"),
        ("fractions:Fractio", "fractions has no attribute 'Fractio'", "did you mean 'Fraction'?"),
    ],
)
def test_a_module_that_one_of_pythons_hides_is_told_with_the_file_that_was_loaded(
    tmp_path, monkeypatch, value, reason, fix
):
    """Whose own is there, but never found; who borrows a function of Python's gets close names as ever."""
    for name in ("types", "random"):
        (tmp_path / f"{name}.py").write_text("def thing(): ...", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    error = refused(value)
    assert reason in error.reason
    assert fix in error.fix


def test_suggestions_are_of_what_a_module_offers(plugin):
    """Neither what is private, nor a module that it imports."""
    plugin(text="import math as rates\n_rate = 1\nrating = 2\n")
    assert "did you mean 'rating'?" in refused("sick_plugin.text:rate").fix
