"""What strangers try at the HTTP door beyond what is no request: each gets an answer that somebody has thought of."""

import re
import select
import time

import attacked
import httpx
import pytest
from attacked import LIMIT, MB, Attacked

CRASHED = b"urn:jackfield:outcome:crashed"
GROWN = 150 * MB


@pytest.fixture(scope="module")
def served():
    with Attacked("http") as made:
        yield made


def say(served, *lines, body=b"", length=True):
    """Send one request, and give the status and the body of its answer."""
    head = [*lines, b"Host: door", b"Connection: close"]
    if length:
        head.append(b"Content-Length: %d" % len(body))
    with served.connect() as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        got = b""
        while part := connection.recv(65_536):
            got += part
    statuses = re.findall(rb"^HTTP/1\.1 (\d{3})", got)
    return int(statuses[0]) if statuses else None, got.partition(b"\r\n\r\n")[2]


def works(served):
    answer = httpx.post(f"{served.url}/v1/functions/add", json={"a": 1, "b": 2}, timeout=LIMIT)
    return answer.status_code == 200 and answer.json() == 3


def calling(name=b"echo"):
    return b"POST /v1/functions/%s HTTP/1.1" % name


# --- Payloads ---------------------------------------------------------------------------------------------------------

JSON, PACKED = b"Content-Type: application/json", b"Content-Type: application/msgpack"

BODIES = {
    "a number beyond all": (JSON, b"1e400", 400),
    "a number of thousands of digits": (JSON, b"9" * 5_000, 400),
    "no number": (JSON, b"NaN", 400),
    "half of a surrogate pair": (JSON, b'"\\ud800"', 400),
    "a surrogate as bytes": (JSON, b'"\xed\xa0\x80"', 400),
    "a byte order mark": (JSON, b"\xef\xbb\xbf1", 400),
    "another encoding": (JSON + b"; charset=utf-16", "1".encode("utf-16"), 400),
    "two values": (JSON, b"1 2", 400),
    "white space": (JSON, b" ", 400),
    "a key twice": (JSON, b'{"a": 1, "a": 2}', 200),
    "a null character": (JSON, b'"\\u0000"', 200),
    "JSON that is deep": (JSON, b"[" * 100_000 + b"]" * 100_000, 400),
    "JSON that is too deep to be written": (JSON, b"[" * 900 + b"]" * 900, 500),
    "MessagePack that is deep": (PACKED, b"\x91" * 100_000 + b"\xc0", 400),
    "MessagePack that is too deep to be written": (PACKED, b"\x91" * 900 + b"\xc0", 500),
    "a list that says it is long": (PACKED, b"\xdd\xff\xff\xff\xff", 400),
    "a table that says it is long": (PACKED, b"\xdf\xff\xff\xff\xff", 400),
    "a text that says it is long": (PACKED, b"\xdb\xff\xff\xff\xff", 400),
    "bytes that say they are long": (PACKED, b"\xc6\xff\xff\xff\xff", 400),
    "an extension that says it is long": (PACKED, b"\xc9\xff\xff\xff\xff\x01", 400),
    "a type that there is not": (PACKED, b"\xc1", 400),
    "a text that is none": (PACKED, b"\xa2\xff\xfe", 400),
    "a time beyond all": (PACKED, b"\xc7\x0c\xff\0\0\0\0\x7f" + b"\xff" * 7, 400),
    "a time that is none": (PACKED, b"\xc7\x0c\xff" + b"\xff" * 12, 400),
    "a table as a key": (PACKED, b"\x81\x80\x02", 400),
    "a decimal with a large exponent": (PACKED, b"\xc7\x0c\x011E+999999999", 200),
    "millions of lists": (PACKED, b"\xdd" + (4_000_000).to_bytes(4, "big") + b"\x90" * 4_000_000, 400),
    "form data": (b"Content-Type: application/x-www-form-urlencoded", b"a=1", 415),
    "two types": (b"Content-Type: application/json, application/msgpack", b"1", 415),
    "what is compressed": (JSON + b"\r\nContent-Encoding: gzip", b"\x1f\x8b\x08\0", 400),
}


@pytest.mark.parametrize("which", BODIES)
def test_a_payload_of_any_kind_has_its_answer(served, which):
    """A 500 is of functions that give back what cannot be written, and tells nothing of where."""
    kind, body, status = BODIES[which]
    told, document = say(served, calling(), kind, body=body)
    assert told == status
    assert status < 500 or CRASHED in document


