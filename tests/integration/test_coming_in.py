"""How plugins come in when something is wrong: imports that hang, main-thread modules, strict hosts, two versions."""

import json
import subprocess
import sys
import textwrap
import threading

import pytest

from jackfield import Host, PluginConfig, PluginError, Unavailable, log
from jackfield.plugins import importing
from support.plugins import wait_for


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write files into a folder that is on `sys.path`; what they bring is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    yield write
    for each in set(sys.modules) - before:
        del sys.modules[each]


GOOD = "from jackfield import function\n@function\ndef f() -> int:\n    return 1\n"

HANGS = """
    import builtins
    builtins.GATE.wait(60)
    from jackfield import function
    @function
    def f() -> int:
        return 2
"""


@pytest.fixture
def gate(monkeypatch):
    """What a hanging import waits for."""
    import builtins  # noqa: PLC0415  # seen by the module under test

    gate = threading.Event()
    monkeypatch.setattr(builtins, "GATE", gate, raising=False)
    yield gate
    gate.set()


def test_an_import_that_hangs_costs_its_time_and_the_rest_serves(folder, gate):
    """It has the start timeout; whoever imports the same module is blocked by its name at once."""
    folder("jf_hangs.py", HANGS)
    folder("jf_same.py", "import jf_hangs\n" + GOOD)
    folder("good.py", GOOD)
    config = folder(
        "jackfield.toml",
        """
        [[plugin]]
        name = "hangs"
        path = "jf_hangs"
        start_timeout = 0.3
        [[plugin]]
        name = "same"
        path = "jf_same"
        start_timeout = 30.0
        [[plugin]]
        name = "good"
        path = "./good.py"
        """,
    )
    with Host.from_config(config, observers=()) as host:
        assert host.call("good.f") == 1
        states = {name: record.state.value for name, record in host.plugins.items()}
        assert states == {"hangs": "failed", "same": "failed", "good": "running"}
        hangs, same = (host.plugins[name].fault for name in ("hangs", "same"))
        assert (hangs.stage, same.stage) == ("import", "import")
        assert "importing it took longer than 0.3 s" in hangs.reason
        assert "jf_hangs.py" in hangs.reason, "where it hangs"
        assert "it is blocked: it imports jf_hangs, which hangs is still importing" in same.reason
        gate.set()


MAIN = """
    import threading
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("signal only works in main thread of the main interpreter")
    from jackfield import function
    @function
    def f() -> int:
        return 3
"""


def test_a_module_for_the_main_thread_is_imported_there_when_the_file_says_so(folder):
    """Else its error names the key that helps."""
    folder("picky.py", MAIN)
    plugin = '[[plugin]]\nname = "picky"\npath = "./picky.py"\n'
    with Host.from_config(folder("jackfield.toml", plugin), observers=()) as host:
        assert 'say `import_in = "main"`' in host.plugins["picky"].fault.fix
    with Host.from_config(folder("jackfield.toml", plugin + 'import_in = "main"\n'), observers=()) as host:
        assert host.call("picky.f") == 3


def test_a_strict_host_does_not_start_with_a_plugin_that_does_not(folder):
    """`strict` holds for starts, too, and nothing is left running."""
    folder("bad.py", "class Bad:\n    def start(self):\n        raise ConnectionError('refused')\n")
    folder("good.py", GOOD)
    config = folder(
        "jackfield.toml",
        """
        strict = true
        [[plugin]]
        name = "bad"
        path = "./bad.py:Bad"
        [[plugin]]
        name = "good"
        path = "./good.py"
        """,
    )
    host = Host.from_config(config, observers=())
    with pytest.raises(PluginError, match="refused"):
        host.start()
    assert host.plugins["good"].state.value == "stopped"
    with pytest.raises(Unavailable):
        host.call("good.f")


@pytest.mark.parametrize("slow", ["one", "two"])
def test_the_first_version_in_the_file_is_the_default_whoever_starts_quicker(folder, slow):
    """And a restart does not move it."""
    for name, answer in (("one", 1), ("two", 2)):
        folder(
            f"{name}.py",
            f"""
            import time
            class P:
                def start(self):
                    time.sleep({0.2 if name == slow else 0.0})
                def f(self) -> int:
                    return {answer}
            """,
        )
    tables = "".join(
        f'[[plugin]]\nname = "{name}"\npath = "./{name}.py:P"\nversion = "{version}"\n[plugin.functions]\n"p.f" = "f"\n'
        for name, version in (("one", "1.0"), ("two", "2.0"))
    )
    with Host.from_config(folder("jackfield.toml", tables), observers=()) as host:
        assert host.call("p.f") == 1
        host.restart_plugin("one")
        assert host.call("p.f") == 1
        host.stop_plugin("one")
        assert host.call("p.f") == 2
        host.start_plugin("one")
        assert host.call("p.f") == 1
        host.reroute("p.f", default="2.0")
        host.restart_plugin("two")
        assert host.call("p.f") == 2, "what an operator decided stays"


