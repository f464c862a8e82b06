"""What an error says of itself in a record."""

import asyncio

import pytest

from jackfield.errors import DeadlineExceeded, FunctionCrashed, Rejected
from jackfield.model.deadline import deadline
from jackfield.stack import error_message, error_type, frames


def crash(error: BaseException) -> FunctionCrashed:
    wrapped = FunctionCrashed("f", error_type(error), "text")
    wrapped.__cause__ = error
    return wrapped


def caught(body) -> BaseException:
    try:
        body()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def fail(card="4111-1111"):
    raise ValueError(f"card {card}")


def fail_because():
    try:
        fail()
    except ValueError as error:
        raise KeyError("account") from error


def fail_while_handling():
    try:
        fail()
    except ValueError:
        return {}["missing"]


def fail_silently():
    try:
        fail()
    except ValueError:
        raise KeyError("account") from None


def fail_for_ever():
    fail_for_ever()


def functions(lines):
    return [line.rpartition(" ")[2] for line in lines]


def test_frames_are_file_line_and_function_outermost_first():
    """A frame reads `file:line function`, and no value is in it."""
    lines = frames(crash(caught(fail)))
    assert functions(lines) == ["caught", "fail"]
    assert lines[1].startswith(f"{__file__}:")
    assert "4111" not in "".join(lines)


def test_the_frames_of_a_method_name_its_class():
    """The function is named with its qualified name."""

    class Loan:
        def score(self):
            raise ValueError

    assert functions(frames(caught(Loan().score)))[-1].endswith("Loan.score")


def test_frames_of_jackfield_and_of_generated_code_are_cut():
    """Only the function's own frames are shown."""
    scope = {"fail": fail}
    exec(compile("def walk():\n    fail()", "<jackfield walk>", "exec"), scope)  # noqa: S102
    assert functions(frames(caught(scope["walk"]))) == ["caught", "fail"]

    def late():
        with deadline(-1):
            pass

    assert [name.rpartition(".")[2] for name in functions(frames(caught(late)))] == ["caught", "late"]


@pytest.mark.parametrize(
    ("body", "link"), [(fail_because, "caused by ValueError"), (fail_while_handling, "while handling ValueError")]
)
def test_the_chain_of_causes_is_kept(body, link):
    """Earlier errors follow, each with its frames and without its text."""
    lines = frames(crash(caught(body)))
    place = lines.index(link)
    assert functions(lines[:place]) == ["caught", body.__name__]
    assert functions(lines[place + 1 :]) == [body.__name__, "fail"]


def test_a_suppressed_context_is_not_shown():
    """`raise … from None` hides what came before."""
    assert functions(frames(caught(fail_silently))) == ["caught", "fail_silently"]


def test_a_chain_that_runs_in_a_circle_ends():
    """Each error of the chain is shown once."""
    first, second = caught(fail), caught(fail)
    first.__cause__, second.__cause__ = second, first
    assert len(frames(first)) < 10


def test_endless_recursion_is_shortened():
    """The two ends are shown, and how much is missing between them."""
    lines = frames(caught(fail_for_ever))
    assert len(lines) == 61
    assert lines[30].endswith("frames left out)")


def test_the_members_of_a_group_are_shown():
    """Each member has its type and its frames."""

    def together():
        raise ExceptionGroup("both", [caught(fail), caught(fail_because)])

    lines = frames(crash(caught(together)))
    assert "member 1 is ValueError" in lines
    assert "member 2 is KeyError" in lines
    assert functions(lines)[-1] == "fail_because"


def test_a_crash_in_another_process_shows_the_stack_that_came_with_it():
    """There is no traceback of it in this process."""
    assert frames(FunctionCrashed("f", "ValueError", remote_stack="w.py:3 f\nw.py:9 g")) == ["w.py:3 f", "w.py:9 g"]


class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("x"), "ValueError"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (Rejected("no"), "jackfield.Rejected"),
        (DeadlineExceeded("f"), "jackfield.DeadlineExceeded"),
        (FunctionCrashed("f", "shop.errors.OutOfStock"), "shop.errors.OutOfStock"),
        (Odd(), f"{__name__}.Odd"),
    ],
)
def test_the_error_type_is_qualified_and_a_crash_has_the_originals(error, name):
    """The class is named so that it can be found; a wrapper is looked through."""
    assert error_type(error) == name


def test_a_message_that_cannot_be_had_loses_no_record():
    """An exception whose `__str__` raises is described all the same, and a huge text is cut."""
    assert "RuntimeError" in error_message(Odd())
    assert len(error_message(ValueError("x" * 10**6))) < 5_000
    assert error_message(FunctionCrashed("f", "ValueError", "original")) == "original"
