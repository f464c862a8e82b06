"""The functions of a host over HTTP: what each request gets, through the application as a server calls it."""

import asyncio
import gc
import json
import threading
from time import monotonic

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from jackfield import Call, Host, Rejected, ResourceExhausted, current_call
from jackfield.testing import no_leaks
from jackfield_contrib.http import Bounds, asgi
from jackfield_contrib.http.presence import Presence


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def refuse() -> None:
    raise Rejected("the amount must be positive", code="bad_amount", details={"amount": -1})


def crash() -> None:
    raise ValueError("the password is swordfish")


def formless() -> object:
    return object()


def busy() -> None:
    raise ResourceExhausted("busy", "its queue is full", 1.2)


async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def seen() -> dict:
    call: Call = current_call()
    return dict(call.headers)


FUNCTIONS = {"math.add": add, "refuse": refuse, "crash": crash, "formless": formless, "slow": slow, "seen": seen}


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        for name, target in FUNCTIONS.items():
            made.register(name, target)
        yield made


@pytest.fixture
def ask(host):
    """Make one request of the application."""

    def request(method, path, *, app=None, **more):
        async def once():
            transport = httpx.ASGITransport(app or asgi(host, bounds=Bounds(body=1_000_000, batch=10)))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.request(method, path, **more)

        return asyncio.run(once())

    return request


# --- One call ---------------------------------------------------------------------------------------------------------


def test_the_payload_goes_in_and_the_result_comes_out(ask):
    """As JSON."""
    answer = ask("POST", "/v1/functions/math.add", json={"a": 1, "b": 2})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", 3)


@pytest.mark.parametrize(
    ("sent", "accept", "kind"),
    [
        ("application/msgpack", None, "application/msgpack"),
        ("application/x-msgpack", "application/json", "application/json"),
        ("application/json", "application/msgpack", "application/msgpack"),
        ("application/vnd.api+json; charset=utf-8", None, "application/json"),
        (None, None, "application/json"),
    ],
)
def test_the_content_type_says_what_a_body_is_and_accept_what_is_wanted(ask, sent, accept, kind):
    """MessagePack is answered with MessagePack, unless something else is asked for."""
    write = msgspec.msgpack.encode if sent and "msgpack" in sent else msgspec.json.encode
    headers = {**({"content-type": sent} if sent else {}), **({"accept": accept} if accept else {})}
    answer = ask("POST", "/v1/functions/math.add", content=write({"a": 1, "b": 2}), headers=headers)
    read = msgspec.msgpack.decode if "msgpack" in kind else msgspec.json.decode
    assert (answer.status_code, answer.headers["content-type"], read(answer.content)) == (200, kind, 3)


def test_an_empty_body_is_no_payload_whatever_its_type(ask):
    """A function without parameters can be called by POST alone."""
    answer = ask("POST", "/v1/functions/seen", headers={"content-type": "image/png"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "more", "status", "outcome", "fields"),
    [
        ("refuse", {}, 422, "rejected", {"code": "bad_amount", "details": {"amount": -1}}),
        ("math.add", {"json": {"a": 1}}, 400, "invalid_payload", {"path": "$.b", "expected": "int"}),
        ("nope", {}, 404, "not_found", {}),
        ("slow", {"json": 60, "headers": {"X-Timeout": "0.01"}}, 504, "deadline_exceeded", {}),
        ("crash", {}, 500, "crashed", {}),
        ("formless", {}, 500, "crashed", {}),
        ("math.add", {"json": {"a": 1, "b": 2}, "headers": {"x-version": "7"}}, 404, "not_found", {}),
    ],
)
def test_how_a_call_ends_is_a_problem_document(ask, path, more, status, outcome, fields):
    """By the table of outcomes."""
    answer = ask("POST", f"/v1/functions/{path}", **more)
    document = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, document["status"], document["outcome"]) == (status, status, outcome)
    assert fields.items() <= document.items()


