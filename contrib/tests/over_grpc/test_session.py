"""Sessions: a stream whose messages carry calls one way and replies the other."""

import asyncio
import threading

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from support_grpc import LIMIT, Talk, target, told, unpacked

from jackfield_contrib.grpc import Bounds
from jackfield_contrib.grpc.functions_pb2 import Call, Calls, Replies
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub


def sums(*ids):
    return [Call(id=each, function="math.add", payload=b'{"a": 1, "b": %d}' % each) for each in ids]


def test_calls_and_replies_go_many_in_a_message(talking):
    """By their ids; the stream ends well when the client has ended its side."""
    talking.say(*sums(*range(300)))
    talking.say(*sums(1_000, 2**64 - 1)[:1])
    talking.finish()
    replies = talking.rest()
    assert replies.keys() == {*range(300), 1_000}
    assert all(reply.result == b"%d" % (identifier + 1) for identifier, reply in replies.items())
    assert talking.stream.code() is grpc.StatusCode.OK


def test_who_is_done_first_is_answered_first(host, talking, waits):
    """Nobody waits for another's call."""
    talking.say(Call(id=1, function="waits", payload=b'"a"'), Call(id=2, function="waits", payload=b'"b"'), *sums(3))
    assert talking.hear(1).keys() == {3}
    waits.let_go(host, "b")
    assert talking.hear(1)[2].result == b'"done b"'
    waits.let_go(host, "a")
    assert talking.hear(1)[1].result == b'"done a"'


def test_a_failure_is_its_own_calls(talking):
    """With the status that it would have alone."""
    talking.say(
        Call(id=1, function="refuse", payload=b'"late"'),
        Call(id=2, function="math.sub"),
        Call(id=3, function="math.add", payload=b"{"),
        Call(id=4, function="waits", timeout=0.01),
        Call(id=5, function="complex"),
        Call(id=6, function="math.add", payload=b"1", encoding=9),
        Call(id=7, function="math.add", timeout=float("inf")),
        Call(id=8, function="math.add", timeout=1e18),
        *sums(9),
    )
    replies = talking.hear(9)
    assert {each: reply.error.code for each, reply in replies.items()} == {
        1: 9,
        2: 5,
        3: 3,
        4: 5,
        5: 13,
        6: 3,
        7: 3,
        8: 3,
        9: 0,
    }
    reasons = {each: details[ErrorInfo].reason for each, reply in replies.items() if (details := unpacked(reply.error))}
    assert reasons == {1: "REJECTED", 2: "NOT_FOUND", 4: "NOT_FOUND", 5: "CRASHED"}
    assert replies[9].result == b"10"


def test_each_call_has_its_own_time(talking, waits):
    """Which begins when it comes."""
    talking.say(Call(id=1, function="waits", timeout=0.05), Call(id=2, function="math.add", timeout=0.0))
    assert {each: reply.error.code for each, reply in talking.hear(2).items()} == {1: 4, 2: 4}
    assert waits.cancelled.acquire(timeout=LIMIT)


def test_one_call_is_cancelled_and_told_so(host, talking, waits):
    """The others go on; whom nobody knows is not missed."""
    talking.say(Call(id=1, function="waits", payload=b'"a"'), Call(id=2, function="waits", payload=b'"b"'))
    for _ in range(2):
        assert waits.begun.acquire(timeout=LIMIT)
    talking.say(cancel=[1, 77])
    (reply,) = talking.hear(1).values()
    assert (reply.id, reply.error.code, unpacked(reply.error)[ErrorInfo].reason) == (1, 1, "CANCELLED")
    assert waits.cancelled.acquire(timeout=LIMIT)
    talking.say(Call(id=1, function="math.add", payload=b'{"a": 1, "b": 1}'))  # the id is free again
    assert talking.hear(1)[1].result == b"2"
    waits.let_go(host, "b")
    assert talking.hear(1)[2].result == b'"done b"'


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_a_client_that_goes_away_cancels_all_its_calls(opened, connect, waits, how):
    """Whether it says so or only leaves."""
    channel = connect(opened())
    session = Talk(FunctionsStub(channel))
    session.say(*(Call(id=each, function="waits") for each in range(5)))
    for _ in range(5):
        assert waits.begun.acquire(timeout=LIMIT)
    session.leave() if how == "cancelled" else channel.close()
    session.finish()
    for _ in range(5):
        assert waits.cancelled.acquire(timeout=LIMIT)


