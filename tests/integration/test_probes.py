"""`/metrics`, `/healthz` and `/readyz`: what they answer, and what clients can do to the server; over real sockets."""

import asyncio
import gzip
import json
import resource
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics import parser

from jackfield import Host, JackfieldError, Metrics
from jackfield.operations.listener import ProbeServer
from jackfield.operations.probes import PATHS, Probes
from jackfield.runtime.control import ControlLoop
from jackfield.testing import FakeClock

GOOD = "from jackfield import function\n@function\ndef f() -> int: return 1\n"
OBJECT = "class P:\n    def start(self):\n        {}\n    def stop(self): pass\n"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def control(clock):
    control = ControlLoop(clock)
    yield control
    control.close()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def host(registry):
    with Host(observers=[Metrics(registry)]) as host:
        yield host


@pytest.fixture
def server(host, registry, control):
    with ProbeServer(Probes(host, registry=registry, control=control, names=True), control, connections=8) as server:
        yield server


def connect(server, sending=b""):
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30.0)
    client.sendall(sending)
    return client


def received(client):
    """Read to the end; a reset after the answer is an end, too."""
    data = b""
    try:
        while more := client.recv(65_536):
            data += more
    except ConnectionResetError:
        pass
    client.close()
    return data


def parsed(data):
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return int(line.split()[1]), dict(field.lower().split(": ", 1) for field in fields), body


def get(server, path, method="GET", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return parsed(received(connect(server, "\r\n".join([*lines, "", ""]).encode())))


def raw(server, sending):
    client = connect(server, sending)
    client.shutdown(socket.SHUT_WR)
    return parsed(received(client))


def until_closed(client, clock, step=1.0):
    """Let time pass, that many seconds at a time, until the server has had enough of a client."""
    client.settimeout(0.01)
    data = b""
    with client:
        while True:
            clock.advance(step)
            try:
                more = client.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                return data
            if not more:
                return data
            data += more


# --- What they answer -------------------------------------------------------------------------------------------------


def test_metrics_come_in_the_form_that_is_asked_for(server, host):
    """Classic text by default, OpenMetrics when it is preferred; both with the calls of the host."""
    host.register("text.shout", str.upper)
    host.call("text.shout", "x")
    status, headers, body = get(server, "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert b'jackfield_calls_total{function="text.shout",outcome="ok",version="0"} 1.0' in body
    status, headers, body = get(server, "/metrics", Accept="application/openmetrics-text;version=1.0.0")
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    assert "jackfield_calls" in {family.name for family in parser.text_string_to_metric_families(body.decode())}


def test_metrics_are_compressed_and_restricted_when_asked(server):
    """As every exporter does it."""
    _, headers, body = get(server, "/metrics", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert b"jackfield_revision" in gzip.decompress(body)
    _, _, body = get(server, "/metrics?name[]=jackfield_revision")
    assert body.count(b"# TYPE") == 1


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get_and_no_body(server, path):
    """For whoever only asks whether it is there."""
    get(server, path)  # so that both have the same series
    _, expected, whole = get(server, path)
    status, headers, body = get(server, path, "HEAD")
    assert (status, headers, body) == (200, expected, b"")
    assert int(headers["content-length"]) == len(whole)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405), ("OPTIONS", "*", 404)]
)
def test_what_is_not_there_says_what_is(server, method, path, status):
    """404 and 405 list the paths; 405 the methods, too."""
    got, headers, body = get(server, path, method)
    assert got == status
    assert json.loads(body)["paths"] == list(PATHS)
    assert headers.get("allow") == ("get, head" if status == 405 else None)


def test_a_collector_that_fails_shows_no_stack_to_the_client(server, registry):
    """The log has it."""

    class Sick:
        def describe(self):
            return []

        def collect(self):
            raise ValueError("a secret")

    registry.register(Sick())
    status, _, body = get(server, "/metrics")
    assert status == 500
    assert b"secret" not in body
    assert b"Traceback" not in body
    assert get(server, "/healthz")[0] == 200