@pytest.mark.parametrize("code", range(-128, 128))
def test_an_extension_of_messagepack_is_one_of_ours_or_refused(served, code):
    """Whatever is in it."""
    for inside in (b"", b"1", b"\xff" * 16, b"9" * 50, b"0001-01-01T00:00:00+14:00", b"-999999999 0 0", b"2020[../x]"):
        body = b"\xc7" + bytes([len(inside), code & 255]) + inside
        assert say(served, calling(), PACKED, b"Accept: application/json", body=body)[0] in {200, 400}
        assert say(served, calling(), PACKED, body=body)[0] in {200, 400}


@pytest.mark.parametrize(
    "entry",
    [
        b'{"function": "add", "timeout": "x"}',
        b'{"function": "add", "timeout": 1e308}',
        b'{"function": "add", "timeout": true}',
        b'{"function": "add", "timeout": ' + b"9" * 400 + b"}",
        b'{"function": "add", "version": 1}',
        b'{"function": "add", "version": "\\u0000\\r\\n"}',
        b'{"function": ""}',
        b'{"function": "' + b"a" * 100_000 + b'"}',
        b'{"function": "echo", "payload": ' + b"[" * 800 + b"]" * 800 + b"}",
    ],
)
def test_a_call_of_a_batch_fails_by_itself(served, entry):
    """The other one has its result."""
    right = b'{"function": "add", "payload": {"a": 1, "b": 2}}'
    status, body = say(served, b"POST /v1/calls:batch HTTP/1.1", JSON, body=b"[" + entry + b"," + right + b"]")
    assert status == 200
    assert body.endswith(b'{"result":3}]')


# --- Heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [b"nan", b"inf", b"-1", b"0", b"1e308", b"1e-400", b"0x1", b"", b"1,1", b"9" * 5_000, b"\xb2", "\u0661".encode()],
)
def test_a_time_that_is_none_is_refused(served, said):
    """And not taken for no limit."""
    assert say(served, calling(b"add"), b"X-Timeout: " + said, JSON, body=b'{"a": 1, "b": 2}')[0] == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (b"limit=" + b"9" * 5_000, 400),
        (b"limit=%D9%A1", 400),
        (b"limit=%C2%B2", 400),
        (b"limit=-1", 400),
        (b"limit=1%0a", 400),
        (b"status=%00", 400),
        (b"a=1&" * 3_000, 400),
        (b"function=%ff", 200),
        (b"function=" + b"*" * 3_000 + b"a", 200),
    ],
)
def test_a_list_of_calls_is_asked_for_by_what_it_knows(served, query, status):
    """A number of thousands of digits is no error of the door."""
    assert say(served, b"GET /v1/calls?" + query + b" HTTP/1.1", length=False)[0] == status


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/functions/\xff\xfe", b"http://evil:99999/v1/functions/add", b"http://[::1/v1", b"http:///v1", b"*",
        b"//evil/v1/functions/add", b"/v1/functions/%252e%252e", b"/v1/functions/add\\", b"/v1/functions/\x7f",
        b"/v1/functions/%", b"/v1/functions/%zz", b"/v1/functions/%ED%A0%80", b"/v1/functions/add;x", b"evil:443",
        b"/v1/functions/" + b"a" * 60_000, b"/v1/hooks/%00", b"/docs/%2e%2e/x",
    ],
)  # fmt: skip
def test_a_target_that_is_nothing_is_told_so(served, target):
    """It is neither the door's error nor another's function."""
    assert say(served, b"POST " + target + b" HTTP/1.1", JSON, body=b'{"a": 1, "b": 2}')[0] in {400, 404, 405, 431}
    assert works(served)


@pytest.mark.parametrize(
    "line",
    [
        b"traceparent: 00-\xff\xff-x-01", b"traceparent: " + b"\xd9\xa0" * 60, b"traceparent: 00-" + b"0" * 32 + b"-",
        b"baggage: " + b"a=b," * 2_000, b"baggage: a=%0d%0aX-Injected:%201", b"tracestate: " + b"x=y," * 1_000,
        b"Accept: \xff", b"x-anything: \xff", b"Expect: something", b"X-HTTP-Method-Override: DELETE",
        b"x-tenant: other",
    ],
)  # fmt: skip
def test_a_header_of_any_kind_is_data(served, line):
    """It is what the function gets, and nothing of the answer's head."""
    status, body = say(served, calling(b"seen"), line)
    assert status == 200
    assert b"\r\nX-Injected" not in body


@pytest.mark.parametrize(("count", "status"), [(90, 200), (2_000, 431)])
@pytest.mark.parametrize("same", [True, False])
def test_headers_are_counted(served, count, same, status):
    """Those of one name are as long as all of them."""
    lines = [b"x: 12345678" if same else b"x-%d: 1" % number for number in range(count)]
    assert say(served, calling(b"seen"), *lines)[0] == status