def test_the_streams_own_deadline_ends_all(talk, waits):
    """Though no call has one."""
    session = talk(timeout=1.0)
    session.say(Call(id=1, function="waits"))
    with pytest.raises(grpc.RpcError) as caught:
        session.hear(1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert waits.cancelled.acquire(timeout=LIMIT)


def test_headers_are_the_calls_own_and_those_of_the_stream(talk):
    """Each call has its own trace."""
    session = talk(metadata=[("x-a", "1"), ("authorization", "Bearer x")])
    session.say(Call(id=1, function="headers"), Call(id=2, function="headers", headers={"traceparent": "00-1-2-00"}))
    replies = session.hear(2)
    assert replies[1].result == b'{"x-a":"1"}'
    assert replies[2].result == b'{"x-a":"1","traceparent":"00-1-2-00"}'


def test_no_more_is_read_than_may_be_under_way(host, opened, talk, waits):
    """What is beyond waits where it came from, and is done in its turn."""
    session = talk(opened(bounds=Bounds(session=3)))
    session.say(*(Call(id=each, function="waits", payload=b'"%d"' % (each % 2)) for each in range(6)))
    for _ in range(3):
        assert waits.begun.acquire(timeout=LIMIT)
    assert len(host.calls) == 3
    waits.let_go(host, "0")  # two of the first three, then the fifth at once
    assert session.hear(3).keys() == {0, 2, 4}
    waits.let_go(host, "1")
    assert session.hear(3).keys() == {1, 3, 5}


def broken(stream):
    with pytest.raises(grpc.RpcError) as caught:
        for _ in stream:
            pass
    return told(caught.value)


def test_what_is_no_message_ends_the_session(host, channel, waits):
    """With all its calls: nobody can tell which it would have been."""
    session = channel.stream_stream("/jackfield.v1.Functions/Session", None, Replies.FromString)
    begun = threading.Event()

    def requests():
        yield Calls(calls=[Call(id=1, function="waits")]).SerializeToString()
        assert waits.begun.acquire(timeout=LIMIT)
        begun.set()
        yield b"\xff\xff"

    code, message, details = broken(session(requests(), timeout=LIMIT))
    assert (code, message, details) == ("INVALID_ARGUMENT", "the message is no jackfield.v1.Calls", {})


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ([Call(id=1, function="waits")] * 2, "two calls of the id 1 are under way"),
        ([Call(id=each) for each in range(11)], "a message has at most 10 calls"),
    ],
)
def test_so_does_what_breaks_the_rules(opened, talk, waits, calls, says):
    """Which are told."""
    session = talk(opened(bounds=Bounds(batch=10)))
    session.say(*calls)
    _, message, _ = broken(session.stream)
    assert message == says


def test_a_result_that_no_message_can_hold_is_its_own_calls_failure(opened, talk):
    """And many large ones come in several messages, each of which clients take."""
    session = talk(opened(bounds=Bounds(message=1_500_000)))
    session.say(Call(id=0, function="big", payload=b"1500000"))
    session.say(*(Call(id=each, function="big", payload=b"900000") for each in range(1, 9)))
    replies = session.hear(9)
    assert replies[0].error.code == 8
    assert {len(replies[each].result) for each in range(1, 9)} == {900_002}


def test_a_client_that_reads_nothing_is_left(opened, waits):
    """Nothing is done for it any more, and when it reads it is told why."""
    door = opened(bounds=Bounds(patience=0.5, session=20))

    async def talk():
        async with grpc.aio.insecure_channel(target(door)) as channel:
            stream = FunctionsStub(channel).Session(timeout=LIMIT)
            calls = [Call(id=each, function="big", payload=b"500000") for each in range(1, 200)]
            await stream.write(Calls(calls=[Call(function="waits"), *calls]))
            await asyncio.to_thread(waits.cancelled.acquire, timeout=LIMIT)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                while await stream.read() is not grpc.aio.EOF:
                    pass
            return caught.value

    error = asyncio.run(talk())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "the client has read nothing for 0.5 s"