SICK_OBJECT = """
    from jackfield import function, inject
    class Nobody: ...
    class P:
        def __init__(self, *, nobody: Nobody = inject()) -> None: ...
        @function
        def steps(self):
            yield 1
        @function(executor="nowhere")
        def odd(self) -> int:
            return 1
        @function
        def good(self) -> int:
            return 2
"""


def test_what_is_wrong_with_a_plugin_object_is_known_before_it_starts(folder):
    """A generator, an unknown executor, a constructor that nobody can serve: all of it, at once, in `faults`."""
    folder("sick.py", SICK_OBJECT)
    config = folder("jackfield.toml", '[[plugin]]\nname = "sick"\npath = "./sick.py:P"\n')
    host = Host.from_config(config, observers=())
    reasons = " | ".join(fault.reason for fault in host.faults)
    assert "generator" in reasons
    assert "'nowhere'" in reasons
    assert "nothing provides" in reasons
    assert host.declared()[0] == ("sick.good",)


def test_a_plugin_that_could_not_be_loaded_is_loaded_when_somebody_starts_it(folder):
    """The file was mended meanwhile: a start is enough."""
    folder("text.py", "def f(:")
    config = folder("jackfield.toml", '[[plugin]]\nname = "text"\npath = "./text.py"\n')
    with Host.from_config(config, observers=()) as host:
        assert "SyntaxError" in host.plugins["text"].fault.reason
        with pytest.raises(PluginError, match="SyntaxError"):
            host.start_plugin("text")
        folder("text.py", GOOD)
        assert host.start_plugin("text").state.value == "running"
        assert host.call("text.f") == 1
        assert host.faults == ()
        assert host.unload("text").clean


def test_a_function_that_another_has_is_left_out_alone(folder):
    """The rest of the plugin serves."""
    folder("one.py", GOOD)
    folder("two.py", GOOD + "@function\ndef g() -> int:\n    return 2\n")
    with Host(observers=()) as host:
        host.load(PluginConfig("one", str(folder("one.py", GOOD)), functions={"p.f": "f"}))
        two = str(folder("two.py", GOOD + "@function\ndef g() -> int:\n    return 2\n"))
        assert host.load(PluginConfig("two", two, functions={"p.f": "f", "p.g": "g"})).functions == ("p.g",)
        assert (host.call("p.f"), host.call("p.g")) == (1, 2)


def test_serve_and_discover_are_not_silent_while_an_import_hangs(folder, tmp_path):
    """A process of its own: the host is there after the time-out, and ends although a thread still imports."""
    folder("jf_for_ever.py", "import threading\nthreading.Event().wait()\n")
    config = folder("jackfield.toml", '[[plugin]]\nname = "x"\npath = "jf_for_ever"\nstart_timeout = 0.2\n')
    code = (
        "import json, sys\nfrom loguru import logger\nlogger.remove()\nfrom jackfield import Host\n"
        f"with Host.from_config({str(config)!r}, observers=()) as host:\n"
        "    print(json.dumps({name: record.state for name, record in host.plugins.items()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=True, cwd=tmp_path, text=True
    )
    assert json.loads(done.stdout) == {"x": "failed"}


LATE = """
    import builtins
    builtins.GATE.wait(60)
    class P:
        def start(self): builtins.STARTED.append(1)
        def f(self) -> int: return 1
"""


def test_a_load_that_ends_after_it_was_given_up_starts_nothing_and_piles_nothing_up(folder, gate, monkeypatch):
    """However often it was tried meanwhile; and then a start is enough."""
    import builtins  # noqa: PLC0415  # seen by the module under test

    monkeypatch.setattr(builtins, "STARTED", [], raising=False)
    path = str(folder("late.py", LATE))
    with Host(observers=()) as host:
        config = PluginConfig("late", f"{path}:P", functions={"late.f": "f"}, start_timeout=0.2)
        with pytest.raises(PluginError, match="took longer than"):
            host.load(config)
        with pytest.raises(PluginError, match="took longer than"):
            host.start_plugin("late")
        gate.set()
        wait_for(lambda: not any("late:import" in thread.name for thread in threading.enumerate()))
        assert builtins.STARTED == []
        # The last may have ended in time to be kept for the next start, though too late for its own.
        assert set(host.ledgers["late"].values()) <= {1}
        assert len([name for name in sys.modules if name.startswith("_jackfield_plugin_late")]) <= 1
        assert host.start_plugin("late").state == "running"
        assert (builtins.STARTED, host.call("late.f")) == ([1], 1)
        assert host.unload("late").clean
        assert not [name for name in sys.modules if name.startswith("_jackfield_plugin_late")]