def test_what_a_crash_says_is_for_the_log_alone(ask):
    """It may hold a secret."""
    assert "swordfish" not in ask("POST", "/v1/functions/crash").text


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"content": b"{"}, 400),
        ({"content": b"[" * 100_000}, 400),
        ({"content": b"\xc1", "headers": {"content-type": "application/msgpack"}}, 400),
        ({"content": b"<a/>", "headers": {"content-type": "text/xml"}}, 415),
        ({"content": b" " * 1_000_001}, 413),
        ({"content": iter([b" " * 600_000] * 2)}, 413),
        ({"json": {}, "headers": {"X-Timeout": "soon"}}, 400),
        ({"json": {}, "headers": {"X-Timeout": "-1"}}, 400),
        ({"json": {}, "headers": {"X-Timeout": "nan"}}, 400),
        ({"json": {}, "headers": {"X-Timeout": "1e300"}}, 400),
        ({"json": {}, "headers": {"X-Large": "x" * 9_000}}, 431),
        ({"json": {}, "headers": {f"x-{number}": "x" for number in range(200)}}, 431),
    ],
)
def test_what_never_became_a_call_has_no_outcome(ask, more, status):
    """It says what would be right."""
    if not isinstance(more.get("content", b""), bytes):
        more = {**more, "content": _parts(more["content"])}
    answer = ask("POST", "/v1/functions/math.add", **more)
    document = answer.json()
    assert (answer.status_code, document["status"]) == (status, status)
    assert "outcome" not in document
    assert document["detail"]