def test_a_collector_that_hangs_takes_few_threads_and_no_probe(server, registry, clock, host):
    """Its scrapes are given up, further ones refused, and the other paths answer meanwhile."""
    release, entered = threading.Event(), threading.Semaphore(0)

    class Stuck:
        def describe(self):
            return []

        def collect(self):
            entered.release()
            release.wait(60)
            return []

    registry.register(Stuck())
    try:
        for _ in range(8):
            client = connect(server, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert entered.acquire(timeout=30)
            assert b"503 Service Unavailable" in until_closed(client, clock, 31.0)
        status, _, body = get(server, "/metrics")
        assert (status, b"8 requests" in body) == (503, True)
        assert get(server, "/healthz")[0] == 200
        assert get(server, "/readyz")[0] == 200
    finally:
        release.set()


def test_health_is_that_of_the_loops(server, host, clock):
    """The home loop counts once it runs; while a coroutine blocks it, the answer says so, and afterwards it is well."""
    assert get(server, "/healthz")[2] == b'{"status": "ok"}\n'
    release, blocked = threading.Event(), threading.Event()

    async def block() -> None:
        blocked.set()
        release.wait(60)

    host.register("bad.block", block)
    caller = threading.Thread(target=host.call, args=("bad.block",))
    caller.start()
    assert blocked.wait(30)
    try:
        said = until_closed(connect(server, b"GET /healthz HTTP/1.1\r\n\r\n"), clock)
    finally:
        release.set()
        caller.join()
    status, _, body = parsed(said)
    assert (status, json.loads(body)["silent"]) == (503, ["home loop"])
    assert get(server, "/healthz")[0] == 200


def test_a_silent_control_loop_is_noticed_by_whoever_else_mounts_the_probes(host):
    """A door has a loop of its own, on which the same answers are made."""
    control = ControlLoop()
    release, blocked = threading.Event(), threading.Event()
    control.post(lambda: (blocked.set(), release.wait(60)))
    assert blocked.wait(30)
    try:
        answer = asyncio.run(Probes(host, control=control).answer("GET", "/healthz"))
    finally:
        release.set()
        control.close()
    assert (answer.status, json.loads(answer.body)["silent"]) == (503, ["control loop"])


@contextmanager
def configured(tmp_path, monkeypatch, **plugins):
    monkeypatch.chdir(tmp_path)
    tables = []
    for name, (source, further) in plugins.items():
        (tmp_path / f"{name}.py").write_text(source)
        suffix = ":P" if "class P" in source else ""
        tables.append(f'[[plugin]]\nname = "{name}"\npath = "./{name}.py{suffix}"\n{further}\n')
    (tmp_path / "c.toml").write_text("\n".join(tables))
    yield Host.from_config("c.toml", observers=())


def ready(control, host, names=True):
    answer = control.run(Probes(host, names=names).answer("GET", "/readyz"))
    return answer.status, json.loads(answer.body)


def test_a_host_is_ready_while_it_takes_calls_and_its_plugins_run(tmp_path, monkeypatch, control):
    """Not before its start, not after its stop; a plugin that is not to start with it does not matter."""
    plugins = {"good": (GOOD, ""), "later": (OBJECT.format("pass"), "auto_start = false")}
    with configured(tmp_path, monkeypatch, **plugins) as host:
        assert ready(control, host)[0] == 503
        with host:
            assert ready(control, host) == (200, {"status": "ok"})
            host.unload("good")
            assert ready(control, host) == (200, {"status": "ok"})
        status, body = ready(control, host)
        assert status == 503
        assert "does not take calls" in body["reason"]


def test_what_does_not_run_is_listed_and_for_strangers_counted(tmp_path, monkeypatch, control):
    """With the state, and the stage of the fault; neither the text of the exception nor, unless asked for, names."""
    plugins = {"good": (GOOD, ""), "bad": (OBJECT.format("raise ValueError('a secret')"), "")}
    with configured(tmp_path, monkeypatch, **plugins) as host, host:
        host.stop_plugin("good")
        status, body = ready(control, host)
        assert status == 503
        assert body["reason"] == "2 of 2 plugins do not run"
        by_name = {each["name"]: each for each in body["plugins"]}
        assert by_name["good"] == {"name": "good", "state": "stopped"}
        assert by_name["bad"] == {"name": "bad", "state": "failed", "stage": "start"}
        assert ready(control, host, names=False) == (
            503,
            {"status": "unavailable", "reason": "2 of 2 plugins do not run"},
        )


# --- What clients can do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sending", "status"),
    [
        (b"GET /healthz HT", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET  /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /health\xffz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nA: b\r\n folded: yes\r\n\r\n", 400),
        (b"G@T /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz SPDY/3\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\nCookie: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"A" * 200_000, 431),
        (b"GET http://localhost/healthz HTTP/1.1\r\n\r\n", 200),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000, 405),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_odd_requests_get_an_answer_and_hurt_nobody(server, sending, status):
    """Half a request, TLS, other protocols, headers without end: a short answer without a stack, then the next one."""
    got, headers, body = raw(server, sending)
    assert got == status
    assert headers["connection"] == "close"
    assert len(body) < 500
    assert b"Traceback" not in body
    assert get(server, "/healthz")[0] == 200


def test_of_several_requests_at_once_the_first_is_answered(server):
    """The connection says that it closes, so the client sends the others again."""
    data = received(connect(server, b"GET /healthz HTTP/1.1\r\n\r\n" * 3))
    assert data.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in data


def test_who_sends_slowly_is_cut_off(server, clock):
    """A header now and then does not keep a connection: the request has to be there in time as a whole."""
    client = connect(server, b"GET /healthz HTTP/1.1\r\n")
    drips, ended = 0, b""
    client.settimeout(0.05)
    while not ended:
        clock.advance(1.0)
        try:
            client.sendall(b"X-A: b\r\n")
            drips += 1
            ended = client.recv(65_536) or b"closed"
        except TimeoutError:
            continue
        except ConnectionError:
            ended = b"closed"
    client.close()
    assert drips > 1
    assert ended.startswith((b"HTTP/1.1 408", b"closed"))
    assert get(server, "/healthz")[0] == 200


def test_who_says_nothing_is_cut_off(server, clock):
    """It gets told why, and the place is free again."""
    assert b"408" in until_closed(connect(server), clock)


def test_who_leaves_in_the_middle_is_forgotten(server):
    """Before, within and after the request, with and without a reset."""
    for sending in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
        for _ in range(10):
            client = connect(server, sending)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            client.close()
    assert settled(server)[0] == 200


def settled(server):
    """Ask until there is a place: those who have left may be noticed a moment later."""
    while (answer := get(server, "/healthz"))[0] == 503:
        pass
    return answer


def test_who_never_reads_is_cut_off(server, registry, clock):
    """A large exposition waits for its reader as long as it is allowed to, and holds up nobody else."""
    gauge = Gauge("large", "x" * 100, ["label"], registry=registry)
    for number in range(40_000):
        gauge.labels(f"{number:0100}").set(number)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.settimeout(60.0)
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert client.recv(1) == b"H"
    while clients := server.clients:
        clock.advance(1.0)
        assert clients == 1
    assert len(received(client)) < 40_000 * 100
    assert get(server, "/healthz")[0] == 200


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 4_096 else max(soft, 4_096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_clients_take_no_more_than_the_places_there_are(server, clock, many_files):
    """Those beyond the bound hear so at once; when the others have gone, there is room again."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(1_000)]
        refused = [received(client) for client in clients[8:]]
        assert {data.split(b"\r\n")[0] for data in refused} == {b"HTTP/1.1 503 Service Unavailable"}
        assert server.clients == 8
        for client in clients[:8]:
            assert b"408" in until_closed(client, clock)
    assert settled(server)[0] == 200


def test_closing_disconnects_everybody(host, control):
    """A client that waits does not keep the server from ending, and the port is free."""
    server = ProbeServer(Probes(host), control).start()
    client = connect(server, b"GET /he")
    while not server.clients:
        pass
    server.close()
    assert received(client) == b""
    server.close()
    with ProbeServer(Probes(host), control, port=server.port) as again:
        assert get(again, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_refused_with_the_way_out(server, host, control):
    """The error names the address and what to do."""
    with pytest.raises(JackfieldError, match=rf"127.0.0.1:{server.port}.*another port"):
        ProbeServer(Probes(host), control, port=server.port).start()
    assert get(server, "/healthz")[0] == 200