@pytest.mark.parametrize("how", [b"h2c", b"websocket"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_nobody_reads_is_not_left_out(served, how, chunked):
    """The parser takes what follows an upgrade for another protocol; the call would be made without its payload."""
    lines = [b"Upgrade: " + how, b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    body = b"3\r\n[1]\r\n0\r\n\r\n" if chunked else b"[1]"
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    with served.connect() as connection:
        head = [calling(), b"Host: door", *lines, *([] if chunked else [b"Content-Length: 3"])]
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        got = connection.recv(65_536)
    assert b" 400 " in got.partition(b"\r\n")[0] or got.endswith(b"[1]")
    assert works(served)


def test_an_upgrade_without_a_body_is_answered_as_if_nobody_had_asked(served):
    """As RFC 9110, 7.8 has it."""
    with served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: door\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


# --- Pages of others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
        {"host": "evil.example:8080", "origin": "http://evil.example:8080", "sec-fetch-site": "same-origin"},
        {"host": "evil.example:8080", "sec-fetch-site": "same-origin"},
        {"host": "[", "origin": "http://["},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/functions/add"), ("POST", "/v1/calls:batch"), ("GET", "/v1/functions"), ("POST", "/v1/hooks/x")],
)
def test_a_page_of_another_site_calls_nothing_on_this_machine(served, headers, method, path):
    """A browser sends what any page has it send, and a name that a page belongs to may be made to mean this machine."""
    answer = httpx.request(method, f"{served.url}{path}", headers=headers, content=b"{}", timeout=LIMIT)
    assert (answer.status_code, "page" in answer.json()["detail"]) == (403, True)


def test_the_door_s_own_page_and_what_is_no_browser_are_answered(served):
    """Whatever proxy has changed the name of the host."""
    port = served.address[1]
    for headers in (
        {},
        {"host": "api.example.com"},
        {"origin": served.url, "sec-fetch-site": "same-origin"},
        {"origin": served.url},
        {"host": f"localhost:{port}", "origin": f"http://localhost:{port}"},
        {"sec-fetch-site": "none"},
    ):
        answer = httpx.post(f"{served.url}/v1/functions/add", json={"a": 1, "b": 2}, headers=headers, timeout=LIMIT)
        assert answer.json() == 3


# --- Many -------------------------------------------------------------------------------------------------------------


def test_bodies_that_come_in_have_a_bound_together():
    """Whoever is beyond it is told so; small ones have a place, and when others have left there is one again."""
    with Attacked("http", receiving=MB) as served:
        begin = b"POST /v1/functions/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + b" " * 200_000
        connections = [served.connect() for _ in range(8)]
        try:
            for each in connections:
                each.sendall(begin)
            answered, _, _ = select.select(connections, [], [], LIMIT)
            assert answered[0].recv(65_536).startswith(b"HTTP/1.1 503 ")
            assert works(served)
        finally:
            for each in connections:
                each.close()
        served.settles(lambda: not served.stats()["under_way"])
        text = "x" * 500_000
        assert httpx.post(f"{served.url}/v1/functions/echo", json=text, timeout=LIMIT).json() == text


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_files_that_run_out_end_no_door(loop):
    """Idle clients go before there is none left, so others are served and nothing spins or fills the log."""
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="NOT TESTED with uvloop, which is not installed")
    with Attacked("http", loop, files=200) as served:
        before = served.files()
        idle = [served.connect() for _ in range(400)]
        try:
            until = time.monotonic() + LIMIT
            while True:
                try:
                    if works(served):
                        break
                except httpx.HTTPError:  # it is full, and hangs up
                    assert time.monotonic() < until
            assert served.files() < 150
        finally:
            for each in idle:
                each.close()
        assert works(served)
        served.settles(lambda: served.files() <= before + 2)
    assert served.log == ""


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ten_thousand_idle_connections_go_again(loop):
    """By the bounds that a door has unasked: memory and files come back, and others are served meanwhile."""
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="NOT TESTED with uvloop, which is not installed")
    if not attacked.more_files(11_000):
        pytest.skip("NOT TESTED with 10,000 connections: a process may not have so many files here")
    with Attacked("http", loop, head=3.0) as served:
        files, memory = served.files(), served.memory()
        idle = [served.connect() for _ in range(10_000)]
        try:
            until = time.monotonic() + LIMIT
            while True:
                try:
                    if works(served):
                        break
                except httpx.HTTPError:
                    assert time.monotonic() < until
            served.settles(lambda: served.files() <= files + 2)
            assert served.memory() - memory < GROWN
        finally:
            for each in idle:
                each.close()
        assert works(served)
    assert served.log == ""