def test_what_curl_sends_unasked_is_told_how_to_send_instead(ask):
    """A form is none of the two, so that no page of somebody else can send one from a browser without asking."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = ask("POST", "/v1/functions/math.add", content=b'{"a": 1, "b": 2}', headers=form)
    assert answer.status_code == 415
    assert "this one says 'application/x-www-form-urlencoded' (curl has --json for it)" in answer.json()["detail"]


async def _parts(parts):
    for part in parts:
        yield part


def test_headers_enter_the_call_but_for_secrets_and_those_of_the_connection(ask):
    """A function sees what concerns it."""
    given = {
        "Authorization": "Bearer s",
        "Cookie": "s",
        "X-Hub-Signature-256": "s",
        "X-Request-Id": "7",
        "traceparent": "0",
    }
    answer = ask("POST", "/v1/functions/seen", headers=given)
    entered = {name.lower() for name in answer.json()}
    assert {"x-request-id", "traceparent"} <= entered
    assert entered.isdisjoint({"authorization", "cookie", "x-hub-signature-256", "host", "content-length", "accept"})


def test_a_client_that_goes_away_cancels_its_call(host):
    """Nobody works for somebody who has left."""
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    host.register("wait", wait)
    sent = []

    async def visit() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not begun.is_set():  # noqa: ASYNC110  # an event of another thread
                await asyncio.sleep(0.001)  # of another loop
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/functions/wait", "headers": []}
        await asgi(host)(scope, receive, send)

    asyncio.run(visit())
    assert ended.wait(20)
    assert sent == []


def test_a_slow_call_leaves_no_garbage(host):
    """All that it was made of goes with its end: under load a collection of it would hold up everybody."""
    looked_after = threading.Event()

    async def slowly() -> int:
        await asyncio.to_thread(looked_after.wait, 20)
        return 1

    host.register("slowly", slowly)

    async def visit() -> int:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            looked_after.set()
            return await asyncio.Event().wait()

        async def send(message):
            pass

        scope = {"type": "http", "method": "POST", "path": "/v1/functions/slowly", "headers": []}
        await asgi(host)(scope, receive, send)
        for _ in range(5):  # what was cancelled has to end
            await asyncio.sleep(0)
        return sum(isinstance(each, Presence) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(visit()) == 0
    finally:
        gc.enable()
    assert looked_after.is_set()


# --- Batches ----------------------------------------------------------------------------------------------------------


def test_each_call_of_a_batch_has_its_own_end(ask):
    """In the order that they came in."""
    answer = ask(
        "POST",
        "/v1/calls:batch",
        json=[
            {"function": "math.add", "payload": {"a": 1, "b": 2}},
            {"function": "nope"},
            {"function": "formless"},
            {"function": "slow", "payload": 60, "timeout": 0.01},
            {"function": "slow", "payload": 0, "timeout": "soon"},
            {"function": "math.add", "payload": {"a": 1, "b": 2}, "version": "7"},
        ],
    )
    assert answer.status_code == 200
    first, *others = answer.json()
    assert first == {"result": 3}
    assert [each["status"] for each in others] == [404, 500, 504, 400, 404]


@pytest.mark.parametrize(
    ("batch", "status"),
    [
        ({"function": "math.add"}, 400),
        ([1], 400),
        ([{"function": 1}], 400),
        ([{"function": "math.add", "payloads": {}}], 400),
        ([{"function": "math.add"}] * 11, 413),
        (None, 400),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(ask, batch, status):
    """Before any of its calls."""
    assert ask("POST", "/v1/calls:batch", content=json.dumps(batch)).status_code == status


def test_a_batch_is_messagepack_where_that_is_wanted(ask):
    """As a single call is."""
    answer = ask(
        "POST", "/v1/calls:batch",
        content=msgspec.msgpack.encode([{"function": "math.add", "payload": {"a": 1, "b": 2}}]),
        headers={"content-type": "application/msgpack"},
    )  # fmt: skip
    assert msgspec.msgpack.decode(answer.content) == [{"result": 3}]


def test_a_refusal_whose_details_messagepack_cannot_hold_spoils_no_batch(ask, host):
    """An integer of more than 64 bits, say."""

    def odd() -> None:
        raise Rejected("no", code="odd", details={"until": 2**70})

    host.register("odd", odd)
    answer = ask(
        "POST", "/v1/calls:batch",
        content=msgspec.msgpack.encode([{"function": "odd"}, {"function": "math.add", "payload": {"a": 1, "b": 2}}]),
        headers={"content-type": "application/msgpack"},
    )  # fmt: skip
    refused, added = msgspec.msgpack.decode(answer.content)
    assert (refused["code"], refused["details"]) == ("odd", {"until": str(2**70)})
    assert added == {"result": 3}


# --- What there is ----------------------------------------------------------------------------------------------------


def test_functions_are_listed_and_described(ask):
    """With their schemas."""
    assert [each["name"] for each in ask("GET", "/v1/functions").json()] == sorted(FUNCTIONS)
    one = ask("GET", "/v1/functions/math.add").json()
    assert one["about"] == "Add two numbers."
    assert sorted(one["payload_schema"]["properties"]) == ["a", "b"]
    assert ask("GET", "/v1/functions/nope").status_code == 404


def called_in(document):
    found = (path.removeprefix("/v1/functions/") for path, item in document["paths"].items() if "post" in item)
    return sorted(name for name in found if "/" not in name)


def test_openapi_has_a_path_for_each_function_and_follows_changes(ask, host):
    """The document is written anew when there is something new."""
    app = asgi(host)
    first = ask("GET", "/openapi.json", app=app).json()
    assert first["openapi"] == "3.1.0"
    assert called_in(first) == sorted(FUNCTIONS)
    host.register("later", add)
    assert "/v1/functions/later" in ask("GET", "/openapi.json", app=app).json()["paths"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_it_can_be_watched(ask, path):
    """By the one implementation that there is."""
    assert ask("GET", path).status_code == 200
    head = ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("DELETE", "/v1/functions/math.add", 405),
        ("GET", "/v1/calls:batch", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_elsewhere_there_is_nothing(ask, method, path, status):
    """And a method that is not answered says which are."""
    answer = ask(method, path)
    assert answer.status_code == status
    if status == 405:
        assert answer.headers["allow"]


def test_it_mounts_in_another_application(ask, host):
    """Below a path of that application's choice."""
    outer = Starlette()
    outer.mount("/fn", asgi(host))
    answer = ask("POST", "/fn/v1/functions/math.add", app=outer, json={"a": 1, "b": 2})
    assert (answer.status_code, answer.json()) == (200, 3)


