"""The log record of a call."""

import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger as loguru
from opentelemetry.trace import SpanContext

from jackfield.errors import OUTCOMES, DeadlineExceeded, FunctionCrashed, FunctionNotFound, Outcome, Rejected
from jackfield.model.call import Call
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logs import Logs
from jackfield.ports import Observer

TRACE = SpanContext(0xABC, 0xDEF, is_remote=False)


def spec(name="risk.score", version="1.4", plugin="risk"):
    return FunctionSpec(name, version, plugin, "", str.lower, Colour.SYNC)


def crashed(text="card 4111"):
    try:
        raise ValueError(text)  # noqa: TRY301  # to have a traceback
    except ValueError as error:
        crash = FunctionCrashed("risk.score", "ValueError", text, "1.4", "risk")
        crash.__cause__ = error
        return crash


def log(logs, outcome=Outcome.OK, error=None, duration=0.0123456, of=None, **fields):
    bound = logs.bind(of or spec())
    call = Call(fields.pop("name", "risk.score"), version="1.4", **fields)
    state = bound.start(call)
    bound.finish(state, call, outcome, error, duration)


def written(stream):
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def records():
    seen = []
    number = loguru.add(lambda message: seen.append(message.record), level="DEBUG", catch=False)
    yield seen
    loguru.remove(number)


def test_it_is_an_observer():
    """The public observer fits the port."""
    assert isinstance(Logs(), Observer)


def test_a_successful_call_is_one_flat_record():
    """The record has exactly the documented fields, none nested."""
    stream = io.StringIO()
    log(Logs(stream), trace=TRACE, tenant="t-1", payload={"card": "4111"}, headers={"authorization": "Bearer x"})
    (record,) = written(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("timestamp"))
    assert record == {
        "level": "INFO",
        "event": "call",
        "trace_id": f"{0xABC:032x}",
        "span_id": f"{0xDEF:016x}",
        "func_name": "risk.score",
        "version": "1.4",
        "plugin": "risk",
        "tenant": "t-1",
        "duration_ms": 12.345,
        "outcome": "ok",
    }


def test_what_a_call_does_not_have_is_left_out():
    """No empty fields: no tenant, no trace, no plugin."""
    stream = io.StringIO()
    log(Logs(stream), of=spec(plugin=""), duration=0.0)
    assert written(stream)[0].keys() == {
        "timestamp",
        "level",
        "event",
        "func_name",
        "version",
        "duration_ms",
        "outcome",
    }


def test_a_crash_has_type_and_stack_and_no_value():
    """The stack is a list of frames; neither the payload nor the message nor a variable is in the record."""
    stream = io.StringIO()
    log(Logs(stream), Outcome.CRASHED, crashed(), payload={"card": "4111"})
    (record,) = written(stream)
    assert record["level"] == "ERROR"
    assert record["error_type"] == "ValueError"
    assert re.fullmatch(r".+test_observe_logs\.py:\d+ crashed", record["stack"][0])
    assert "4111" not in stream.getvalue()


def test_the_message_is_there_when_asked_for():
    """`messages=True` adds the error's own text."""
    stream = io.StringIO()
    log(Logs(stream, messages=True), Outcome.CRASHED, crashed())
    assert written(stream)[0]["message"] == "card 4111"


def test_a_rejection_has_its_code_and_no_stack():
    """It is a business refusal, not a fault."""
    stream = io.StringIO()
    log(Logs(stream), Outcome.REJECTED, Rejected("amount 7 is too small", code="bad_amount"))
    (record,) = written(stream)
    assert (record["level"], record["outcome"], record["code"]) == ("INFO", "rejected", "bad_amount")
    assert "stack" not in record
    assert "amount" not in record.keys() | {record["error_type"]}


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
def test_every_failure_is_logged_at_the_level_of_the_one_table(outcome):
    """Failed calls are logged even where successes are not wanted."""
    stream = io.StringIO()
    logs = Logs(stream, successes=False)
    log(logs)
    log(logs, outcome, DeadlineExceeded("risk.score"))
    (record,) = written(stream)
    assert (record["outcome"], record["level"]) == (outcome.value, OUTCOMES[outcome].level)


