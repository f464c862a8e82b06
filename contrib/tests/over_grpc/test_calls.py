"""One call, and several: a real server of grpc.aio on a real socket, and real clients."""

from datetime import date

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support_grpc import LIMIT, failed, unpacked

from jackfield.errors import Rejected, ResourceExhausted
from jackfield.wire.crossing import pack, unpack
from jackfield_contrib.grpc import Bounds
from jackfield_contrib.grpc.functions_pb2 import ENCODING_MESSAGEPACK, Call, Calls
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub


class TestInvoke:
    """One call, of which the RPC's status is the outcome."""

    def test_a_call_is_answered(self, stub):
        """With its id, which a client may ignore."""
        reply = stub.Invoke(Call(id=7, function="math.add", payload=b'{"a": 1, "b": 2}'), timeout=LIMIT)
        assert (reply.id, reply.result) == (7, b"3")

    def test_messagepack_comes_back_as_it_came(self, stub):
        """With what JSON has no form for."""
        call = Call(function="day", payload=pack(date(2026, 11, 27)), encoding=ENCODING_MESSAGEPACK)
        assert unpack(stub.Invoke(call, timeout=LIMIT).result) == date(2026, 11, 27)

    @pytest.mark.parametrize(
        ("call", "code", "reason", "metadata"),
        [
            (Call(function="refuse", payload=b'"late"'), "FAILED_PRECONDITION", "REJECTED", {"code": "late", "details": '{"until":"tomorrow"}'}),  # noqa: E501
            (Call(function="math.add", payload=b'{"a": 1}'), "INVALID_ARGUMENT", "INVALID_PAYLOAD", None),
            (Call(function="math.sub"), "NOT_FOUND", "NOT_FOUND", {}),
            (Call(function="crash"), "INTERNAL", "CRASHED", {}),
            (Call(function="complex"), "INTERNAL", "CRASHED", {}),
            (Call(function="math.add", version="9"), "NOT_FOUND", "NOT_FOUND", {}),
            (Call(function="waits", timeout=0.05), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", {}),
            (Call(function="math.add", timeout=0.0), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", {}),
            (Call(function="math.add", timeout=-1.0), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", {}),
        ],
    )  # fmt: skip
    def test_how_it_ends_is_the_status(self, stub, waits, call, code, reason, metadata):
        """With the outcome as the reason of an ErrorInfo."""
        got, message, details = failed(stub.Invoke, call)
        info = details[ErrorInfo]
        assert (got, info.domain, info.reason) == (code, "jackfield", reason)
        assert "hunter2" not in f"{message} {dict(info.metadata)}"
        assert info.metadata["error"], "whose fields the rest of it is"
        if metadata is not None:
            assert metadata.items() <= dict(info.metadata).items()

    def test_what_does_not_fit_is_a_bad_request(self, stub):
        """With the path as the field."""
        _, _, details = failed(stub.Invoke, Call(function="math.add", payload=b'{"a": 1, "b": "x"}'))
        (violation,) = details[BadRequest].field_violations
        assert violation.field == "$.b"
        assert violation.description.startswith("expected int, got ")

    def test_who_is_to_come_back_knows_when(self, host, opened, connect, monkeypatch):
        """As RetryInfo."""

        async def exhausted(*_):
            raise ResourceExhausted("busy", "too many at once", retry_after=1.5)

        monkeypatch.setattr(host, "acall", exhausted)
        code, _, details = failed(FunctionsStub(connect(opened())).Invoke, Call(function="busy"))
        assert (code, details[RetryInfo].retry_delay.ToMilliseconds()) == ("RESOURCE_EXHAUSTED", 1_500)

    @pytest.mark.parametrize(
        ("call", "code", "says"),
        [
            (Call(function="math.add", payload=b"{"), "INVALID_ARGUMENT", "no JSON"),
            (Call(function="math.add", payload=b"\xc1", encoding=1), "INVALID_ARGUMENT", "no MessagePack"),
            (Call(function="math.add", payload=b"[" * 100_000), "INVALID_ARGUMENT", "nested too deeply"),
            (Call(function="math.add", payload=b"1", encoding=7), "INVALID_ARGUMENT", "no encoding 7"),
            (Call(function="math.add", timeout=float("nan")), "INVALID_ARGUMENT", "seconds"),
            (Call(function="math.add", headers={"x": "y" * 20_000}), "RESOURCE_EXHAUSTED", "headers"),
        ],
    )
    def test_what_never_became_a_call_has_no_outcome(self, stub, call, code, says):
        """A status without details."""
        got, message, details = failed(stub.Invoke, call)
        assert (got, details) == (code, {})
        assert says in message

    def test_bytes_that_are_no_message_are_told_so(self, channel):
        """And the next call is answered."""
        for raw in (b"\xff", b"\x12\x02\xff\xff", b"\x0a\xff\xff\xff\xff\x0f"):
            code, message, _ = failed(channel.unary_unary("/jackfield.v1.Functions/Invoke"), raw)
            assert (code, message) == ("INVALID_ARGUMENT", "the message is no jackfield.v1.Call")
        assert FunctionsStub(channel).Invoke(Call(function="math.add", payload=b'{"a":1,"b":1}')).result == b"2"

    def test_what_is_too_large_is_refused_either_way(self, opened, connect):
        """Before it is read, and before it is sent."""
        stub = FunctionsStub(connect(opened(bounds=Bounds(message=10_000))))
        for payload in (b" " * 20_000 + b"1", b"20000"):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Invoke(Call(function="big", payload=payload), timeout=LIMIT)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(stub.Invoke(Call(function="big", payload=b"9000"), timeout=LIMIT).result) == 9_002

    def test_a_long_refusal_fits_where_clients_take_it(self, host, stub):
        """Its message cut, its details left out: else they would get nothing at all."""

        def verbose() -> None:
            raise Rejected("ü" * 5_000, code="long", details={"all": "x" * 50_000})

        host.register("verbose", verbose)
        code, message, details = failed(stub.Invoke, Call(function="verbose"))
        assert code == "FAILED_PRECONDITION"
        assert 0 < len(message) <= 600
        assert details[ErrorInfo].metadata["code"] == "long"

    def test_a_refusal_with_half_a_character_is_told(self, host, stub):
        """As of the name of a file that is no UTF-8; in a session, too, whose other calls it would hold up for ever."""

        def refuse_oddly() -> None:
            raise Rejected("no \ud800", code="odd\udcff", details={"file\ud800": "a\ud800"})

        host.register("odd", refuse_oddly)
        code, message, details = failed(stub.Invoke, Call(function="odd"))
        assert (code, message, details[ErrorInfo].metadata["code"]) == (
            "FAILED_PRECONDITION",
            "no \\ud800",
            "odd\\udcff",
        )
        (part,) = stub.Session(iter([Calls(calls=[Call(id=1, function="odd")])]), timeout=LIMIT)
        assert [each.error.message for each in part.replies] == ["no \\ud800"]

    def test_metadata_enters_the_call_but_for_secrets(self, stub):
        """And what is about the connection; the call's own headers come first."""
        metadata = [
            ("traceparent", "00-1-2-00"),
            ("authorization", "Bearer x"),
            ("cookie", "y"),
            ("x-a", "1"),
            ("b-bin", b"\0"),
        ]
        call = Call(function="headers", headers={"X-A": "2", "x-api-key": "z"})
        result = stub.Invoke(call, metadata=metadata, timeout=LIMIT).result
        assert result == b'{"traceparent":"00-1-2-00","x-a":"2"}'

    def test_the_clients_deadline_is_the_calls(self, stub, waits):
        """Which ends with it."""
        with pytest.raises(grpc.RpcError) as caught:
            stub.Invoke(Call(function="waits"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert waits.cancelled.acquire(timeout=LIMIT)

    def test_a_client_that_goes_away_cancels_its_call(self, stub, waits):
        """Whether it says so or only leaves."""
        future = stub.Invoke.future(Call(function="waits"), timeout=LIMIT)
        assert waits.begun.acquire(timeout=LIMIT)
        future.cancel()
        assert waits.cancelled.acquire(timeout=LIMIT)

    def test_a_client_whose_connection_breaks_does_so_too(self, opened, connect, waits):
        """Without a word."""
        channel = connect(opened())
        future = FunctionsStub(channel).Invoke.future(Call(function="waits"), timeout=LIMIT)
        assert waits.begun.acquire(timeout=LIMIT)
        channel.close()
        assert future.done()
        assert waits.cancelled.acquire(timeout=LIMIT)


class TestBatch:
    """Several calls, each by itself."""

    def test_replies_are_in_the_order_of_the_calls(self, stub):
        """A failure is its own call's."""
        calls = [
            Call(id=3, function="math.add", payload=b'{"a": 1, "b": 2}'),
            Call(id=3, function="refuse", payload=b'"late"'),
            Call(id=1, function="math.add", payload=pack([1]), encoding=ENCODING_MESSAGEPACK),
            Call(id=9, function="math.add", payload=b"{"),
            Call(id=4, function="math.add", payload=pack({"a": 2, "b": 2}), encoding=ENCODING_MESSAGEPACK),
        ]
        replies = stub.InvokeBatch(Calls(calls=calls), timeout=LIMIT).replies
        assert [reply.id for reply in replies] == [3, 3, 1, 9, 4]
        assert [reply.result for reply in replies] == [b"3", b"", b"", b"", b"\x04"]
        assert [reply.error.code for reply in replies] == [0, 9, 3, 3, 0]
        assert unpacked(replies[1].error)[ErrorInfo].metadata["code"] == "late"
        assert unpacked(replies[3].error) == {}

    def test_a_batch_is_bounded(self, opened, connect):
        """Counted before it is made; what looks like calls within payloads is none."""
        stub = FunctionsStub(connect(opened(bounds=Bounds(batch=10))))
        code, message, _ = failed(stub.InvokeBatch, Calls(calls=[Call()] * 11))
        assert (code, message) == ("RESOURCE_EXHAUSTED", "a message has at most 10 calls")
        spaces = Call(function="math.add", payload=b'{"a": 1,' + b"\n" * 100 + b'"b": 2}')
        assert len(stub.InvokeBatch(Calls(calls=[spaces] * 10), timeout=LIMIT).replies) == 10

    def test_its_deadline_is_that_of_each(self, stub, waits):
        """The RPC's; a call may have a shorter one."""
        calls = [Call(function="waits", timeout=0.05), Call(function="math.add", payload=b'{"a": 1, "b": 2}')]
        replies = stub.InvokeBatch(Calls(calls=calls), timeout=LIMIT).replies
        assert [reply.error.code for reply in replies] == [4, 0]


def test_a_client_without_our_files_calls_by_reflection(channel):
    """As grpcurl does."""
    ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    request = reflection_pb2.ServerReflectionRequest
    (answer,) = ask(iter([request(list_services="")]), timeout=LIMIT)
    names = {service.name for service in answer.list_services_response.service}
    assert {"jackfield.v1.Functions", "grpc.health.v1.Health"} <= names
    (answer,) = ask(iter([request(file_containing_symbol="jackfield.v1.Functions")]), timeout=LIMIT)
    pool = DescriptorPool()
    for raw in reversed(answer.file_descriptor_response.file_descriptor_proto):  # what is needed comes after
        pool.AddSerializedFile(raw)
    method = pool.FindMethodByName("jackfield.v1.Functions.Invoke")
    call, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    invoke = channel.unary_unary("/jackfield.v1.Functions/Invoke", call.SerializeToString, reply.FromString)
    assert invoke(call(function="math.add", payload=b'{"a": 20, "b": 3}'), timeout=LIMIT).result == b"23"


def test_an_unknown_method_is_unimplemented(channel):
    """As everywhere."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/jackfield.v1.Functions/Nothing")(b"", timeout=LIMIT)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