# --- Tenants ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path):
    """Make an application of a host that has a tenant, which its header names."""
    file = tmp_path / "jackfield.toml"
    file.write_text('[store]\nurl = "sqlite:kept.db"\n[tenants.t]\npermissions = ["math.*"]\n[tenants.u]\n')
    with Host.from_config(file, observers=()) as made:
        for name, target in FUNCTIONS.items():
            made.register(name, target)

        def authenticate(headers):
            return headers.get(b"x-test-tenant", b"").decode() or None

        yield asgi(made, authenticate=authenticate)


def test_a_request_of_nobody_is_refused_once_there_are_tenants(ask, closed):
    """But for those who ask whether it lives; metrics are for this machine."""
    numbers = {"json": {"a": 1, "b": 2}}
    for method, path in [
        ("POST", "/v1/functions/math.add"), ("GET", "/v1/functions"), ("GET", "/openapi.json"), ("GET", "/v1/calls/1"),
    ]:  # fmt: skip
        answer = ask(method, path, app=closed, **(numbers if method == "POST" else {}))
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "outcome" not in answer.json()
    assert ask("GET", "/healthz", app=closed).status_code == 200
    assert ask("GET", "/metrics", app=closed).status_code == 200
    for client in (None, ["192.0.2.1", 1]):  # through a Unix socket a proxy may pass on anybody

        async def from_elsewhere(scope, receive, send, client=client):
            await closed({**scope, "client": client}, receive, send)

        assert ask("GET", "/metrics", app=from_elsewhere).status_code == 401
    own = {"headers": {"x-test-tenant": "t"}}
    assert ask("POST", "/v1/functions/math.add", app=closed, **numbers, **own).json() == 3
    assert ask("POST", "/v1/functions/seen", app=closed, **own).status_code == 403


def test_a_tenant_picks_no_version_that_it_may_not(tmp_path, ask):
    """By the header of a call, and in a batch."""
    file = tmp_path / "jackfield.toml"
    file.write_text("[tenants.t]\n[tenants.u]\nversions = true\n")
    with Host.from_config(file, observers=()) as made:
        made.register("f", lambda: "1", version="1")
        made.register("f", lambda: "2", version="2")
        app = asgi(made, authenticate=lambda headers, *_: headers[b"x-test-tenant"].decode())
        for tenant, single, batch in [("t", 403, 403), ("u", 200, "2")]:
            own = {"x-test-tenant": tenant}
            assert ask("POST", "/v1/functions/f", app=app, headers={**own, "x-version": "2"}).status_code == single
            calls = [{"function": "f", "version": "2"}]
            (answer,) = ask("POST", "/v1/calls:batch", app=app, headers=own, json=calls).json()
            assert answer.get("status", answer.get("result")) == batch
            assert ask("POST", "/v1/calls:batch", app=app, headers=own, json=[{"function": "f"}]).json() == [
                {"result": "1"}
            ]


def test_a_tenant_sees_what_it_may_call(ask, closed):
    """In the list, in the document, and one by one."""
    own = {"headers": {"x-test-tenant": "t"}}
    assert [each["name"] for each in ask("GET", "/v1/functions", app=closed, **own).json()] == ["math.add"]
    assert called_in(ask("GET", "/openapi.json", app=closed, **own).json()) == ["math.add"]
    assert ask("GET", "/v1/functions/seen", app=closed, **own).status_code == 404


# --- Calls for later --------------------------------------------------------------------------------------------------


def settled(ask, app, location, **more):
    """Ask for a call until it has ended."""
    ends = monotonic() + 60
    while True:
        document = ask("GET", location, app=app, **more).json()
        if document["status"] not in {"accepted", "running"} or monotonic() > ends:
            return document


