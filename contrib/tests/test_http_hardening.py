"""What strangers send to a door: each gets a defined answer or none, and nothing of it holds the door or its memory."""

import asyncio
import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import httpx
import pytest

from jackfield import Host, current_call
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http import Bounds
from jackfield_contrib.http.connection import HEAD
from jackfield_contrib.http.door import HttpDoor


def add(a: int, b: int) -> int:
    return a + b


def seen() -> dict:
    return dict(current_call().headers)


def echo(text: str) -> str:
    return text


LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):  # which some Pythons have not
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.fixture(params=LOOPS)
def host(request):
    """Make a host on a loop of each kind that serves doors."""
    made = Host(observers=())
    made.use_loop(LOOPS[request.param])
    with made:
        for each in (add, seen, echo):
            made.register(each.__name__, each)
        yield made


@pytest.fixture
def opened(host):
    doors = []

    def open_door(**bounds):
        door = HttpDoor(host, HttpDoorConfig(port=0), bounds=Bounds(**bounds))
        host.run_at_home(door.open(), 20.0)
        doors.append(door)
        return Client(door)

    yield open_door
    for door in doors:
        host.run_at_home(door.close(0.0), 30.0)


class Client:
    """Sends bytes to a door, whatever they are."""

    def __init__(self, door):
        self.url = door.address
        self.door = door
        self.port = int(door.address.rpartition(":")[2])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def say(self, data):
        """Send, and give all that comes until the door ends the connection, or has answered and waits."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return until_it_ends(connection)

    def works(self):
        """Tell whether others are still served."""
        answer = httpx.post(f"{self.url}/v1/functions/add", json={"a": 1, "b": 2}, timeout=60)
        return answer.status_code == 200


def until_it_ends(connection, quiet=60.0):
    """Read until the other side closes."""
    connection.settimeout(quiet)
    got = b""
    try:
        while part := connection.recv(65_536):
            got += part
    except ConnectionResetError:
        pass
    return got


def statuses(got):
    """Give the status of each answer."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def request(*lines, body=b"", close=True):
    return b"\r\n".join([*lines, *([b"Connection: close"] if close else []), b"", body])


ADD = b"POST /v1/functions/add HTTP/1.1"
HOST = b"Host: door"
NUMBERS = b'{"a":1,"b":2}'

# --- Requests that are none, or two -----------------------------------------------------------------------------------

SMUGGLED = b"POST /v1/functions/seen HTTP/1.1\r\nHost: door\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"d\r\n" + NUMBERS + b"\r\n0\r\n\r\n"

