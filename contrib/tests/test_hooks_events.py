"""CloudEvents 1.0 at a webhook: binary, structured and batch mode are the same calls, and what is none is told so."""

import asyncio
import json
from base64 import b64encode

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from jackfield import Host, current_call
from jackfield.config import parse_config
from jackfield.testing import no_leaks
from jackfield_contrib.http import asgi

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "data": {"amount": 7}}
CONFIG = """
lazy = true
[webhooks.events]
function = "take"
scheme = "none"
[webhooks.strict]
function = "add"
scheme = "none"
"""


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def hooked(tmp_path):
    """Give what makes hosts whose function keeps what it gets."""

    def make(more=""):
        host = Host.from_config(parse_config((CONFIG + more).encode(), tmp_path / "jackfield.toml"), observers=())
        taken = []

        def take(payload: object = None) -> int:
            taken.append((payload, {k: v for k, v in current_call().headers.items() if k.startswith("ce-")}))
            return len(taken)

        host.register("take", take)
        host.register("add", add)
        return host, taken

    return make


@pytest.fixture
def host(hooked):
    made, taken = hooked()
    made.taken = taken
    with no_leaks(), made:
        yield made


def post(host, body, kind=None, name="events", **headers):
    async def once():
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": kind} if kind else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi(host)), base_url="http://door") as client:
            return await client.post(f"/v1/hooks/{name}", content=content, headers={**sent, **headers})

    return asyncio.run(once())


def test_what_the_library_writes_is_read(host):
    """In both modes alike: the data is the payload, and the attributes are headers."""
    attributes = {"id": "1", "source": "/shop", "type": "order.paid", "subject": "Grüße 1", "tier": "beta"}
    for place, write in enumerate((to_binary_event, to_structured_event)):
        message = write(CloudEvent({**attributes, "id": str(place)}, {"amount": 7}))
        kind = message.headers.pop("content-type", None)
        answer = post(host, message.body, kind, **message.headers)
        assert answer.status_code == 200, answer.text
    (payload, binary), (same, structured) = host.taken
    assert payload == same == {"amount": 7}
    assert binary | {"ce-id": "", "ce-time": ""} == structured | {"ce-id": "", "ce-time": ""}
    assert binary["ce-subject"] == "Grüße 1"
    assert binary["ce-tier"] == "beta"


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ({"data": {"a": 1}}, {"a": 1}),
        ({"data": None}, None),
        ({}, None),
        ({"data": "text", "datacontenttype": "text/plain"}, "text"),
        ({"data": 7}, 7),
        ({"data_base64": b64encode(b"\x00\xff").decode(), "datacontenttype": "image/png"}, b"\x00\xff"),
        ({"data_base64": b64encode(b'{"a": 1}').decode(), "datacontenttype": "application/json"}, {"a": 1}),
        ({"data_base64": b64encode(b'{"a": 1}').decode()}, {"a": 1}),
    ],
)
def test_the_data_of_a_structured_event_is_the_payload(host, event, payload):
    """Whatever it is."""
    whole = {key: value for key, value in EVENT.items() if key != "data"} | event
    assert post(host, whole, STRUCTURED).status_code == 200
    assert host.taken[0][0] == payload


@pytest.mark.parametrize(
    ("body", "kind", "payload"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', None, {"a": 1}),
        (b"<a/>", "text/xml", "<a/>"),
        (b"\xff\x00", "image/png", b"\xff\x00"),
        (b"", "text/plain", None),
        (b"", None, None),
    ],
)
def test_the_body_of_a_binary_event_is_what_its_type_says(host, body, kind, payload):
    """JSON, text, or bytes."""
    headers = {f"ce-{name}": value for name, value in EVENT.items() if name != "data"}
    assert post(host, body, kind, **headers).status_code == 200
    assert host.taken[0][0] == payload


