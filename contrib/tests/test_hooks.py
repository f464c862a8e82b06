"""Webhooks that come in: who may send them, what becomes of one that comes twice, and what the function gets."""

import asyncio
import hmac
import json
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Lock

import httpx
import pytest
import stripe
from standardwebhooks import Webhook

from jackfield import Host, Rejected, current_call
from jackfield.config import parse_config
from jackfield.log import install
from jackfield.testing import no_leaks
from jackfield_contrib.http import Bounds, asgi

OLD, NEW = (f"whsec_{b64encode(text * 4).decode()}" for text in (b"the old one", b"the new one"))
BODY = json.dumps({"id": "evt_1", "amount": 7, "text": "Grüße"}, ensure_ascii=False).encode()

CONFIG = """
discover = false
strict = false
lazy = true
{more}
[webhooks."standard.in"]
function = "take"
secret = ["env:HOOK_OLD", "file:new.secret"]
[webhooks.github]
function = "take"
scheme = "github"
secret = "env:HOOK_OLD"
[webhooks.stripe]
function = "take"
scheme = "stripe"
secret = ["env:HOOK_OLD"]
[webhooks.open]
function = "take"
scheme = "none"
[webhooks.refusing]
function = "refuse"
scheme = "none"
[webhooks.lost]
function = "nowhere"
scheme = "none"
"""
STORE = '[store]\nurl = "sqlite:hooks.db"'


class Taken:
    """What the function was called with."""

    def __init__(self):
        self.calls, self._lock = [], Lock()

    def take(self, payload: object = None) -> int:
        """Count the calls."""
        with self._lock:
            self.calls.append((payload, dict(current_call().headers)))
            return len(self.calls)


def refuse(payload: object = None) -> None:
    raise Rejected("no")


@pytest.fixture
def hosted(tmp_path, monkeypatch):
    """Make hosts with webhooks; give what asks their application, and what was called."""
    monkeypatch.setenv("HOOK_OLD", OLD)
    (tmp_path / "new.secret").write_text(NEW)

    def make(more=""):
        text = CONFIG.format(more=more)
        host = Host.from_config(parse_config(text.encode(), tmp_path / "jackfield.toml"), observers=())
        taken = Taken()
        host.register("take", taken.take)
        host.register("refuse", refuse)
        return host, taken

    return make


@pytest.fixture
def memory(hosted):
    host, taken = hosted()
    with no_leaks(), host:
        yield host, taken


@pytest.fixture
def lasting(hosted):
    host, taken = hosted(STORE)
    with no_leaks(), host:
        yield host, taken


def post(host, name, body=BODY, headers=None, **more):
    """Send one request."""
    return asyncio.run(posts(host, [(name, body, headers or {})], **more))[0]


async def posts(host, requests, authenticate=None):
    """Send requests, all at once."""
    more = {} if authenticate is None else {"authenticate": authenticate}
    transport = httpx.ASGITransport(asgi(host, bounds=Bounds(body=100_000), **more))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        return await asyncio.gather(
            *(
                client.post(f"/v1/hooks/{name}", content=body, headers={"content-type": "application/json", **headers})
                for name, body, headers in requests
            )
        )


def standard(body=BODY, secret=OLD, name="msg_1", age=0.0):
    """Sign as the reference library does."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    signature = Webhook(secret).sign(name, moment, body.decode())
    return {"webhook-id": name, "webhook-timestamp": str(int(moment.timestamp())), "webhook-signature": signature}


def shifted():
    """Send an old delivery again with what was its time as part of its id, and of its body what could be one."""
    now = int(time.time())
    old = standard(f"{now}.5".encode(), age=4_000)
    return {**old, "webhook-id": f"{old['webhook-id']}.{old['webhook-timestamp']}", "webhook-timestamp": str(now)}


def github(body=BODY, secret=OLD, name="72d3162e-cc78-11e3-81ab-4c9367dc0958"):
    """Sign as GitHub's documentation says."""
    signature = hmac.new(secret.encode(), body, sha256).hexdigest()
    return {"x-github-event": "push", "x-github-delivery": name, "x-hub-signature-256": f"sha256={signature}"}


def striped(body=BODY, secret=OLD, age=0.0):
    """Sign as Stripe's library checks."""
    moment = int(time.time() - age)
    signature = hmac.new(secret.encode(), f"{moment}.".encode() + body, sha256).hexdigest()
    return {"stripe-signature": f"t={moment},v1={signature}"}


SIGNED = {"standard.in": standard, "github": github, "stripe": striped}