FORMS = {
    "a length and chunks": (
        [ADD, HOST, b"Content-Length: 13", b"Transfer-Encoding: chunked"], CHUNKED + SMUGGLED,
    ),
    "two lengths that differ": ([ADD, HOST, b"Content-Length: 13", b"Content-Length: 0"], NUMBERS + SMUGGLED),
    "two lengths in one": ([ADD, HOST, b"Content-Length: 13, 0"], NUMBERS + SMUGGLED),
    "a length with a sign": ([ADD, HOST, b"Content-Length: +13"], NUMBERS + SMUGGLED),
    "a length that is none": ([ADD, HOST, b"Content-Length: 0x0d"], NUMBERS),
    "a length below nothing": ([ADD, HOST, b"Content-Length: -1"], NUMBERS),
    "a length of more than there is": ([ADD, HOST, b"Content-Length: " + b"9" * 40], NUMBERS),
    "chunks by another name": ([ADD, HOST, b"Transfer-Encoding: xchunked"], CHUNKED + SMUGGLED),
    "chunks that are not last": ([ADD, HOST, b"Transfer-Encoding: chunked, identity"], CHUNKED + SMUGGLED),
    "chunks with a space before": ([ADD, HOST, b"Transfer-Encoding : chunked"], CHUNKED + SMUGGLED),
    "a chunk of a size that is none": ([ADD, HOST, b"Transfer-Encoding: chunked"], b"zz\r\n" + NUMBERS),
    "a header that is folded": ([ADD, HOST, b"X-A: 1", b" Content-Length: 13"], NUMBERS),
    "a header without a name": ([ADD, HOST, b": 1"], b""),
    "a header with a null": ([ADD, HOST, b"X-A: a\0b"], b""),
    "a header with a bare carriage return": ([ADD, HOST, b"X-A: a\rContent-Length: 13"], b""),
    "no HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00"], b""),
    "a method that is none": ([b"P\0ST / HTTP/1.1", HOST], b""),
    "a path that is none": ([b"POST v1 HTTP/1.1", HOST], b""),
    "HTTP/2 without asking": ([b"PRI * HTTP/2.0"], b"\r\nSM\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_request_that_proxies_may_read_otherwise_is_refused_once(opened, form):
    """And what comes behind it is no request."""
    lines, body = FORMS[form]
    client = opened()
    # h11 and httptools differ in what they hang up on without a word; none of them hears a call.
    assert set(statuses(client.say(request(*lines, body=body, close=False)))) <= {400, 404}
    assert client.works()


def test_trailers_are_no_headers(opened):
    """Else they would get past a proxy that takes headers away."""
    body = b"0\r\nX-Sneaky: 1\r\nAuthorization: Bearer x\r\n\r\n"
    lines = [b"POST /v1/functions/seen HTTP/1.1", HOST, b"Transfer-Encoding: chunked", b"X-Seen: 1"]
    got = opened().say(request(*lines, body=body))
    assert statuses(got) == [200]
    assert b"x-seen" in got.lower()
    assert b"sneaky" not in got.lower()


def test_requests_behind_one_another_are_answered_in_order(opened):
    """Each by itself."""
    one = request(ADD, HOST, b"Content-Length: 13", body=NUMBERS, close=False)
    assert statuses(opened().say(one * 3 + request(ADD, HOST, b"Content-Length: 13", body=NUMBERS))) == [200] * 4


def test_what_may_come_once_counts_as_nothing_when_it_comes_twice(opened):
    """Nobody has to guess which of them was meant."""
    lines = [ADD, HOST, b"Content-Length: 13", b"X-Timeout: 1", b"X-Timeout: 2"]
    assert statuses(opened().say(request(*lines, body=NUMBERS))) == [400]


# --- Paths and headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/functions/../../healthz",
        b"/v1/functions/%2e%2e%2fhealthz",
        b"/v1/functions/add%00",
        b"/v1/functions/add%0d%0aX-Injected:%201",
        b"/v1/functions/add/",
        b"/v1/functions//add",
        b"/v1/functions/" + b"a" * 8_000,
        b"/v1/functions/%ff%fe",
        b"/v1/calls/..%2f..%2fadd",
        b"/docs/../../app.py",
        b"//v1/functions/add",
    ],
)
def test_a_path_is_a_name_and_nothing_else(opened, path):
    """It reaches no file, no other function, and no header of the answer."""
    got = opened().say(request(b"POST " + path + b" HTTP/1.1", HOST, b"Content-Length: 0"))
    assert statuses(got) in ([404], [405])
    assert b"\r\nX-Injected" not in got
    assert json.loads(got.partition(b"\r\n\r\n")[2])["status"] in {404, 405}


def test_a_key_of_a_submitted_call_enters_no_header(opened):
    """Its answer names the call by a number of the host's own."""
    lines = [b"POST /v1/submit/add HTTP/1.1", HOST, b"Content-Length: 13", b"Idempotency-Key: a%0d%0aX-Injected: 1"]
    assert b"\r\nX-Injected" not in opened().say(request(*lines, body=NUMBERS))


# --- Too much, and too slowly -----------------------------------------------------------------------------------------


