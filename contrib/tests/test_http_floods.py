"""Requests without end over one connection: others are served, nothing grows, and nothing of it is in the log."""

import threading
import time

import httpx
import pytest
from attacked import LIMIT, MB, Attacked

GROWN = 100 * MB
LONG = 3.0  # seconds of a flood
SMALL = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"POST /v1/functions/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n0.5"


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def served(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="NOT TESTED with uvloop, which is not installed")
    with Attacked("http", request.param) as made:
        yield made
    assert made.log == ""


def works(served):
    answer = httpx.post(f"{served.url}/v1/functions/add", json={"a": 1, "b": 2}, timeout=LIMIT)
    return answer.status_code == 200 and answer.json() == 3


def send(connection, what, until):
    try:
        while time.monotonic() < until:
            connection.sendall(what)
    except OSError:  # it has enough, or reads no more
        return


def read(connection):
    try:
        while connection.recv(MB):
            pass
    except OSError:
        return


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("one", [SMALL * 1_000, SLOW + SMALL * 1_000], ids=["quick", "behind a slow one"])
def test_requests_behind_one_another_without_end_keep_nobody_out(served, one, reads):
    """Of those that wait for the one before them only some are read, though thousands are in what came at once."""
    served.most, before = 0, served.memory()
    until = time.monotonic() + LONG
    connections = [served.connect() for _ in range(5)]
    for connection in connections:
        connection.settimeout(LONG)
        threading.Thread(target=send, args=(connection, one, until), daemon=True).start()
        if reads:
            threading.Thread(target=read, args=(connection,), daemon=True).start()
    try:
        while time.monotonic() < until:
            assert works(served)
            served.memory()
    finally:
        for connection in connections:
            connection.close()
    assert works(served)
    assert served.most - before < GROWN
    served.settles(lambda: served.stats()["connections"] <= 1)
