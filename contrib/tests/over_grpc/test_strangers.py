"""What strangers send: each gets a defined answer or is left, and the next one is served."""

import socket
import time
from contextlib import contextmanager, suppress

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_grpc import LIMIT, target

from jackfield_contrib.grpc import Bounds
from jackfield_contrib.grpc.functions_pb2 import Call, Calls, Replies, Reply
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub
from jackfield_contrib.grpc.messages import many
from jackfield_contrib.http.problems import Refused

SUM = Call(function="math.add", payload=b'{"a": 1, "b": 2}')
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0abcdefgh"
ALONE = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own

DEFINED = {
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip
"""INTERNAL is what a function of ours gets that crashes: `crash` may be hit on. UNAVAILABLE is submitting without a
store that lasts."""


@contextmanager
def defined():
    """Let an RPC fail as it may, and say nothing of what is within."""
    try:
        yield
    except grpc.RpcError as error:
        wrong = error.code() not in DEFINED or "Unexpected" in (error.details() or "")
        if wrong:
            raise


SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

calls = st.builds(
    Call,
    id=st.integers(0, 2**64 - 1),
    function=st.sampled_from(["math.add", "refuse", "big", "headers", "", "x" * 300, "\u0000", "math"]),
    payload=st.one_of(st.binary(max_size=50), st.sampled_from([b'{"a":1,"b":2}', b"[" * 5_000, b'"\xff"', b"1e999"])),
    encoding=st.sampled_from([0, 1, 2, -1]),
    timeout=st.floats(max_value=20.0),
    version=st.text(max_size=5),
    headers=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
)


@pytest.mark.slow
@SLOW
@given(call=calls)
def test_any_call_has_a_defined_answer(stub, call):
    """Whatever it is made of."""
    with defined():
        stub.Invoke(call, timeout=LIMIT)


@pytest.mark.slow
@SLOW
@given(raw=st.one_of(st.binary(max_size=200), calls.map(lambda call: call.SerializeToString()[:-1])))
def test_any_bytes_have_a_defined_answer(channel, raw):
    """Alone, in a batch, and in a session."""
    for method in ("Invoke", "InvokeBatch", "Submit", "GetSubmission", "Describe"):
        with defined():
            channel.unary_unary(f"/jackfield.v1.Functions/{method}")(raw, timeout=LIMIT)
    with defined():
        for _ in channel.stream_stream("/jackfield.v1.Functions/Session")(iter([raw]), timeout=LIMIT):
            pass


@pytest.mark.slow
@SLOW
@given(batch=st.lists(calls, max_size=20))
def test_each_call_of_a_session_has_one_reply(stub, batch):
    """Whatever the others are."""
    for number, call in enumerate(batch):
        call.id = number
    replies = [each for part in stub.Session(iter([Calls(calls=batch)]), timeout=LIMIT) for each in part.replies]
    assert sorted(each.id for each in replies) == list(range(len(batch)))
    assert {each.error.code for each in replies} <= {code.value[0] for code in DEFINED}


@settings(deadline=None)
@given(
    raw=st.one_of(
        st.binary(max_size=300),
        st.lists(calls, max_size=12).map(lambda found: Calls(calls=found).SerializeToString()),
        st.integers(0, 30).map(lambda count: b"\x0a\x00" * count),
    ),
    most=st.integers(0, 12),
)
def test_calls_are_counted_as_protobuf_counts_them(raw, most):
    """A message of more is never made, one of fewer always."""
    try:
        there = len(Calls.FromString(raw).calls)
    except DecodeError:
        with pytest.raises(Refused):
            many(raw, most)
        return
    if there > most:
        with pytest.raises(Refused):
            many(raw, most)
    else:
        assert len(many(raw, most).calls) == there


def left_alone(connection):
    """Wait until the other side closes a connection."""
    connection.settimeout(LIMIT)
    with suppress(ConnectionError):
        while connection.recv(65_536):
            pass
    return True


def connected(door):
    host, _, port = target(door).rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT)


@pytest.mark.parametrize("says", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", PREFACE[:10]])
def test_who_speaks_something_else_is_left(opened, connect, says):
    """Who says nothing, too, after a while."""
    door = opened(bounds=Bounds(patience=1.0))
    with connected(door) as connection:
        connection.sendall(says)
        assert left_alone(connection)
    assert FunctionsStub(connect(door)).Invoke(SUM, timeout=LIMIT).result == b"3"


def test_who_pings_without_end_is_left(opened, connect):
    """A few are anybody's right."""
    door = opened()
    with connected(door) as connection:
        connection.sendall(PREFACE + SETTINGS)
        with suppress(ConnectionError):
            for _ in range(50):
                connection.sendall(PING)
                time.sleep(0)
        assert left_alone(connection)
    assert FunctionsStub(connect(door)).Invoke(SUM, timeout=LIMIT).result == b"3"


def test_no_more_clients_are_let_in_than_may_be(opened, connect):
    """Until one leaves."""
    door = opened(bounds=Bounds(connections=2))
    first = [connect(door, ALONE) for _ in range(2)]
    for channel in first:
        assert FunctionsStub(channel).Invoke(SUM, timeout=LIMIT).result == b"3"
    with pytest.raises(grpc.RpcError) as caught:
        FunctionsStub(connect(door, ALONE)).Invoke(SUM, timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    first.pop().close()
    late = FunctionsStub(connect(door, ALONE))
    assert late.Invoke(SUM, timeout=LIMIT, wait_for_ready=True).result == b"3"


def test_a_connection_on_which_nothing_happens_is_closed(opened, connect):
    """Its client opens another one when it calls again."""
    door = opened(bounds=Bounds(idle=0.2))
    with connected(door) as connection:
        connection.sendall(PREFACE + SETTINGS)
        assert left_alone(connection)


def test_metadata_without_end_is_refused(stub):
    """Before anything is done."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.Invoke(SUM, metadata=[("x", "y" * 40_000)], timeout=LIMIT)
    assert caught.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    assert stub.Invoke(SUM, timeout=LIMIT, wait_for_ready=True).result == b"3"


def test_compressed_bombs_are_too_large(opened, connect):
    """What counts is what comes out."""
    stub = FunctionsStub(connect(opened(bounds=Bounds(message=100_000))))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Invoke(Call(payload=b" " * 10_000_000), compression=grpc.Compression.Gzip, timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_answers_are_messages(channel):
    """As the descriptor has them: nothing of ours is serialised by hand."""
    reply = channel.unary_unary("/jackfield.v1.Functions/Invoke")(SUM.SerializeToString(), timeout=LIMIT)
    assert Reply.FromString(reply).result == b"3"
    (part,) = channel.stream_stream("/jackfield.v1.Functions/Session")(
        iter([Calls(calls=[SUM]).SerializeToString()]), timeout=LIMIT
    )
    assert [each.result for each in Replies.FromString(part).replies] == [b"3"]
