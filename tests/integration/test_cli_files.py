"""`pluginctl call ./file.py:function` and `check ./file.py`: a plain Python file, without packaging it."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

FILES = {
    "greet.py": '''
        """Greets."""
        import helper
        from jackfield import Caller, inject, provides

        class Database:
            rows = 3

        @provides
        def database() -> Database:
            return Database()

        def greet(name: str, greeting: str = "Hello") -> str:
            """Greet somebody by name."""
            return helper.shout(f"{greeting}, {name}!")

        async def later(n: int) -> int:
            return n + 1

        def count(table: str, *, database: Database = inject()) -> int:
            return database.rows

        class Tax:
            def __call__(self, n: int) -> int:
                return 2 * n

            @staticmethod
            def vat(n: int) -> int:
                return 3 * n

        def boom() -> None:
            raise ValueError("one\\ntwo")

        class Sold(Exception): ...

        def sold() -> None:
            raise Sold

        def _private() -> int:
            return 1
    ''',
    "helper.py": "def shout(text): return text.upper()",
    "marked.py": """
        from jackfield import function

        @function
        def this(n: int) -> int: return n

        def that(n: int) -> int: return -n
    """,
    "random.py": "import string\ndef pick(n: int) -> int: return n",
    "rows.py": "def rows():\n    yield 1\n\ndef fine() -> int: return 1",
    "needs.py": """
        from jackfield import inject
        class Gone: ...
        def need(*, gone: Gone = inject()) -> int: return 1
    """,
    "loans.py": """
        import dataclasses
        @dataclasses.dataclass
        class Loan:
            amount: int
            months: int = 12
        def score(loan: Loan) -> float: return loan.months / loan.amount
    """,
    "empty.py": "x = 1",
    "provides.py": "from jackfield import provides\n@provides\ndef three() -> int: return 3",
    "starts.py": "class Plugin:\n    def start(self) -> None: ...",
    "project/pyproject.toml": "[project]\nname = 'project'",
    "syntax.py": "x = 1\ndef f(:\n",
    "relative.py": "from . import helper\ndef f() -> int: return 1",
    "missing.py": "import no_such_module_anywhere\ndef f() -> int: return 1",
    "exits.py": "raise SystemExit(3)",
    "dies.py": "import os\nos._exit(9)",
    "note.txt": "text",
    "pkg/__init__.py": "",
    "pkg/rates.py": "RATE = 4",
    "pkg/tax.py": "from . import rates\nfrom pkg.rates import RATE\ndef vat(n: int) -> int: return n * rates.RATE",
    "pkg/store.py": """
        from jackfield import provides
        class Store:
            rows = 7
        @provides
        def store() -> Store: return Store()
    """,
    "pkg/reads.py": """
        from jackfield import inject
        from pkg.store import Store
        def count(*, store: Store = inject()) -> int: return store.rows
    """,
    "pkg/deep/__init__.py": "",
    "pkg/deep/more.py": "from ..rates import RATE\ndef rate() -> int: return RATE",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as people have them."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return folder


@pytest.fixture
def pluginctl(folder, tmp_path):
    """Run pluginctl beside these files."""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "JACKFIELD_LOAD_PLUGINS": "none", "NO_COLOR": "1"}

    def run(*arguments):
        command = [sys.executable, "-m", "jackfield", *arguments]  # with the folder, and its random.py, on sys.path
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (("./greet.py:greet", "name=World"), "HELLO, WORLD!"),
        (("greet.py:greet", "--json", '{"name": "you", "greeting": "Hi"}'), "HI, YOU!"),
        (("./greet.py:later", "n=1"), 2),
        (("./greet.py:count", "table=t"), 3),
        (("./greet.py:Tax", "n=1"), 2),
        (("./greet.py:Tax.vat", "n=1"), 3),
        (("./greet.py:helper.shout", "text=x"), "X"),
        (("./marked.py:this", "n=1"), 1),
        (("./marked.py:that", "n=1"), -1),
        (("./random.py:pick", "n=5"), 5),
        (("./pkg/tax.py:vat", "n=2"), 8),
        (("./pkg/deep/more.py:rate",), 4),
        (("./pkg/reads.py:count",), 7),
        (("../{folder}/greet.py:later", "n=1"), 2),
    ],
)
def test_a_function_of_a_file_is_called_as_an_installed_one(pluginctl, folder, arguments, result):
    """Whatever its kind, marked or not, whatever lies beside it."""
    name, *others = arguments
    code, out, err = pluginctl("call", name.format(folder=folder.name), *others)
    assert (code, json.loads(out or "null")) == (0, result), err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("./greet.py:gret",), "./greet.py: it has no function 'gret' → did you mean 'greet'?"),
        (("./greet.py:zzzz",), "→ there is greet, later, count, Tax, boom, sold"),
        (("./greet.py:greet", "name=1", "nme=2"), "invalid_payload: ./greet.py:greet:"),
        (("./greet.py:greet",), "invalid_payload: ./greet.py:greet: payload at $.name: expected str, got missing"),
        (("./greet.py:later", "n=1", "--version", "9"), "not_found: no version '9' of './greet.py:later'"),
        (("./greet.py:later", "n=1", "--timeout", "0"), "deadline_exceeded: ./greet.py:later: "),
        (("./greet.py:boom",), "crashed: ./greet.py:boom@0 crashed: ValueError: one"),
        (("./greet.py:boom",), "ValueError: one\\ntwo"),
        (("./greet.py:sold",), "crashed: greet.Sold ("),
        (("./empty.py:x",), "./empty.py:x: it is of type int, which cannot be called → give a function"),
        (("./greet.py:later", "m=1"), "./greet.py:later: unknown key 'm': the function takes n=…"),
        (("./greet.py:later",), "./greet.py:later: missing: n=…"),
        (("./greet.py:greet", "nam=World"), "got unknown key 'nam' (did you mean 'name'?)"),
        (("greet:later", "n=1"), "a function of a file is named as in ./greet.py:later"),
        (("pkg.tax:vat", "n=1"), "a function of a file is named as in ./pkg/tax.py:vat"),
        (("./project",), "it is a project, not a package → install it with `pip install -e`"),
        (("./rows.py:rows",), "rows.py:1) → return a list"),
        (("./needs.py:need",), "error: ./needs.py:need: inject: nothing provides Gone for 'gone'"),
        (("./syntax.py:f",), "syntax.py:2) → correct it"),
        (("./relative.py:f",), "relative.py:1) → a single file is no package"),
        (("./missing.py:f",), "missing.py:1) → "),
        (("./exits.py:f",), "put that under `if __name__ == '__main__':`"),
        (("./gret.py:f",), "there is no such file or folder → did you mean 'greet.py'"),
        (("./note.txt:f",), "it is no Python file"),
        ((".",), "it is no package: it has no __init__.py → give the path of one of its `.py` files, as in ./file.py"),
        (("./pkg:vat",), "name the file that has it, as in ./pkg/module.py:function"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(pluginctl, arguments, says):
    """With the place and the fix, exit code 1, and nothing on stdout."""
    code, out, err = pluginctl("call", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith("error: ")
    assert says in err


@pytest.mark.slow  # several processes
def test_a_file_alone_shows_what_can_be_called(pluginctl):
    """On stderr, with the parameters that a caller gives; nothing was called, so that is wrong usage."""
    code, out, err = pluginctl("call", "./greet.py")
    assert (code, out) == (2, "")
    assert "./greet.py has 6 functions" in err
    assert "./greet.py:greet  (name: str, greeting: str = 'Hello') -> str  Greet somebody by name." in err
    assert "database" not in err
    assert "./marked.py:this" in (err := pluginctl("call", "./marked.py")[2])
    assert "that" not in err
    assert "cannot be called: it is a generator function" in pluginctl("call", "./rows.py")[2]
    assert "there is no function in it" in pluginctl("call", "./empty.py")[2]


def test_a_file_is_not_called_in_the_running_host(pluginctl):
    """It would be somebody else's process that imports it."""
    code, _, err = pluginctl("call", "./greet.py:greet", "--running")
    assert code == 2
    assert "not in the running host" in err