# --- Who may send -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_request_is_a_call_with_the_json_body_as_its_payload(lasting, name):
    """Where the store lasts it is accepted, and the answer says where it is."""
    host, taken = lasting
    answer = post(host, name, headers=SIGNED[name]())
    assert (answer.status_code, answer.json()["function"]) == (202, "take")
    assert answer.headers["location"] == f"/v1/calls/{answer.json()['id']}"
    assert host.submitted(answer.json()["id"]).result(20.0) == 1
    assert taken.calls[0][0] == json.loads(BODY)


@pytest.mark.parametrize("name", SIGNED)
def test_without_a_store_that_lasts_it_is_called(memory, name):
    """And the answer is the result."""
    host, _ = memory
    answer = post(host, name, headers=SIGNED[name]())
    assert (answer.status_code, answer.json()) == (200, 1)


def test_what_the_tests_sign_is_what_stripe_signs():
    """By its own library."""
    header = striped()["stripe-signature"]
    assert stripe.WebhookSignature.verify_header(BODY.decode(), header, OLD, tolerance=300)


def test_github_is_checked_by_the_example_of_its_documentation(memory, monkeypatch):
    """The body is no JSON, which is found out only when the signature holds."""
    host, _ = memory
    monkeypatch.setenv("HOOK_OLD", "It's a Secret to Everybody")
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-github-delivery": "1", "x-hub-signature-256": signature}
    assert post(host, "github", b"Hello, World!", headers).status_code == 400
    assert post(host, "github", b"Hello, World?", headers).status_code == 401


def test_an_old_delivery_is_not_new_by_another_cut(lasting):
    """What is signed is joined by dots, of which an id has none."""
    host, _ = lasting
    assert post(host, "standard.in", b"5", shifted()).status_code == 401


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("standard.in", dict),
        ("standard.in", lambda: standard(secret=f"whsec_{b64encode(b'another').decode()}")),
        ("standard.in", lambda: standard(b"{}")),
        ("standard.in", lambda: standard(age=330)),
        ("standard.in", lambda: standard(age=-330)),
        ("standard.in", lambda: {**standard(), "webhook-id": "msg_2"}),
        ("standard.in", lambda: {**standard(), "webhook-timestamp": "soon"}),
        ("standard.in", lambda: {**standard(), "webhook-timestamp": "nan"}),
        ("standard.in", lambda: {**standard(), "webhook-timestamp": "9" * 400}),
        ("standard.in", lambda: {**standard(), "webhook-signature": "v1"}),
        ("standard.in", lambda: {**standard(), "webhook-signature": "v1,%%%"}),
        ("standard.in", lambda: {**standard(), "webhook-signature": "v1," + "A" * 43 + "="}),
        ("standard.in", lambda: {**standard(), "webhook-signature": "v2," + standard()["webhook-signature"][3:]}),
        ("standard.in", lambda: {**standard(), "webhook-signature": "v1,x " * 100 + standard()["webhook-signature"]}),
        ("standard.in", github),
        ("github", dict),
        ("github", lambda: github(secret=NEW)),
        ("github", lambda: github(b"{}")),
        ("github", lambda: {**github(), "x-hub-signature-256": ""}),
        ("github", lambda: {**github(), "x-hub-signature-256": github()["x-hub-signature-256"][7:]}),
        ("github", lambda: {**github(), "x-hub-signature-256": github()["x-hub-signature-256"].upper()}),
        ("github", lambda: {"x-github-delivery": "1", "x-hub-signature": "sha1=" + "0" * 40}),
        ("github", lambda: {**github(), "x-hub-signature-256": "sha256=ä".encode()}),
        ("stripe", dict),
        ("stripe", lambda: striped(secret=NEW)),
        ("stripe", lambda: striped(b"{}")),
        ("stripe", lambda: striped(age=330)),
        ("stripe", lambda: striped(age=-330)),
        ("stripe", lambda: {"stripe-signature": striped(age=400)["stripe-signature"] + f",t={int(time.time())}"}),
        ("stripe", lambda: {"stripe-signature": striped()["stripe-signature"].replace("v1", "v0")}),
        ("stripe", lambda: {"stripe-signature": "t=,v1="}),
        ("stripe", lambda: {"stripe-signature": "t=" + "9" * 5000 + ",v1=00"}),
        ("stripe", lambda: {"stripe-signature": striped()["stripe-signature"].partition(",")[2]}),
    ],
)
def test_what_is_not_signed_as_it_should_be_is_nobody_s(memory, name, headers):
    """One answer for all of it, the reason in the log alone, and no call."""
    host, taken = memory
    said = []
    remove = install(said.append)
    try:
        answer = post(host, name, headers=headers())
    finally:
        remove()
    assert answer.status_code == 401
    assert answer.json()["detail"] == "the signature does not hold"
    record = next(one for one in said if one.event == "refused")
    assert (record.level, record.fields["door"]) == ("WARNING", "http")
    assert record.fields["reason"].startswith(f"webhook {name}: ")
    assert OLD not in record.text
    assert OLD not in str(record.fields)
    assert [*host.submissions()] == []
    assert taken.calls == []


