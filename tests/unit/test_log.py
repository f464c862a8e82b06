"""What jackfield says: its own sinks first, else loguru alone."""

import os

import pytest
from loguru import logger

from jackfield.cli.messages import open_messages
from jackfield.cli.outlet import Outlet
from jackfield.log import host_log, install
from jackfield.observe.logger import Logger


@pytest.fixture
def through_loguru():
    """The messages that loguru's sinks get."""
    records = []
    sink = logger.add(lambda message: records.append(message.record), level="DEBUG")
    yield records
    logger.remove(sink)


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_an_own_sink_gets_what_the_host_and_its_plugins_say(through_loguru):
    """The host's words go there instead of to loguru, a plugin's to both; afterwards all is as it was."""
    said = []
    remove = install(said.append)
    host_log("WARNING", "watch {out}", port=80)
    Logger("shop", batch=7).info("sold", rows=3)
    remove()
    host_log("WARNING", "as ever")
    assert [(one.level, one.text, dict(one.fields)) for one in said] == [
        ("WARNING", "watch {out}", {"port": 80}),
        ("INFO", "sold", {"batch": 7, "rows": 3, "plugin": "shop"}),
    ]
    assert said[0].module == __name__
    assert [record["message"] for record in through_loguru] == ["sold", "as ever"]


def test_the_hosts_words_are_one_line(through_loguru):
    """Plugins choose parts of them."""
    host_log("ERROR", "plugin x\n12:00:00 ERROR forged\x1b[2J", ValueError("no"))
    (record,) = through_loguru
    assert record["message"] == "plugin x\\n12:00:00 ERROR forged\\x1b[2J: ValueError"
    assert record["extra"]["error_type"] == "ValueError"
    assert record["exception"] is None


def test_lines_that_find_no_room_are_lost_counted_and_told(pipe):
    """Whoever writes does not wait, not even while nobody reads."""
    reader, writer = pipe
    said = []
    remove = install(said.append)
    outlet = Outlet(writer, "stderr")
    line = "x" * 65_535 + "\n"
    for _ in range(100):
        outlet.write(line)
    assert outlet.lost > 0
    read = 0
    while not said:
        read += len(os.read(reader, 1 << 20))
        outlet.write("more\n")
    remove()
    assert "stderr can be written again" in said[0].text
    assert read


def test_a_stream_that_is_gone_loses_its_lines_and_nobody_hears_of_it(pipe):
    """Neither whoever writes, nor whoever closes."""
    reader, writer = pipe
    os.close(reader)
    outlet = Outlet(writer, "stdout")
    outlet.write("lost\n")
    outlet.say("lost")
    outlet.close(5.0)
    assert outlet.lost == 2
    shut = Outlet(writer + 500, "stderr")
    shut.say("nowhere")
    shut.close(5.0)


def test_a_sink_of_loguru_that_raises_or_hangs_reaches_nobody_else(pipe):
    """The copies are another thread's business."""
    reader, writer = pipe
    outlet = Outlet(writer, "stderr")
    close = open_messages(outlet, shown=True)
    sink = logger.add(lambda _: 1 / 0, catch=False, level="ERROR")
    host_log("ERROR", "one")
    host_log("WARNING", "two")
    outlet.close(5.0)
    logger.remove(sink)
    close()
    lines = os.read(reader, 65_536).decode().splitlines()
    assert [('"message":"one"' in line, '"message":"two"' in line) for line in lines] == [(True, False), (False, True)]