def test_a_head_without_end_is_refused(opened):
    """Before it fills the memory."""
    client = opened()
    with client.connect() as connection:
        sent = 0
        try:
            connection.sendall(b"POST / HTTP/1.1\r\n")
            while sent < 64 * HEAD:
                sent += connection.send(b"X-A: " + b"a" * 1_000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = until_it_ends(connection)
    assert sent < 64 * HEAD
    assert statuses(got) in ([431], [400], [])
    assert client.works()


def test_trailers_without_end_are_cut_off(opened):
    """What belongs to no body counts as one."""
    client = opened(body=1_000)
    with client.connect() as connection:
        connection.sendall(request(ADD, HOST, b"Transfer-Encoding: chunked", body=b"0\r\n", close=False))
        sent = 0
        try:
            while sent < 64 * HEAD:
                sent += connection.send(b"X-A: " + b"a" * 1_000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 64 * HEAD
    assert client.works()


def test_trailers_take_no_memory(opened):
    """Each of them is small, and nobody asks for any."""
    client = opened(body=2 * HEAD)
    with client.connect() as connection:
        connection.sendall(request(ADD, HOST, b"Transfer-Encoding: chunked", body=b"0\r\n", close=False))
        tracemalloc.start()
        connection.sendall(b"a:\r\n" * HEAD)  # a quarter of a megabyte
        connection.sendall(b"\r\n")
        assert connection.recv(65_536)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 50 * HEAD


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(opened, chunked):
    """When it is said, and when it comes."""
    client = opened(body=1_000)
    body = b"1000\r\n" + b" " * 4_096 + b"\r\n0\r\n\r\n" if chunked else b" " * 4_096
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 4096"
    assert statuses(client.say(request(ADD, HOST, length, body=body))) == [413]
    assert client.works()


def test_a_body_that_ends_too_soon_is_no_call(opened, host):
    """Its client has left."""
    called = threading.Event()
    host.register("called", called.set)
    client = opened()
    with client.connect() as connection:
        connection.sendall(request(b"POST /v1/functions/called HTTP/1.1", HOST, b"Content-Length: 100", body=b'{"a"'))
        connection.shutdown(socket.SHUT_WR)
        assert statuses(until_it_ends(connection)) == []
    assert client.works()
    assert not called.is_set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "begins",
    [
        b"",
        b"POST /v1/functions/add HT",
        b"POST /v1/functions/add HTTP/1.1\r\nHost: door\r\nX-A",
        b"\r\n",
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(opened, begins):
    """Nor one that comes a byte at a time."""
    client = opened(head=1.0)
    with client.connect() as connection:
        connection.sendall(begins)
        ended = threading.Event()

        def trickle():
            while begins and not ended.wait(0.2):
                try:
                    connection.send(b"a")
                except OSError:
                    return

        drip = threading.Thread(target=trickle)
        drip.start()
        got = until_it_ends(connection)
        ended.set()
        drip.join()
    assert statuses(got) in ([], [400])
    assert client.works()


@pytest.mark.slow
def test_a_body_that_does_not_come_is_not_waited_for(opened):
    """It is told so, and what it says afterwards is not heard."""
    client = opened(patience=1.0)
    with client.connect() as connection:
        connection.sendall(request(ADD, HOST, b"Content-Length: 13", body=b"{", close=False))
        got = until_it_ends(connection)
        assert statuses(got) == [408]
        assert b"connection: close\r\n" in got
    assert client.works()


@pytest.mark.slow
def test_a_client_that_waits_longer_for_its_call_is_not_idle(opened, host):
    """However long it takes."""
    host.register("slow", lambda: time.sleep(4.0))
    client = opened(head=1.0, patience=1.0)
    assert statuses(client.say(request(b"POST /v1/functions/slow HTTP/1.1", HOST, b"Content-Length: 0"))) == [200]


@pytest.mark.slow
@pytest.mark.parametrize("watches", [False, True])
def test_a_client_that_never_reads_is_cut_off(opened, host, watches):
    """So that what it would get is not kept for ever; a call that it watches ends."""
    ended = threading.Event()

    async def talk() -> str:
        try:
            while watches:
                current_call().progress(1, 2, "x" * 1_000)
                await asyncio.sleep(0)
            return "x" * 50_000_000
        finally:
            ended.set()

    host.register("talk", talk)
    client = opened(patience=1.0)
    accept = b"Accept: text/event-stream" if watches else b"Accept: */*"
    with client.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lines = [b"POST /v1/functions/talk HTTP/1.1", HOST, accept, b"Content-Length: 0"]
        connection.sendall(request(*lines, close=False))
        connections = client.door._guard.connections  # noqa: SLF001  # what it has is seen nowhere else
        deadline = time.monotonic() + 90
        while connections and time.monotonic() < deadline and not watches:
            time.sleep(0.05)
        if not watches:
            assert not connections
    assert ended.wait(60)
    assert client.works()


def test_a_client_that_reads_slowly_gets_all(opened, host):
    """It is not taken for one that never does."""
    text = "x" * 8_000_000
    host.register("large", lambda: text)
    client = opened(patience=2.0, head=1.0)
    with client.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(request(b"POST /v1/functions/large HTTP/1.1", HOST, b"Content-Length: 0"))
        got = b""
        while part := connection.recv(200_000):
            got += part
            time.sleep(0.02)
    assert len(got) > len(text)


# --- Many, and the end ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_idle_connections_make_room(opened):
    """Those who ask are served, though others have taken all there is."""
    client = opened(connections=20, head=60.0)
    idle = [client.connect() for _ in range(30)]
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.works():
                    break
            except httpx.HTTPError:  # it is full, and hangs up
                assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for each in idle:
            each.close()


SERVING = """
import sys
from jackfield import Host
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http import Bounds
from jackfield_contrib.http.door import HttpDoor

with Host(observers=()) as host:
    host.register("add", lambda a, b: a + b)
    door = HttpDoor(host, HttpDoorConfig(port=0), bounds=Bounds(connections=20_000, head=600.0))
    host.run_at_home(door.open(), 20.0)
    print(door.address, flush=True)
    sys.stdin.read()
    host.run_at_home(door.close(1.0), 60.0)
"""


@pytest.mark.slow
def test_ten_thousand_idle_connections_keep_nobody_out():
    """And cost little memory each."""
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 500:
        pytest.skip(f"NOT TESTED with {wanted:,} connections: a process may have {hard:,} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 500), hard))
    command = [sys.executable, "-c", SERVING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        idle = []
        try:
            url = process.stdout.readline().strip()
            port = int(url.rpartition(":")[2])
            before = memory_of(process.pid)
            idle.extend(socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(wanted))
            answer = httpx.post(f"{url}/v1/functions/add", json={"a": 1, "b": 2}, timeout=60)
            assert answer.json() == 3
            assert (memory_of(process.pid) - before) / wanted < 32_768
        finally:
            for each in idle:
                each.close()
            process.stdin.close()
            process.wait(90)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert process.returncode == 0


def memory_of(pid):
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123  # no file
        return int(status.read().partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.slow
def test_a_stop_under_load_loses_no_call_that_was_begun(host):
    """Each client has its result, or is told that there is nobody any more: no call ran whose end nobody heard."""
    begun, told, lock = [], [], threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        time.sleep(0.02)
        return number

    host.register("work", work)
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    stop = threading.Event()

    def ask(first):
        number = first
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                try:
                    answer = client.post(f"{door.address}/v1/functions/work", json=number)
                except httpx.HTTPError:
                    return
                with lock:
                    told.append((number, answer.status_code))
                number += 100

    clients = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for each in clients:
        each.start()
    while len(begun) < 50:
        time.sleep(0.01)
    host.run_at_home(door.close(20.0), 40.0)
    stop.set()
    for each in clients:
        each.join(60)
    assert {number for number, status in told if status == 200} == set(begun)


@pytest.mark.slow
def test_what_has_not_ended_when_the_door_closes_is_told_so(host):
    """By a problem document that says why, and no stack in the log."""
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(60)

    host.register("wait", wait)
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{door.address}/v1/functions/wait", timeout=60))
    )
    client.start()
    assert begun.wait(20)
    host.run_at_home(door.close(0.0), 40.0)
    client.join(60)
    (answer,) = answers
    assert (answer.status_code, answer.json()["cause"]) == (503, "host_stopped")