@pytest.mark.parametrize("age", [0, 250, -250])
def test_clocks_may_differ_by_five_minutes(memory, age):
    """The way included."""
    host, _ = memory
    assert post(host, "standard.in", headers=standard(age=age)).status_code == 200
    assert post(host, "stripe", headers=striped(age=age)).status_code == 200


def test_while_a_secret_is_rotated_both_are_good(memory, tmp_path):
    """And a file that was replaced is seen at the next request."""
    host, _ = memory
    assert post(host, "standard.in", headers=standard(secret=OLD, name="1")).status_code == 200
    assert post(host, "standard.in", headers=standard(secret=NEW, name="2")).status_code == 200
    newer = f"whsec_{b64encode(b'the newest of them all').decode()}"
    (tmp_path / "new.secret").write_text(newer)
    assert post(host, "standard.in", headers=standard(secret=newer, name="3")).status_code == 200
    assert post(host, "standard.in", headers=standard(secret=NEW, name="4")).status_code == 401


def test_a_sender_may_sign_with_several_secrets(memory):
    """In any order, among signatures of other kinds."""
    host, _ = memory
    headers = standard(secret=NEW)
    headers["webhook-signature"] = "v1a,AAAA v1,AAAA " + headers["webhook-signature"]
    assert post(host, "standard.in", headers=headers).status_code == 200
    one, other = striped(secret=NEW), striped()
    several = one["stripe-signature"] + "," + other["stripe-signature"].partition(",")[2] + ",v0=77"
    assert post(host, "stripe", headers={"stripe-signature": several}).status_code == 200


def test_a_secret_that_is_gone_is_the_host_s_fault(memory, monkeypatch):
    """The sender is to come again."""
    host, _ = memory
    monkeypatch.delenv("HOOK_OLD")
    said = []
    remove = install(said.append)
    try:
        assert post(host, "github", headers=github()).status_code == 503
        assert post(host, "standard.in", headers=standard(secret=NEW)).status_code == 200  # there is another one
    finally:
        remove()
    assert {one.level for one in said} >= {"ERROR"}


@pytest.mark.parametrize("name", ["nope", "", "standard.in/x", "take", "STRIPE"])
def test_a_webhook_that_nobody_has_configured_is_not_there(memory, name):
    """Nor is anything in a host without a configuration."""
    host, _ = memory
    assert post(host, name).status_code == 404
    with Host(observers=()) as bare:
        assert post(bare, "stripe").status_code == 404


def test_only_posts_are_taken(memory):
    """By the table of methods, as elsewhere."""
    host, _ = memory

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi(host)), base_url="http://door") as client:
            return await client.get("/v1/hooks/stripe")

    answer = asyncio.run(get())
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_body_has_its_bound_before_anybody_looks_at_its_signature(memory):
    """Whatever it says of its length."""
    host, _ = memory
    body = b"[" + b"1," * 60_000 + b"1]"
    assert post(host, "github", body, github(body)).status_code == 413
    assert post(host, "github", body, {**github(body), "content-length": "3"}).status_code == 413


# --- The same delivery again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "sign"), SIGNED.items())
def test_the_same_delivery_again_answers_as_the_first_did(lasting, name, sign):
    """It is one call, though it is signed anew with another time."""
    host, taken = lasting
    first, second = (post(host, name, headers=sign(**more)) for more in ({}, {} if name == "github" else {"age": 2.0}))
    assert (first.status_code, first.json(), first.headers["location"]) == (
        second.status_code, second.json(), second.headers["location"],
    )  # fmt: skip
    assert host.submitted(first.json()["id"]).result(20.0) == 1
    assert len(taken.calls) == len([*host.submissions()]) == 1


@pytest.mark.parametrize(("name", "sign"), SIGNED.items())
def test_where_it_is_called_the_same_delivery_gets_the_same_result(memory, name, sign):
    """Many at once, too."""
    host, taken = memory
    answers = asyncio.run(posts(host, [(name, BODY, sign())] * 20))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, 1)] * 20
    assert len(taken.calls) == 1


def test_many_at_once_are_one_call(lasting):
    """Whichever is first."""
    host, taken = lasting
    answers = asyncio.run(posts(host, [("github", BODY, github())] * 20))
    assert len({answer.json()["id"] for answer in answers}) == 1
    host.submitted(answers[0].json()["id"]).result(20.0)
    assert len(taken.calls) == 1


