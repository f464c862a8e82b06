"""What a connection of the door does with bytes: one request after the other, each answered by itself, in order."""

import asyncio
import contextlib
import re
import socket
import threading
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Host
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http.door import HttpDoor

LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):  # which some Pythons have not
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.fixture(scope="module", params=LOOPS)
def door(request):
    """Serve an echo, and a function that waits until it is cancelled."""
    host = Host(observers=())
    host.use_loop(LOOPS[request.param])
    with host:
        door = HttpDoor(host, HttpDoorConfig(port=0))
        door.begun, door.ended = threading.Semaphore(0), threading.Semaphore(0)

        async def wait() -> None:
            door.begun.release()
            try:
                await asyncio.sleep(3_600)
            finally:
                door.ended.release()

        async def echo(text: str) -> str:
            return text

        host.register("wait", wait)
        host.register("echo", echo)

        async def leave_behind(text: str) -> bool:
            found = left.get()
            left.set(True)
            return found

        host.register("leave_behind", leave_behind)
        host.register("long", lambda: "x" * 3_000_000)
        host.run_at_home(door.open(), 20.0)
        yield door
        host.run_at_home(door.close(0.0), 30.0)


left = ContextVar("left", default=False)
"""What a function leaves behind in the context that it runs in."""


def connect(door):
    return socket.create_connection(("127.0.0.1", int(door.address.rpartition(":")[2])), timeout=60)


def post(name, body=b"", *lines):
    head = [b"POST /v1/functions/" + name + b" HTTP/1.1", b"Host: door", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


def echo(text, *lines):
    return post(b"echo", b'"%s"' % text, *lines)


def chunked(text, size):
    body = b'"%s"' % text
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    head = b"POST /v1/functions/echo HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def until_closed(connection):
    got = b""
    while part := connection.recv(65_536):
        got += part
    return got


LAST = b"Connection: close"


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.none() | st.integers(1, 40)), min_size=1, max_size=40),
    st.lists(st.integers(1, 2_000), max_size=12),
)
def test_however_requests_are_cut_into_packets_each_is_answered_in_order(door, requests, cuts):
    """Many may come at once, and each in any number of parts, with a length or in chunks."""
    sent = b""
    for number, (length, size) in enumerate(requests):
        text = b"%d-%s" % (number, b"a" * length)
        sent += echo(text) if size is None else chunked(text, size)
    sent += echo(b"end", LAST)
    with connect(door) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in cuts:
            connection.sendall(sent[:cut])
            sent = sent[cut:]
        connection.sendall(sent)
        got = until_closed(connection)
    said = re.findall(rb'\r\n\r\n"([^"]*)"', got)
    expected = [b"%d-%s" % (number, b"a" * length) for number, (length, _) in enumerate(requests)]
    assert said == [*expected, b"end"]
    assert got.count(b"HTTP/1.1 200 OK\r\n") == len(said)


def test_who_leaves_cancels_what_runs_and_what_waits_behind_it_never_begins(door):
    """Though requests were sent behind one another."""
    with connect(door) as connection:
        connection.sendall(post(b"wait") * 3)
        assert door.begun.acquire(timeout=60)
    assert door.ended.acquire(timeout=60)
    with connect(door) as connection:
        connection.sendall(echo(b"next", LAST))
        assert b'"next"' in until_closed(connection)
    assert not door.begun.acquire(blocking=False)


def test_what_comes_whole_before_what_is_no_request_is_answered(door):
    """And nothing after it."""
    with connect(door) as connection:
        connection.sendall(echo(b"first") + echo(b"second") + b"\x00\x01 nothing\r\n\r\n" + echo(b"third"))
        got = until_closed(connection)
    assert re.findall(rb'"(\w+)"$', got) == [b"second"]
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert b"third" not in got


def test_a_client_that_waits_for_a_word_gets_it(door):
    """And one that does not wait gets its answer alone."""
    body = b'"a"'
    head = post(b"echo", body, b"Expect: 100-continue", LAST)
    with connect(door) as connection:
        connection.sendall(head[: -len(body)])
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b'"a"' in until_closed(connection)
    with connect(door) as connection:
        connection.sendall(head)
        assert until_closed(connection).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("version", "lines", "closed"), [(b"1.0", [], True), (b"1.1", [LAST], True), (b"1.1", [], False)]
)
def test_a_connection_is_kept_as_its_client_asks(door, version, lines, closed):
    """What ends it says so."""
    with connect(door) as connection:
        connection.sendall(echo(b"a", *lines).replace(b"HTTP/1.1", b"HTTP/" + version))
        got = b""
        while not got.endswith(b'"a"'):
            got += connection.recv(65_536)
        assert (b"connection: close\r\n" in got) is closed
        if closed:
            assert connection.recv(1) == b""
        else:
            connection.sendall(echo(b"b", LAST))
            assert b'"b"' in until_closed(connection)


def test_what_head_asks_for_is_told_without_it(door):
    """With the length that it would have."""
    with connect(door) as connection:
        connection.sendall(b"HEAD /v1/functions HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n")
        head, _, body = until_closed(connection).partition(b"\r\n\r\n")
    assert int(re.search(rb"content-length: (\d+)", head)[1]) > 0
    assert body == b""


def test_an_answer_larger_than_what_a_client_reads_at_once_comes_whole(door):
    """With the next one behind it."""
    with connect(door) as connection:
        connection.sendall(post(b"long") + echo(b"end", LAST))
        got = until_closed(connection)
    assert got.count(b"x") > 3_000_000
    assert got.endswith(b'"end"')


def test_what_a_call_leaves_in_its_context_is_not_there_for_the_next_one(door):
    """Not when that has waited behind it, nor when the door has begun to read again because of it."""
    large = b'"%s"' % (b"a" * 3_000_000)
    with connect(door) as connection:
        connection.sendall(post(b"leave_behind", b'"a"') * 2 + post(b"leave_behind", large))
        connection.sendall(post(b"leave_behind", large) + post(b"leave_behind", b'"a"', LAST))
        got = until_closed(connection)
    assert re.findall(rb"\r\n\r\n(false|true)", got) == [b"false"] * 5


def test_a_client_of_http_1_0_gets_no_chunks(door):
    """Of an answer whose length is not known it is told the end by that of the connection."""
    asked = echo(b"a", b"Accept: text/event-stream").replace(b"HTTP/1.1", b"HTTP/1.0")
    with connect(door) as connection:
        connection.sendall(asked)
        head, _, body = until_closed(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head
    assert body == b'event: result\ndata: "a"\n\n'


def test_a_client_of_http_1_0_gets_no_answer_before_its_answer(door):
    """It knows nothing of those, whatever it sends."""
    body = b'"a"'
    head = post(b"echo", body, b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    with connect(door) as connection:
        connection.sendall(head[: -len(body)])
        connection.sendall(body)
        assert until_closed(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_waits_for_a_word_and_is_refused_sends_nothing_more(door):
    """Else the door would take its next request for the body that it has kept to itself."""
    with connect(door) as connection:
        large = b"Content-Length: %d" % 2**40
        head = [b"POST /v1/functions/echo HTTP/1.1", b"Host: door", large, b"Expect: 100-continue", b"", b""]
        connection.sendall(b"\r\n".join(head))
        got = until_closed(connection)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close\r\n" in got
