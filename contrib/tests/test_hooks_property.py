"""Whatever comes to a webhook gets a defined answer: signatures of any bytes, events of any JSON."""

import hmac
import json
import time
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from jackfield_contrib.http import Bounds
from jackfield_contrib.http.exchange import Exchange
from jackfield_contrib.http.hooks_events import Event, events_of
from jackfield_contrib.http.hooks_signatures import Forged, Nameless, delivery, verify
from jackfield_contrib.http.problems import Refused

SECRETS = [f"whsec_{b64encode(text * 4).decode()}" for text in (b"the old one", b"the new one")]
NAMES = [
    b"webhook-id", b"webhook-timestamp", b"webhook-signature", b"x-hub-signature-256", b"x-github-delivery",
    b"stripe-signature",
]  # fmt: skip
now = str(int(time.time())).encode()
values = st.one_of(
    st.binary(max_size=80),
    st.text("tv10=,. sha256:abcdef+/%", max_size=80).map(str.encode),
    st.sampled_from([now, b"t=" + now + b",v1=00", b"v1,AAAA", b"sha256=00", b"nan", b"inf", b"1e400", b"-1"]),
)
schemes = st.sampled_from(["standard", "github", "stripe"])
as_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
attributes = st.dictionaries(
    st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data", "data_base64", "x", "X", ""]),
    st.sampled_from(["1.0", "0.3", "", "2026-01-01T00:00:00Z", "AAAA", "é\n"]) | as_json,
)


@settings(deadline=None)
@given(schemes, st.dictionaries(st.sampled_from(NAMES), values), st.binary(max_size=50))
def test_what_is_made_up_is_forged(scheme, headers, body):
    """Nothing else is raised, and nothing is believed."""
    with pytest.raises(Forged):
        verify(scheme, SECRETS, headers, body)


@settings(deadline=None)
@given(schemes, st.text(max_size=50), st.sampled_from(SECRETS), st.data())
def test_what_is_signed_is_believed_until_one_byte_of_it_differs(scheme, text, secret, data):
    """Of the body, of the time, of the id where that is signed, or of the signature."""
    body, headers = text.encode(), signed(scheme, text, secret)
    verify(scheme, SECRETS, headers, body)
    place = data.draw(st.integers(0, len(body)))
    other = body[:place] + b"x" + body[place:]
    with pytest.raises(Forged):
        verify(scheme, SECRETS, headers, other)
    name = data.draw(st.sampled_from(sorted(headers.keys() - {b"x-github-delivery"})))
    with pytest.raises(Forged):
        verify(scheme, SECRETS, {**headers, name: headers[name].replace(headers[name][-2:], b"~~")}, body)
    with pytest.raises(Forged):
        verify(scheme, ["whsec_" + b64encode(b"a third one").decode()], headers, body)


def signed(scheme, text, secret):
    moment, body = datetime.now(UTC), text.encode()
    if scheme == "standard":
        signature = Webhook(secret).sign("msg_1", moment, text)
        told = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signature,
        }
        return {name.encode(): value.encode() for name, value in told.items()}
    if scheme == "github":
        signature = hmac.new(secret.encode(), body, sha256).hexdigest()
        return {b"x-github-delivery": b"1", b"x-hub-signature-256": f"sha256={signature}".encode()}
    seconds = int(moment.timestamp())
    signature = hmac.new(secret.encode(), f"{seconds}.".encode() + body, sha256).hexdigest()
    return {b"stripe-signature": f"t={seconds},v1={signature}".encode()}


@settings(deadline=None)
@given(schemes, st.dictionaries(st.sampled_from(NAMES), values), st.binary(max_size=50) | as_json.map(json.dumps))
def test_a_delivery_has_a_name_that_can_be_a_key_or_none(scheme, headers, body):
    """Short and printable."""
    try:
        name = delivery(scheme, headers, body if isinstance(body, bytes) else body.encode())
    except Nameless:
        assert scheme != "stripe"
    else:
        assert 0 < len(name) <= 300
        assert name.isascii()
        assert name.isprintable()


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
            "application/x-www-form-urlencoded",
            "application/json",
            "text/plain",
            "",
        ]
    ),
    st.dictionaries(st.sampled_from([b"ce-specversion", b"ce-id", b"ce-source", b"ce-type", b"ce-time"]), values),
    st.one_of(
        st.binary(max_size=50),
        as_json.map(lambda value: json.dumps(value).encode()),
        attributes.map(lambda value: json.dumps(value).encode()),
        st.lists(attributes, max_size=3).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_what_comes_is_events_or_refused(kind, headers, body):
    """Their headers are printable, and their names can be keys."""
    lines = [(b"content-type", kind.encode()), *headers.items()]
    exchange = Exchange({"headers": lines}, None, None, Bounds())
    try:
        events, _ = events_of(exchange, body, form=True)
    except Refused as refused:
        if refused.status not in {400, 415}:
            raise
        return
    assert all(type(event) is Event for event in events)
    for event in events:
        assert len(event.name.encode()) <= 300
        assert all(value.isprintable() for value in (event.name, *event.headers, *event.headers.values()))