@pytest.mark.slow
def test_what_is_submitted_is_accepted_run_and_shown_to_its_tenant_alone(ask, closed):
    """The same key is the same call."""
    own, other = {"x-test-tenant": "u"}, {"x-test-tenant": "t"}
    send = {"json": {"a": 1, "b": 2}, "headers": {**own, "Idempotency-Key": "order-17"}}
    accepted = ask("POST", "/v1/submit/math.add", app=closed, **send)
    location = accepted.headers["location"]
    assert (accepted.status_code, location) == (202, f"/v1/calls/{accepted.json()['id']}")
    assert ask("POST", "/v1/submit/math.add", app=closed, **send).headers["location"] == location
    document = settled(ask, closed, location, headers=own)
    assert document == {"id": document["id"], "function": "math.add", "status": "succeeded", "result": 3}
    assert ask("GET", location, app=closed, headers=other).status_code == 404
    send["json"] = {"a": 2, "b": 2}
    assert ask("POST", "/v1/submit/math.add", app=closed, **send).json()["outcome"] == "invalid_payload"


@pytest.mark.slow
def test_a_submitted_call_can_end_badly_or_be_cancelled(ask, closed):
    """Then it has a problem document."""
    own = {"x-test-tenant": "u"}
    refused = ask("POST", "/v1/submit/refuse", app=closed, headers=own).headers["location"]
    document = settled(ask, closed, refused, headers=own)
    assert (document["status"], document["problem"]["code"]) == ("failed", "bad_amount")
    waiting = ask("POST", "/v1/submit/slow", app=closed, json=60, headers=own).headers["location"]
    assert ask("DELETE", waiting, app=closed, headers={"x-test-tenant": "t"}).status_code == 404
    ask("DELETE", waiting, app=closed, headers=own)
    document = settled(ask, closed, waiting, headers=own)
    assert (document["status"], document["problem"]["outcome"]) == ("cancelled", "cancelled")


@pytest.mark.slow
def test_what_is_kept_can_be_looked_for_by_its_tenant(ask, closed):
    """By function and status; what is no question is refused."""
    own, other = {"x-test-tenant": "u"}, {"x-test-tenant": "t"}
    ids = {ask("POST", "/v1/submit/slow", app=closed, json=60, headers=own).json()["id"] for _ in range(3)}
    added = ask("POST", "/v1/submit/math.add", app=closed, json={"a": 1, "b": 2}, headers=own).headers["location"]
    settled(ask, closed, added, headers=own)

    def found(query, headers=own):
        return {row["id"] for row in ask("GET", f"/v1/calls{query}", app=closed, headers=headers).json()}

    assert found("?function=sl*") == ids
    assert found("?status=succeeded") == {added.rpartition("/")[2]}
    assert (len(found("")), len(found("?limit=2")), found("", other)) == (4, 2, set())
    for query in ("?status=lost", "?limit=many", "?limit=10001", "?tenant=t", "?function=a&colour=b"):
        assert ask("GET", f"/v1/calls{query}", app=closed, headers=own).status_code == 400
    for identifier in ids:
        ask("DELETE", f"/v1/calls/{identifier}", app=closed, headers=own)


@pytest.mark.slow
def test_an_answer_can_wait_for_the_end_of_a_call(ask, closed):
    """As RFC 7240 has it, and no longer than is good for a door that is to close."""
    own = {"x-test-tenant": "u"}
    location = ask("POST", "/v1/submit/slow", app=closed, json=0.3, headers=own).headers["location"]
    shown = ask("GET", location, app=closed, headers={**own, "Prefer": "respond-async, wait=9"})
    assert (shown.json()["status"], shown.headers["preference-applied"]) == ("succeeded", "wait")
    for said in ("wait=x", "", "return=minimal", "wait"):
        assert "preference-applied" not in ask("GET", location, app=closed, headers={**own, "Prefer": said}).headers


def test_where_the_store_does_not_last_nothing_is_accepted(ask):
    """It is told what the host lacks; and an unknown id is not there."""
    refused = ask("POST", "/v1/submit/math.add", json={"a": 1, "b": 2})
    told = refused.json()
    assert (refused.status_code, told["outcome"], told["cause"], told["ran"]) == (503, "unavailable", "store", False)
    assert "this host has no store that lasts: whoever runs it adds [store]" in told["detail"]
    assert ask("GET", "/v1/calls/0123").status_code == 404
