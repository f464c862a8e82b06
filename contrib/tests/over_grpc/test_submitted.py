"""Calls for later, and what can be called."""

import hashlib
import json
from time import monotonic

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from support_grpc import FUNCTIONS, LIMIT, failed, unpacked

from jackfield import Host
from jackfield.wire.crossing import unpack
from jackfield_contrib.grpc.functions_pb2 import (
    ENCODING_MESSAGEPACK,
    Call,
    DescribeRequest,
    SubmissionRequest,
    SubmitRequest,
)
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub

SETTLED = {"succeeded", "failed", "dead", "cancelled"}


@pytest.fixture
def kept(tmp_path, opened, connect):
    """Have a door of a host that keeps what is submitted, for three tenants; give a stub."""
    digests = [(name, hashlib.sha256(name.encode()).hexdigest()) for name in ("t", "u", "boss")]
    text = '[store]\nurl = "sqlite:kept.db"\n'
    text += "".join(f'[tenants.{name}]\nkeys = ["sha256:{digest}"]\n' for name, digest in digests)
    text = text.replace("[tenants.t]\n", '[tenants.t]\npermissions = ["math.*"]\n')
    file = tmp_path / "jackfield.toml"
    file.write_text(text.replace("[tenants.boss]\n", "[tenants.boss]\noperator = true\n"))
    with Host.from_config(file, observers=()) as made:
        for name, function in FUNCTIONS.items():
            made.register(name, function)
        door = opened(host=made)
        yield FunctionsStub(connect(door))
        made.run_at_home(door.close(0.0), LIMIT)


def by(name):
    return {"metadata": [("authorization", f"Bearer {name}")], "timeout": LIMIT}


def settled(stub, identifier, who, **further):
    until = monotonic() + LIMIT
    while monotonic() < until:
        shown = stub.GetSubmission(SubmissionRequest(id=identifier, **further), **by(who))
        if shown.status in SETTLED:
            return shown
    raise AssertionError(shown)


def test_what_is_submitted_is_accepted_run_and_shown_to_its_tenant_alone(kept):
    """And to operators; its key finds it again."""
    request = SubmitRequest(call=Call(function="day", payload=b'"2026-11-27"'), key="k")
    accepted = kept.Submit(request, **by("u"))
    assert (accepted.function, accepted.status) == ("day", "accepted")
    assert kept.Submit(request, **by("u")).id == accepted.id
    shown = settled(kept, accepted.id, "u")
    assert (shown.status, shown.result) == ("succeeded", b'"2026-11-27"')
    assert unpack(settled(kept, accepted.id, "boss", encoding=ENCODING_MESSAGEPACK).result).year == 2026
    for identifier, who in ((accepted.id, "t"), ("0" * 32, "u"), ("", "u")):
        code, _, details = failed(kept.GetSubmission, SubmissionRequest(id=identifier), **by(who))
        assert (code, details) == ("NOT_FOUND", {})


def test_how_a_submitted_call_has_failed_is_told(kept):
    """As a call's own status would."""
    accepted = kept.Submit(SubmitRequest(call=Call(function="refuse", payload=b'"late"')), **by("u"))
    shown = settled(kept, accepted.id, "u")
    assert (shown.status, shown.error.code) == ("failed", 9)
    assert unpacked(shown.error)[ErrorInfo].metadata["code"] == "late"


def test_a_submitted_call_is_cancelled(kept):
    """Unless it has ended."""
    accepted = kept.Submit(SubmitRequest(call=Call(function="math.add", payload=b'{"a": 1, "b": 2}')), **by("t"))
    cancelled = kept.CancelSubmission(SubmissionRequest(id=accepted.id), **by("t"))
    assert cancelled.id == accepted.id
    shown = settled(kept, accepted.id, "t")
    assert shown.status in {"succeeded", "cancelled"}
    assert failed(kept.CancelSubmission, SubmissionRequest(id=accepted.id), **by("u"))[0] == "NOT_FOUND"


def test_what_cannot_be_kept_is_refused_at_once(kept, stub):
    """Without permission, without such a function, with a payload that does not fit, without a store."""
    for call, code in (
        (Call(function="crash"), "PERMISSION_DENIED"),
        (Call(function="math.none"), "NOT_FOUND"),
        (Call(function="math.add", payload=b"[]"), "INVALID_ARGUMENT"),
        (Call(function="math.add", payload=b"{"), "INVALID_ARGUMENT"),
    ):
        assert failed(kept.Submit, SubmitRequest(call=call), **by("t"))[0] == code
    call = Call(function="math.add", payload=b'{"a": 1, "b": 2}')
    code, message, details = failed(stub.Submit, SubmitRequest(call=call))
    assert (code, details[ErrorInfo].metadata["cause"]) == ("UNAVAILABLE", "store")
    assert "whoever runs it adds [store]" in message


def test_a_tenant_sees_what_it_may_call(kept):
    """One function with its schemas."""
    named = kept.Describe(DescribeRequest(), **by("t")).functions
    assert [(each.name, each.payload_schema) for each in named] == [("math.add", b"")]
    assert {each.name for each in kept.Describe(DescribeRequest(), **by("u")).functions} == FUNCTIONS.keys()
    (one,) = kept.Describe(DescribeRequest(function="math.add"), **by("t")).functions
    assert json.loads(one.payload_schema)["required"] == ["a", "b"]
    assert json.loads(one.result_schema)["type"] == "integer"
    for name in ("crash", "math.none"):
        assert failed(kept.Describe, DescribeRequest(function=name), **by("t"))[0] == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as caught:
        kept.Describe(DescribeRequest(), timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