@pytest.mark.parametrize(
    ("file", "functions", "faults"),
    [
        ("./greet.py", ["greet", "later", "count", "Tax", "boom", "sold"], []),
        ("./greet.py:later", ["later"], []),
        ("./marked.py", ["this"], []),
        ("./empty.py", [], [("./empty.py", "attribute")]),
        ("./empty.py:x", [], [("./empty.py:x", "contract")]),
        ("./provides.py", [], []),
        ("./starts.py", [], []),
        ("./project", [], [("./project", "source")]),
        ("./rows.py", ["fine"], [("./rows.py:rows", "contract")]),
        ("./needs.py", [], [("./needs.py:need", "inject")]),
        ("./syntax.py", [], [("./syntax.py", "import")]),
        ("./exits.py", [], [("./exits.py", "import")]),
        ("./dies.py", [], [("./dies.py", "import")]),
        ("./gone.py", [], [("./gone.py", "source")]),
        ("./greet.py:gret", [], [("./greet.py:gret", "attribute")]),
        ("./pkg/tax.py", ["vat"], []),
    ],
)
def test_check_names_every_function_and_every_fault(pluginctl, file, functions, faults):
    """In a process of its own, so that a file may end that."""
    code, out, err = pluginctl("check", file, "--json")
    report = json.loads(out)
    assert report["functions"] == [f"{file.partition(':')[0].rstrip(':')}:{name}" for name in functions], err
    assert [(fault["entry"], fault["stage"]) for fault in report["faults"]] == faults
    assert (code, report["ok"]) == ((1, False) if faults else (0, True))


