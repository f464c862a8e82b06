"""`assert_conforms`: what it compares, what it tells, and that it really runs both."""

import os
import textwrap

import pytest
from tests.support.apart import needs_workers

from jackfield.testing import assert_conforms

pytestmark = needs_workers

GOOD = """
import attrs, datetime as dt, decimal
from jackfield import Logger, Rejected, function, inject

@attrs.define
class Loan:
    amount: int
    when: dt.date | None = None
    price: decimal.Decimal = decimal.Decimal(1)

@function
def rate(loan: Loan, log: Logger = inject()) -> Loan:
    log.info("rated")
    if loan.amount < 0:
        raise Rejected("too little", code="little")
    return loan

@function
def words(text: str) -> set[str]:
    return set(text.split())

@function
def fails(number: int) -> float:
    return 1 / (number - number)

@function
async def later(numbers: list[int], factor: float = 2.0) -> list[float]:
    return [number * factor for number in numbers]
"""


def plugin(folder, code):
    (folder / "mine.py").write_text(textwrap.dedent(code), "utf-8")
    return str(folder / "mine.py")


def test_a_plugin_that_does_the_same_conforms(tmp_path):
    """With payloads of its author, and with others that fit its schemas."""
    done = assert_conforms(plugin(tmp_path, GOOD), {"mine.words": ["a b c d e f g", 7]})
    assert done.functions == ("mine.fails", "mine.later", "mine.rate", "mine.words")
    assert done.calls > 20
    assert done.uncalled == ()


DIFFERENT = [
    pytest.param(
        "import os\n@function\ndef f() -> int:\n    return os.getpid()",
        f"mine.f(null)\n      in process   gives {os.getpid()}\n      in a worker  gives ",
        id="a result",
    ),
    pytest.param(
        "import pathlib\n@function\ndef f() -> bool:\n    return bool(pathlib.Path('/etc/hostname').read_text())",
        "in process   gives true\n      in a worker  raises PermissionError",
        id="what it may",
    ),
    pytest.param(
        "@function\ndef f() -> object:\n    return object()",
        "in process   gives what has no form in plain data",
        id="what cannot cross",
    ),
    pytest.param(
        "import subprocess\n@function\ndef f() -> str:\n    return subprocess.run(['/bin/echo', 'x'],"
        " capture_output=True, text=True, check=True).stdout",
        "in a worker  raises ",
        id="another program",
    ),
]


@pytest.mark.parametrize(("code", "said"), DIFFERENT)
def test_what_differs_is_told(tmp_path, code, said):
    path = plugin(tmp_path, f"from jackfield import function\n{code}\n")
    with pytest.raises(AssertionError) as caught:
        assert_conforms(path, {"mine.f": [None]}, examples=0)
    assert "does not do in a worker what it does in process" in str(caught.value)
    assert said in str(caught.value)


def test_what_a_worker_cannot_import_is_a_difference(tmp_path):
    """The functions are not there, and the report says why."""
    code = """
    from jackfield import function
    with open("/etc/hostname"):
        pass
    @function
    def f() -> None: ...
    """
    with pytest.raises(
        AssertionError, match=r"(?s)mine\.f\n      in process   is there\n      in a worker  is not there: .*"
    ):
        assert_conforms(plugin(tmp_path, code))


def test_payloads_of_functions_that_are_not_there_are_no_silent_pass(tmp_path):
    with pytest.raises(AssertionError, match="no such function"):
        assert_conforms(plugin(tmp_path, GOOD), {"mine.nothing": [1]}, examples=0)


def test_a_plugin_without_functions_cannot_conform(tmp_path):
    with pytest.raises(AssertionError, match="has no function"):
        assert_conforms(plugin(tmp_path, "x = 1"))


def test_examples_can_be_left_out(tmp_path):
    """For functions that must not be called with just anything."""
    done = assert_conforms(plugin(tmp_path, GOOD), {"mine.words": ["a"]}, examples=0)
    assert (done.functions, done.calls) == (("mine.words",), 1)
    assert done.uncalled == ("mine.fails", "mine.later", "mine.rate")
