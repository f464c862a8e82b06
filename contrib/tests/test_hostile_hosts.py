"""What answers a client may be anybody: none of it fills the memory, steers a terminal, or looks like our own fault."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from attacked import LIMIT, MB
from serving import Scripted, answer

from jackfield.errors import JackfieldError, Unavailable
from jackfield_contrib.client import Client

STEERS = "\x1b]0;owned\x07\x1b[31mred\x1b[2J\u202e\x9b31m\r\nforged"
KEY = "jf_nobody_is_to_see_this"
ROW = {"name": STEERS, "version": STEERS, "plugin": STEERS, "about": STEERS}
CALL = {"id": STEERS, "function": STEERS, "status": STEERS, "submitted": STEERS, "key": STEERS, "tenant": STEERS}


def told(said, status=200, kind="application/json"):
    return answer(status, json.dumps(said).encode(), kind)


def problem(status, **members):
    return told({"detail": STEERS, "title": STEERS, **members}, status, "application/problem+json")


ANSWERS = {
    "functions": (("list",), told([ROW])),
    "functions without what is shown": (("list",), told([{"name": 1}, {}])),
    "no list": (("list",), told(None)),
    "a list that is deep": (("list",), answer(200, b"[" * 5_000 + b"]" * 5_000, "application/json")),
    "a contract": (
        ("info", "x"),
        told(
            {
                **ROW,
                "shape": STEERS,
                "returns": STEERS,
                "parameters": [{"name": STEERS, "kind": STEERS, "shown": STEERS}],
            }
        ),
    ),
    "a contract that is none": (("info", "x"), told({"name": [], "parameters": {"a": 1}, "payload_schema": [1]})),
    "calls": (("calls",), told([CALL])),
    "calls without what is shown": (("calls",), told([{"id": "x"}])),
    "an id": (("submit", "x"), told({"id": STEERS, "function": STEERS, "status": "accepted"}, 202)),
    "a state": (("result", "x"), told({"status": STEERS})),
    "how a call ended": (("result", "x"), told({"status": "failed", "problem": {"outcome": STEERS, "detail": STEERS}})),
    "whether it is cancelled": (("cancel", "x"), told({"id": STEERS, "status": STEERS, "cancelled": STEERS})),
    "an outcome that there is not": (("call", "x"), problem(500, outcome=STEERS, error=STEERS)),
    "a refusal": (("call", "x"), problem(422, outcome="rejected", error="Rejected", code=STEERS, details={STEERS: 1})),
    "a function that is not there": (
        ("call", "x"),
        problem(404, outcome="not_found", error="FunctionNotFound", function=STEERS, close=[STEERS], versions=[STEERS]),
    ),
    "text": (("call", "x"), answer(500, STEERS.encode(), "text/plain")),
    "somewhere else": (("list",), answer(307, Location="http://elsewhere.example/\x1b[31m")),
    "no HTTP": (("list",), b"\x1b[31mnot http\r\n\r\n"),
    "a status that there is not": (("list",), answer(999)),
    "nothing": (("list",), answer(204)),
    "a header without end": (("list",), b"HTTP/1.1 200 OK\r\nX: " + b"a" * MB + b"\r\n\r\n"),
    "headers without end": (("list",), b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 100_000),
    "two lengths": (("list",), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n[]  "),
    "more than it sends": (("list",), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]"),
    "more than there may be": (("list",), b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n[]"),
    "millions of lists": (
        ("list",),
        answer(200, b"\xdd" + (4_000_000).to_bytes(4, "big") + b"\x90" * 4_000_000, "application/msgpack"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", ANSWERS)
def test_whatever_a_host_says_is_shown_as_text_or_told_as_an_error(which):
    """In a line that says who answered, not with a stack; and the key goes nowhere else."""
    verb, said = ANSWERS[which]
    with Scripted(said) as server:
        done = subprocess.run(
            [sys.executable, "-m", "jackfield", "--host", server.url, *verb],
            capture_output=True,
            timeout=LIMIT,
            env={**os.environ, "JACKFIELD_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode in {0, 1}, shown
    for sign in ("\x1b", "\x07", "\x9b", "\u202e", "\nforged", "Traceback", "a fault of jackfield", KEY):
        assert sign not in shown
    assert all(KEY.encode() in request for request in server.requests)  # it had been sent, to whom it is meant for


@contextmanager
def endless(head, part):
    """Answer without end, whoever asks, and count the bytes that somebody has read."""
    sent = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                try:
                    connection.sendall(head)
                    while True:
                        connection.sendall(part)
                        sent.append(len(part))
                except OSError:  # it has had enough
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        thread.join(LIMIT)
        assert not thread.is_alive()


@pytest.mark.slow
def test_an_answer_without_end_is_left(monkeypatch):
    """Also by a call that has all the time that there is."""
    monkeypatch.setattr("jackfield_contrib.client.reading.LARGEST", 8 * MB)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with endless(head, chunk) as (url, sent), Client(url) as client, pytest.raises(Unavailable) as caught:
        client.call("x")
    assert (caught.value.cause, "bytes" in str(caught.value)) == ("protocol", True)
    assert sum(sent) < 32 * MB


def test_an_answer_that_comes_a_byte_at_a_time_is_waited_for_as_long_as_the_call_has():
    """And no longer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    with endless(head, b" ") as (url, _), Client(url) as client, pytest.raises(JackfieldError):
        client.call("x", timeout=0.3)