COUNTS = """
    import builtins
    builtins.GATE.imports = getattr(builtins.GATE, "imports", 0) + 1
    builtins.GATE.wait(60)
    if builtins.GATE.imports == 1 and getattr(builtins.GATE, "fails", False):
        raise ValueError("not the first time")
"""


@pytest.mark.parametrize("fails", [False, True])
def test_of_two_loads_of_one_name_the_second_is_refused_before_it_imports_anything(fails, folder, gate):
    """The name is taken as soon as the first begins; it is free again when that has failed."""
    config = PluginConfig("one", str(folder("one.py", textwrap.dedent(COUNTS) + GOOD)))
    gate.fails = fails
    ended = []

    def load():
        try:
            ended.append(host.load(config).state)
        except PluginError as error:
            ended.append(error.reason)

    with Host(observers=()) as host:
        first = threading.Thread(target=load)
        first.start()
        wait_for(lambda: getattr(gate, "imports", 0))
        with pytest.raises(PluginError, match="'one' is being loaded already → wait for that"):
            host.load(config)
        gate.set()
        first.join()
        # A start tries what failed to load once more.
        assert (ended, gate.imports) == (["running"], 2 if fails else 1)
        with pytest.raises(PluginError, match="there is a plugin 'one' already"):
            host.load(config)


def test_a_plugin_that_loads_itself_when_it_is_imported_is_refused(folder, monkeypatch):
    """It would wait for itself; what it swallows the refusal of is loaded all the same."""
    import builtins  # noqa: PLC0415  # seen by the module under test

    source = """
        import builtins
        from jackfield import PluginConfig, PluginError
        try:
            builtins.HOST.load(PluginConfig("one", __file__))
        except PluginError as error:
            builtins.SAID = error.reason
    """
    with Host(observers=()) as host:
        monkeypatch.setattr(builtins, "HOST", host, raising=False)
        monkeypatch.setattr(builtins, "SAID", "", raising=False)
        host.load(PluginConfig("one", str(folder("one.py", textwrap.dedent(source) + GOOD))))
        assert "is being loaded already" in builtins.SAID
        assert host.call("one.f") == 1


def test_what_could_not_be_loaded_is_logged_once(folder):
    """As an error when nothing of the plugin can be used, as a warning when the rest of it serves."""
    folder("none.py", "raise ValueError('at import')\n")
    folder("some.py", GOOD + "@function\ndef g():\n    yield 1\n")
    config = folder(
        "jackfield.toml", "".join(f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\n' for name in ("none", "some"))
    )
    said = []
    remove = log.install(lambda message: said.append((message.level, message.fields.get("plugin"), message.text)))
    try:
        host = Host.from_config(config, observers=())
    finally:
        remove()
    assert [(level, plugin) for level, plugin, _ in said] == [("ERROR", "none"), ("WARNING", "some")]
    assert {str(fault) for fault in host.faults} == {text for _, _, text in said}


def test_a_long_import_is_said_to_go_on(folder, gate, monkeypatch):
    """With its place, long before its time is over: a host that says nothing looks dead."""
    monkeypatch.setattr(importing, "_PATIENCE", 0.05)
    folder("jf_long.py", HANGS)
    said = []
    remove = log.install(lambda message: (said.append(message.text), gate.set()))
    try:
        with Host(observers=()) as host:
            host.load(PluginConfig("long", "jf_long", start_timeout=30.0))
    finally:
        remove()
    assert [each for each in said if "it is still being imported" in each and "jf_long.py:3" in each]


def test_a_start_loads_what_was_unloaded_again(folder):
    """An operator needs no second file to undo an unload."""
    folder("text.py", GOOD)
    config = folder("jackfield.toml", '[[plugin]]\nname = "text"\npath = "./text.py"\n')
    with Host.from_config(config, observers=()) as host:
        host.unload("text")
        with pytest.raises(PluginError, match="it is unloaded → start it to have it loaded again"):
            host.unload("text")
        assert host.start_plugin("text").state == "running"
        assert host.call("text.f") == 1
        assert not host.apply(config).drift


def test_a_clean_up_that_hangs_does_not_hold_up_an_unload(folder, gate):
    """It has the plugin's stop timeout, and the report says that it was left behind."""
    source = """
        import builtins
        from typing import Iterator
        from jackfield import provides
        class Thing: ...
        @provides(scope="singleton")
        def thing() -> Iterator[Thing]:
            yield Thing()
            builtins.GATE.wait(60)
        class P:
            def __init__(self, thing: Thing): pass
    """
    path = str(folder("hang.py", source))
    with Host(observers=()) as host:
        host.load(PluginConfig("hang", f"{path}:P", stop_timeout=0.2))
        (fault,) = host.unload("hang").failed
        assert "releasing what it holds took longer than 0.2 s" in fault.reason
        assert host.plugins["hang"].state == "unloaded"
        gate.set()
