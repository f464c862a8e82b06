"""What goes through loguru arrives in the standard library's logging."""

import json
import logging
import subprocess
import sys
import textwrap

import pytest
from loguru import logger

from jackfield import FunctionCrashed, Host, Logger, Logs, inject, to_logging
from jackfield.errors import Fault
from jackfield.log import host_log


@pytest.fixture
def arrived(caplog):
    caplog.set_level(logging.DEBUG)
    end = to_logging()
    yield lambda name: [record for record in caplog.records if record.name == name]
    end()


def fail() -> None:
    raise ValueError("secret")


def test_the_record_of_a_failed_call_arrives(arrived):
    """As ERROR of `jackfield.calls`, its fields are attributes, and it holds no text of the exception."""
    with Host(observers=[Logs()]) as host:
        host.register("f", fail, version="1.0", plugin="billing")
        with pytest.raises(FunctionCrashed):
            host.call("f", tenant="t-1")
    (record,) = arrived("jackfield.calls")
    assert (record.levelname, record.func_name, record.version, record.plugin) == ("ERROR", "f", "1.0", "billing")
    assert (record.outcome, record.error_type, record.tenant) == ("crashed", "ValueError", "t-1")
    assert record.getMessage().startswith("f@1.0 for t-1 crashed after")
    assert "secret" not in str(vars(record))


def test_what_a_plugin_says_arrives_under_its_module(arrived):
    """With its own file and line, with the call, and with fields that `logging` has names for already."""

    def speak(*, log: Logger = inject()) -> None:
        log.info("{loaded} 100%", rows=7, name="mine", message="more")

    with Host(observers=()) as host:
        host.register("f", speak, plugin="billing")
        host.call("f")
    (record,) = arrived(__name__)
    assert record.getMessage() == "{loaded} 100%"
    assert (record.filename, record.funcName) == ("test_to_logging.py", "speak")
    assert (record.plugin, record.func_name, record.rows) == ("billing", "f", 7)
    assert (record.name_, record.message_) == ("mine", "more")


def test_what_the_host_says_arrives_with_the_kind_of_its_exception(arrived):
    """Under jackfield's own module's name; what the exception says may be a secret, and stays where it is."""
    error = ValueError("secret")
    host_log("WARNING", Fault(plugin="billing", entry="", stage="start", reason="it did not", fix="look"), error)
    (record,) = arrived(__name__)
    assert (record.levelname, record.plugin, record.stage) == ("WARNING", "billing", "start")
    assert "ValueError" in record.getMessage()
    assert "secret" not in str(vars(record))


def test_what_anybody_else_says_through_loguru_arrives_with_its_exception(arrived):
    """As `logging` has it."""
    error = ValueError("why")
    logger.opt(exception=error).warning("it did not")
    (record,) = arrived(__name__)
    assert (record.getMessage(), record.exc_info[1]) == ("it did not", error)


def test_the_levels_are_those_of_logging(arrived):
    """A logger that is quiet is quiet."""
    logging.getLogger("jackfield.calls").setLevel(logging.CRITICAL)
    try:
        with Host(observers=[Logs()]) as host:
            host.register("f", fail)
            with pytest.raises(FunctionCrashed):
                host.call("f")
    finally:
        logging.getLogger("jackfield.calls").setLevel(logging.NOTSET)
    assert arrived("jackfield.calls") == []


def test_it_ends(caplog):
    """And may be ended twice."""
    end = to_logging()
    end()
    end()
    logger.warning("not there")
    assert caplog.records == []


def test_nothing_is_written_twice():
    """The sink that loguru begins with goes: a process that uses `logging` has each line once, in its own form."""
    program = """
    import json, logging
    from jackfield import Host, Logs, to_logging
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.INFO)
    to_logging()
    to_logging()()
    with Host(observers=[Logs()]) as host:
        try:
            host.call("nobody")
        except Exception as error:
            print(json.dumps(type(error).__name__))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == "FunctionNotFound"
    (line,) = ran.stderr.splitlines()
    assert line.startswith("WARNING jackfield.calls nobody not_found after")
