"""The logger that plugins get."""

import inspect

import pytest
from loguru import logger as loguru
from opentelemetry.trace import SpanContext

from jackfield.errors import Fault
from jackfield.model.call import Call, current
from jackfield.model.deadline import deadline
from jackfield.observe.logger import Logger, host_log


@pytest.fixture
def records():
    seen = []
    number = loguru.add(lambda message: seen.append(message.record), level="DEBUG", catch=False, format="{message}")
    yield seen
    loguru.remove(number)


@pytest.fixture
def call():
    trace = SpanContext(0xABC, 0xDEF, is_remote=False)
    token = current.set(Call("risk.score", version="1.4", tenant="t-1", trace=trace))
    yield
    current.reset(token)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_record_has_plugin_and_fields_at_its_level(records, level):
    """Outside any call a record has the plugin and what was given."""
    getattr(Logger("billing"), level)("loaded", rows=3)
    (record,) = records
    assert record["level"].name == level.upper()
    assert record["message"] == "loaded"
    assert record["extra"] == {"plugin": "billing", "rows": 3}


def test_a_record_joins_the_call_that_runs_when_it_is_written(records, call):
    """Name, version, tenant and trace come from the call, not from where the logger was made."""
    Logger("risk").info("scored")
    assert records[0]["extra"] == {
        "plugin": "risk",
        "func_name": "risk.score",
        "version": "1.4",
        "tenant": "t-1",
        "trace_id": f"{0xABC:032x}",
        "span_id": f"{0xDEF:016x}",
    }


def test_a_deadline_block_does_not_hide_the_call(records, call):
    """The ambient call of `deadline()` is looked through."""
    with deadline(60):
        Logger("risk").info("scored")
    assert records[0]["extra"]["func_name"] == "risk.score"


def test_a_record_names_the_plugins_own_line(records):
    """File, function and line are those of the code that logs, for every method."""
    log = Logger("billing")
    log.info("here")
    line = inspect.currentframe().f_lineno - 1
    log.info("there", rows=1)
    try:
        int("x")
    except ValueError:
        log.exception("broken")
    assert [record["line"] for record in records] == [line, line + 2, line + 6]
    assert {record["file"].path for record in records} == {__file__}
    assert {record["function"] for record in records} == {inspect.currentframe().f_code.co_name}


@pytest.mark.parametrize("text", ["{", "}", "{0}", "{user}", "{{}}", "{a.__class__}", "100 %", "<red>"])
def test_braces_in_a_message_mean_nothing(records, text):
    """What users typed is logged as it is, with and without fields."""
    log = Logger("billing")
    log.info(text)
    log.info(text, user="u")
    assert [record["message"] for record in records] == [text, text]


def test_fields_may_have_any_name(records):
    """Not even `self` and `message` are taken."""
    Logger("billing").info("x", self=1, message=2, record=3, level=4)
    assert records[0]["message"] == "x"
    assert records[0]["extra"] == {"plugin": "billing", "self": 1, "message": 2, "record": 3, "level": 4}


def test_bind_makes_a_new_logger(records):
    """Bound fields are in every record of the new logger, and only there; the plugin cannot be forged."""
    log = Logger("billing")
    log.bind(batch=7).bind(step=1, plugin="other").info("x", step=2)
    log.info("y")
    assert records[0]["extra"] == {"plugin": "billing", "batch": 7, "step": 2}
    assert records[1]["extra"] == {"plugin": "billing"}


def test_an_exception_is_logged_with_frames_and_without_values(records):
    """Type and frames are there; the values of variables, which loguru would print, are not."""
    secret = "4111-1111"  # noqa: S105
    try:
        int(secret)
    except ValueError:
        Logger("billing").exception("charging {card} failed", attempt=2)
    (record,) = records
    assert record["exception"] is None
    assert record["extra"]["error_type"] == "ValueError"
    assert record["extra"]["attempt"] == 2
    assert record["extra"]["stack"] == [record["message"].splitlines()[1].strip()]
    assert record["message"].startswith("charging {card} failed: ValueError\n")
    assert secret not in record["message"]


def test_exception_outside_a_handler_is_an_error(records):
    """There is nothing to show, and nothing breaks."""
    Logger("billing").exception("nothing happened")
    assert records[0]["level"].name == "ERROR"


def test_a_message_below_the_level_looks_nothing_up(call):
    """The running call is looked up only for a record that some sink wants."""
    loguru.remove()
    number = loguru.add(lambda _: None, level="WARNING")
    try:
        touched = []

        class Watched(SpanContext):
            @property
            def trace_id(self):
                touched.append(1)
                return super().trace_id

        token = current.set(Call("f", trace=Watched(1, 2, is_remote=False)))
        Logger("billing").info("quiet")
        assert not touched
        Logger("billing").warning("loud")
        assert touched
        current.reset(token)
    finally:
        loguru.remove(number)


def test_the_hosts_own_messages_come_from_jackfield(records):
    """They can be switched off by the package's name, and a fault brings its fields."""
    host_log("WARNING", "no {braces}", port=80)
    host_log("WARNING", Fault("import", "shop", "shop.pay", "no module", "install it"))
    assert records[0]["message"] == "no {braces}"
    assert records[0]["extra"] == {"port": 80}
    assert records[1]["extra"]["stage"] == "import"
    assert "shop.pay" in records[1]["message"]