def test_a_delivery_is_known_after_a_restart(hosted):
    """For days, be results kept for a second."""
    more = f"{STORE}\n[durable]\nkeep = 1.0"
    host, taken = hosted(more)
    with host:
        first = post(host, "github", headers=github())
        host.submitted(first.json()["id"]).result(20.0)
        entry = host.durable_calls.read(first.json()["id"])
        assert entry.call.keep == 3 * 86_400.0
    again, others = hosted(more)
    with again:
        second = post(again, "github", headers=github())
        assert second.json() == first.json()
        assert again.submitted(second.json()["id"]).result(20.0) == 1
    assert (len(taken.calls), len(others.calls)) == (1, 0)


def test_an_id_stands_for_one_content(lasting):
    """What is signed and comes under the id of another delivery is told so."""
    host, _ = lasting
    assert post(host, "github", b"[1]", github(b"[1]")).status_code == 202
    assert post(host, "github", b"[2]", github(b"[2]")).status_code == 409


def test_another_delivery_is_another_call(lasting):
    """So is the same id at another webhook."""
    host, _ = lasting
    ids = {
        post(host, "github", headers=github(name="1")).json()["id"],
        post(host, "github", headers=github(name="2")).json()["id"],
        post(host, "standard.in", headers=standard(name="1")).json()["id"],
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("github", lambda: github(name="")),
        ("github", lambda: github(name="x" * 301)),
        ("standard.in", lambda: standard(name="x" * 301)),
    ],
)
def test_what_cannot_be_told_from_others_is_refused(lasting, name, headers):
    """It could be sent again and again."""
    host, _ = lasting
    assert post(host, name, headers=headers()).status_code == 400


def test_events_of_stripe_without_an_id_are_known_by_their_content(lasting):
    """So that they, too, are called once."""
    host, _ = lasting
    ids = [post(host, "stripe", body, striped(body)).json()["id"] for body in (b"[1]", b"[1]", b"[2]")]
    assert (ids[0] == ids[1], ids[1] == ids[2]) == (True, False)


# --- What the function gets -------------------------------------------------------------------------------------------


def test_the_headers_are_the_call_s_but_for_signatures_and_versions(memory):
    """What is not signed picks no version."""
    host, taken = memory
    post(host, "github", headers={**github(), "x-version": "7", "authorization": "Bearer x", "cookie": "a=b"})
    headers = taken.calls[0][1]
    assert headers["x-github-event"] == "push"
    assert not {"x-version", "authorization", "cookie", "x-hub-signature-256"} & headers.keys()


def test_github_may_send_a_form(memory):
    """As it does when nobody has chosen JSON."""
    host, taken = memory
    body = b"payload=%7B%22a%22%3A+1%7D"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert post(host, "github", body, {**github(body), **form}).status_code == 200
    assert taken.calls[0][0] == {"a": 1}
    for wrong in (b"a=1", b"payload=1&payload=2", b"\xff", b""):
        assert post(host, "github", wrong, {**github(wrong, name="2"), **form}).status_code == 400


@pytest.mark.parametrize(("name", "status"), [("refusing", 422), ("lost", 404)])
def test_how_the_call_ends_is_told_where_it_is_called(memory, name, status):
    """As for any other."""
    host, _ = memory
    assert post(host, name).status_code == status


def test_with_tenants_the_calls_are_those_of_the_webhook_s(tmp_path, monkeypatch):
    """Nobody needs a key beside the signature; who may see the call is the tenant alone."""
    monkeypatch.setenv("HOOK_OLD", OLD)
    text = f"""
{STORE}
[tenants.ci]
permissions = ["take"]
[tenants.other]
[webhooks.github]
function = "take"
scheme = "github"
secret = "env:HOOK_OLD"
tenant = "ci"
[webhooks.denied]
function = "secret.take"
scheme = "none"
tenant = "ci"
"""
    with Host.from_config(parse_config(text.encode(), tmp_path / "jackfield.toml"), observers=()) as host:
        taken = Taken()
        host.register("take", taken.take)
        host.register("secret.take", taken.take)
        answer = post(host, "github", headers=github())
        assert answer.status_code == 202
        assert host.submitted(answer.json()["id"]).tenant == "ci"
        assert post(host, "denied").status_code == 403


def test_an_apply_changes_webhooks(lasting, tmp_path):
    """Without a restart."""
    host, _ = lasting
    text = CONFIG.format(more=STORE).replace("[webhooks.open]", "[webhooks.renamed]")
    plan = host.apply(parse_config(text.encode(), tmp_path / "jackfield.toml"))
    assert [(change.kind, change.status) for change in plan.changes] == [("webhooks", "done")]
    assert (post(host, "open").status_code, post(host, "renamed").status_code) == (404, 202)