def test_an_unknown_name_is_logged_as_it_was_asked_for():
    """All unknown names share one spec; the record says which it was, cut to a sane length."""
    stream = io.StringIO()
    error = FunctionNotFound("risk.scor")
    log(Logs(stream), Outcome.NOT_FOUND, error, of=spec("(unknown)", "", ""), name="risk.scor")
    log(Logs(stream), Outcome.NOT_FOUND, error, of=spec("(unknown)", "", ""), name="x" * 10_000)
    first, second = written(stream)
    assert first["func_name"] == "risk.scor"
    assert len(second["func_name"]) == 255


@given(st.text(), st.text())
def test_any_tenant_and_any_code_make_one_valid_line(tenant, code):
    """A record is one line of JSON whatever the texts are: line ends, quotes, lone surrogates."""
    stream = io.StringIO()
    log(Logs(stream), Outcome.REJECTED, Rejected("x", code), tenant=tenant)
    assert stream.getvalue().count("\n") == 1
    (record,) = written(stream)
    assert record.get("tenant", "") == tenant
    assert record.get("code", "") == code


def test_a_stream_that_is_not_utf8_gets_escapes():
    """No record is lost to the encoding of a stream."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    log(Logs(stream), tenant="Köln")
    assert json.loads(raw.getvalue())["tenant"] == "Köln"


def test_a_terminal_gets_a_readable_coloured_line(monkeypatch):
    """Level, what happened, where; the frames of a crash below it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    log(Logs(stream), trace=TRACE)
    log(Logs(stream), Outcome.CRASHED, crashed())
    first, second, frame = stream.getvalue().splitlines()
    assert "risk.score@1.4 ok after 12.345 ms" in first
    assert f"{0xABC:032x}" in first
    assert "\x1b[32m" in first
    assert "\x1b[31m" in second
    assert "crashed after 12.345 ms: ValueError at" in second
    assert frame.endswith(" crashed")


def test_no_color_is_heeded(monkeypatch):
    """`NO_COLOR` takes the colours away."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log(Logs(stream))
    assert "\x1b" not in stream.getvalue()


def test_a_text_cannot_steer_the_terminal(monkeypatch):
    """Control characters of a tenant or a message are shown, not obeyed, and forge no line."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log(Logs(stream, messages=True), Outcome.CRASHED, FunctionCrashed("f", "E", "\x1b[2J\nroot"), tenant="a\rb")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_without_a_stream_failures_go_through_loguru(records):
    """The process's sinks get a sentence and the fields; successes are not wanted, values never."""
    log(Logs())
    log(Logs(), Outcome.CRASHED, crashed(), trace=TRACE, tenant="{t}")
    (record,) = records
    assert record["level"].name == "ERROR"
    assert re.search(
        r"^risk\.score@1\.4 for \{t\} crashed after 12\.345 ms: ValueError at .+:\d+ crashed$", record["message"]
    )
    assert record["extra"]["trace_id"] == f"{0xABC:032x}"
    assert record["extra"]["func_name"] == "risk.score"
    assert len(record["extra"]["stack"]) == 1
    assert record["exception"] is None
    assert "4111" not in record["message"]


def test_all_records_go_through_loguru_where_asked(records):
    """`loguru=True` is for every call."""
    log(Logs(loguru=True))
    assert records[0]["extra"]["outcome"] == "ok"
    assert records[0]["message"] == "risk.score@1.4 ok after 12.345 ms"


def test_a_sink_is_never_added():
    """The embedding process decides where messages go."""
    before = repr(loguru)
    log(Logs(), Outcome.CRASHED, crashed())
    log(Logs(loguru=True))
    assert repr(loguru) == before


def test_a_stream_and_loguru_together_are_refused():
    """The message says what to do instead."""
    with pytest.raises(ValueError, match="not both"):
        Logs(sys.stderr, loguru=True)


def test_a_closed_stream_is_reported_once_and_reaches_nobody(records):
    """Calls go on when their records cannot be written."""
    stream = io.StringIO()
    logs = Logs(stream)
    stream.close()
    for _ in range(100):
        log(logs)
    (record,) = records
    assert record["level"].name == "ERROR"
    assert "closed file" in record["message"]


def test_a_stream_that_recovers_says_how_much_was_lost(records):
    """A disk that is full for a while is no reason to be silent for ever."""

    class Flaky(io.StringIO):
        full = False

        def write(self, text):
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Flaky()
    logs = Logs(stream)
    stream.full = True
    log(logs)
    log(logs)
    stream.full = False
    log(logs)
    log(logs)
    assert [record["level"].name for record in records] == ["ERROR", "WARNING"]
    assert "2 call records were lost" in records[1]["message"]
    assert len(written(stream)) == 2