def test_headers_beside_a_structured_event_say_nothing_of_it(host):
    """What the body says counts."""
    assert post(host, EVENT, STRUCTURED, **{"ce-type": "another", "ce-extra": "x"}).status_code == 200
    assert host.taken[0][1] == {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/shop", "ce-type": "order.paid",
    }  # fmt: skip


def test_a_batch_is_a_call_for_each_event(host):
    """And answers for each, in order."""
    events = [{**EVENT, "id": str(number), "data": {"a": number, "b": 1}} for number in range(3)]
    events[1]["data"] = {"a": "x"}
    answer = post(host, events, BATCH, "strict")
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert (first, second["outcome"], third) == ({"result": 1}, "invalid_payload", {"result": 3})
    assert post(host, [], BATCH).json() == []


def test_a_batch_is_submitted_where_the_store_lasts(hooked):
    """An event that comes twice is one call, in whichever batch it comes."""
    host, taken = hooked('[store]\nurl = "sqlite:events.db"')
    with host:
        events = [{**EVENT, "id": str(number)} for number in (1, 2)]
        answer = post(host, events, BATCH)
        assert answer.status_code == 202
        ids = [each["id"] for each in answer.json()]
        assert post(host, events[1], STRUCTURED).json()["id"] == ids[1]
        for each in ids:
            host.submitted(each).result(20.0)
    assert len(taken) == 2


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status"),
    [
        ([EVENT], STRUCTURED, {}, 400),
        (EVENT, BATCH, {}, 400),
        (b"{", STRUCTURED, {}, 400),
        (b"[" * 100_000, STRUCTURED, {}, 400),
        (b"[" * 100_000, BATCH, {}, 400),
        (b"7", STRUCTURED, {}, 400),
        ([7], BATCH, {}, 400),
        ({**EVENT, "id": None}, STRUCTURED, {}, 400),
        ({**EVENT, "id": ""}, STRUCTURED, {}, 400),
        ({**EVENT, "id": 7}, STRUCTURED, {}, 400),
        ({**EVENT, "source": []}, STRUCTURED, {}, 400),
        ({**EVENT, "specversion": "0.3"}, STRUCTURED, {}, 400),
        ({**EVENT, "time": "yesterday"}, STRUCTURED, {}, 400),
        ({**EVENT, "time": 7}, STRUCTURED, {}, 400),
        ({**EVENT, "time": "2026-01-01T00:00:00"}, STRUCTURED, {}, 400),
        ({**EVENT, "Tier": "x"}, STRUCTURED, {}, 400),
        ({**EVENT, "tier": {"a": 1}}, STRUCTURED, {}, 400),
        ({**EVENT, "tier": "a\nb"}, STRUCTURED, {}, 400),
        ({**EVENT, "data_base64": "AA=="}, STRUCTURED, {}, 400),
        ({**EVENT, "data": None, "data_base64": "%"}, STRUCTURED, {}, 400),
        ({**EVENT, "data": None, "data_base64": "AA=="}, STRUCTURED, {}, 400),
        (EVENT, "application/cloudevents+avro", {}, 415),
        (EVENT, "application/cloudevents-batch+xml", {}, 415),
        (b"{}", "application/json", {"ce-specversion": "1.0"}, 400),
        (b"{", "application/json", {f"ce-{name}": "1.0" for name in ("specversion", "id", "source", "type")}, 400),
        (b"{}", "image/png", {}, 415),
    ],
)
def test_what_is_no_good_event_is_refused(host, body, kind, headers, status):
    """With what is wrong, and without a call."""
    answer = post(host, body, kind, **headers)
    assert (answer.status_code, "outcome" in answer.json()) == (status, False)
    assert host.taken == []


def test_very_long_names_are_names(host):
    """An id may be as long as a header."""
    assert post(host, {**EVENT, "id": "x" * 5_000}, STRUCTURED).json() == 1
    assert post(host, {**EVENT, "id": "x" * 5_000}, STRUCTURED).json() == 1
    assert post(host, {**EVENT, "id": "x" * 5_001}, STRUCTURED).json() == 2
