"""Errors cross the control socket as data and are raised as the same class."""

import attrs
import msgspec
import pytest

from jackfield import errors
from jackfield.control.messages import Reply, failure_frame, reply_frame
from jackfield.errors import (
    ConfigError,
    ContractError,
    DependencyCycle,
    DuplicateFunction,
    Fault,
    FunctionCrashed,
    FunctionNotFound,
    JackfieldError,
    PluginError,
    Rejected,
    ResourceExhausted,
    Unavailable,
)
from jackfield.wire.errors import Failure, describe, restore
from jackfield.wire.frames import LIMIT, unpack

FAULT = Fault("start", "billing", "billing", "it hangs", "raise its timeout")
EXAMPLES = [
    JackfieldError("plain"),
    FunctionNotFound("f", ("g", "h"), fault=FAULT),
    FunctionNotFound("f", (), "2", ("0", "1")),
    errors.PayloadError("f", "$.x", "int", "str"),
    errors.DeadlineExceeded("f", 0.25, "late"),
    errors.Cancelled("f", "stopping"),
    Rejected("no", "bad", {"amount": 3, "of": [1, None]}),
    errors.PermissionDenied("f", "not you"),
    ResourceExhausted("f", "full", 2.5),
    Unavailable("store", "gone"),
    FunctionCrashed("f", "ValueError", "x", "1", "p", "stack"),
    errors.StepFailed("f", "step", "g", "no"),
    errors.AsyncCallRequired("f"),
    ContractError("f", (FAULT, FAULT)),
    errors.InjectionError((FAULT,), "drawn"),
    errors.MissingDependency((FAULT,)),
    DependencyCycle((FAULT,), "a → b → a"),
    errors.CaptiveDependency((FAULT,)),
    DuplicateFunction("f@0", "a", "b"),
    PluginError("p", "start", "hangs", "fix it", (FAULT,)),
    errors.StoreConflict("a/b", 1, 3),
    errors.StoreCompacted(1, 40, 90),
    errors.LeaseEnded("7f", 15.0),
    errors.StoreUnusable("/a/b.db", "it is damaged", "restore a backup"),
    errors.SubmissionConflict("f", "order-17", "0" * 32),
    ConfigError("f.toml", 3, "plugin[0].name", "is wrong", (FAULT,)),
]


def crossed(error, verb="status"):
    frame = failure_frame(7, error, verb)
    reply = unpack(frame[4:], Reply)
    assert (reply.id, reply.ok) == (7, False)
    return restore(reply.error, f"control:{verb}")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_it_was_raised(error):
    """Class, fields, text, outcome and faults are the same on the other side."""
    arrived = crossed(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.outcome is error.outcome
    assert arrived.faults == error.faults
    for field in attrs.fields(type(error)) if attrs.has(type(error)) else ():
        assert getattr(arrived, field.name) == getattr(error, field.name)


def test_every_class_of_the_tree_has_an_example():
    """A class that is added must cross, too."""
    tree = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JackfieldError)}
    assert {type(error) for error in EXAMPLES} == tree


def test_a_foreign_exception_is_a_crash_of_the_verb_with_its_stack():
    """What is not jackfield's is named, and where it came from is kept as text."""

    def broken():
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        broken()
    arrived = crossed(caught.value, "reload")
    assert isinstance(arrived, FunctionCrashed)
    assert (arrived.function, arrived.error_type, arrived.message) == ("control:reload", "KeyError", "")
    assert "broken" in arrived.remote_stack


def test_a_crash_takes_the_stack_of_its_cause_along():
    """The cause stays in the host; its frames do not."""

    def body():
        raise ValueError("inner")

    with pytest.raises(FunctionCrashed) as caught:
        try:
            body()
        except ValueError as error:
            raise FunctionCrashed("f", "ValueError") from error
    assert "body" in crossed(caught.value).remote_stack


def test_an_unknown_subclass_arrives_as_the_nearest_known_class():
    """An embedder's own error is caught by the class that everybody knows."""

    class Mine(Unavailable):
        def __init__(self):
            super().__init__("shelf", "empty")

    arrived = crossed(Mine())
    assert type(arrived) is Unavailable
    assert str(arrived) == "shelf: empty"


def test_an_error_whose_text_cannot_be_made_still_arrives():
    """A field that raises when shown takes nothing else with it."""

    class Rude:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    arrived = crossed(Unavailable("x", Rude()))
    assert isinstance(arrived, Unavailable)
    assert "Rude" in arrived.reason


@pytest.mark.parametrize("fields", [{}, {"what": 3, "reason": "r"}, {"what": "w"}])
def test_fields_of_another_version_become_a_crash_with_the_message(fields):
    """What does not fit is not guessed at."""
    arrived = restore(Failure("Unavailable", "store: gone", "unavailable", fields), "status")
    assert isinstance(arrived, FunctionCrashed)
    assert "store: gone" in str(arrived)


@pytest.mark.parametrize("name", ["SystemExit", "Fault", "Outcome", "OUTCOMES", "object", "__builtins__", ""])
def test_only_errors_of_jackfield_are_made_from_a_name(name):
    """A name cannot make the client build anything else."""
    assert isinstance(restore(Failure(name, "m", "crashed", {}), "v"), FunctionCrashed)


def test_a_result_that_is_too_large_is_an_error_that_says_so():
    """The client is told, instead of being cut off."""
    reply = unpack(reply_frame(Reply(1, ok=True, result=b"x" * (LIMIT + 1)), "dump-state")[4:], Reply)
    arrived = restore(reply.error, "control:dump-state")
    assert isinstance(arrived, ResourceExhausted)
    assert "control:dump-state" in str(arrived)


def test_an_error_that_is_too_large_is_cut():
    """Its class and the start of its text arrive."""
    arrived = crossed(Rejected("m" * 10_000, details={"x": b"x" * (LIMIT + 1)}))
    assert "mmmm" in str(arrived)
    assert describe(Rejected("m"), "v").type == "Rejected"


def test_a_reply_says_only_what_is_needed():
    """Fields that have their default are left out, so that old clients read what they know."""
    assert msgspec.msgpack.decode(reply_frame(Reply(1, ok=True, result=2), "v")[4:]) == {
        "id": 1,
        "ok": True,
        "result": 2,
    }