@pytest.mark.slow  # several processes
def test_a_fault_of_a_contract_has_file_and_line(pluginctl, folder):
    """For programs as a key of its own, for people behind the reason."""
    (fault,) = json.loads(pluginctl("check", "./rows.py", "--json")[1])["faults"]
    assert fault["where"] == f"{folder / 'rows.py'}:1"
    assert f"({folder / 'rows.py'}:1)" in pluginctl("check", "./rows.py")[1]


@pytest.mark.slow  # several processes
def test_several_files_are_checked_at_once(pluginctl):
    """Each by itself."""
    report = json.loads(pluginctl("check", "./marked.py", "./rows.py", "--json")[1])
    assert report["functions"] == ["./marked.py:this", "./rows.py:fine"]
    assert len(report["faults"]) == 1


@pytest.mark.slow  # several processes
def test_info_shows_the_contract_of_a_function_of_a_file(pluginctl):
    """Or what is wrong with it."""
    code, out, err = pluginctl("info", "./greet.py:greet", "--json")
    assert code == 0, err
    shown = json.loads(out)["contract"]
    assert (shown["parameters"], shown["result"]) == (["name: str", "greeting: str = 'Hello'"], "str")
    assert "Greet somebody by name." in pluginctl("info", "./greet.py:greet")[1]
    code, out, _ = pluginctl("info", "./rows.py:rows")
    assert (code, out.startswith("✗ ./rows.py:rows: contract: ")) == (1, True)
    code, out, _ = pluginctl("info", "./syntax.py:f")
    assert code == 1
    assert "syntax.py:2" in out
    assert pluginctl("info", "./greet.py")[0] == 2


def test_info_shows_the_keys_that_callers_give(pluginctl):
    """The parameters, or the fields of the one record."""
    code, out, err = pluginctl("info", "./loans.py:score")
    assert (code, err) == (0, "")
    assert [line.split("  ", 1)[1].strip() for line in out.splitlines()[2:5]] == [
        "payload  loan: Loan",
        "amount: int",
        "months: int (optional)",
    ]
    assert json.loads(pluginctl("info", "./greet.py:later", "--json")[1])["contract"]["fields"] == []


def test_the_failures_of_many_calls_name_the_function_as_it_was_given(pluginctl, tmp_path):
    """On the terminal, and in the file that is read by programs."""
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"nme": "x"}\n')
    err = pluginctl("call", "./greet.py:greet", "--lines", str(lines))[2]
    assert "line 1: invalid_payload: ./greet.py:greet: payload at $" in err
    pluginctl("call", "./greet.py:greet", "--lines", str(lines), "--errors", str(tmp_path / "bad.jsonl"))
    failure = json.loads((tmp_path / "bad.jsonl").read_text())
    assert failure["function"] == "./greet.py:greet"
    assert failure["message"].startswith("./greet.py:greet: payload at $")
