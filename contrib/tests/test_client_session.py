"""The client's sessions over gRPC: what goes in which message, and what becomes of calls when a session ends."""

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import weakref
from concurrent import futures
from contextvars import ContextVar
from time import monotonic

import grpc
import msgspec
import pytest
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from serving import open_door
from support_grpc import Waits

from jackfield import Host
from jackfield.errors import (
    DeadlineExceeded,
    FunctionNotFound,
    JackfieldError,
    PayloadError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from jackfield_contrib.client import AsyncClient, Client
from jackfield_contrib.grpc import statuses
from jackfield_contrib.grpc.functions_pb2 import Call, Calls, Replies, Reply

LIMIT = 60.0  # seconds that anything here may take
DONE = msgspec.msgpack.encode("done")


class Sessions:
    """A server that does in each session what it is told; the last of these is done in all that follow.

    Args:
        *script: generators, each given the messages that come and the context of the RPC; they give replies.
        invoke: answers `Invoke`.

    Attributes:
        opened: how many sessions there were.
        messages: how many calls each message had.
    """

    def __init__(self, *script, invoke=None):
        self._script = list(script)
        self.opened, self.messages = 0, []
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {
            "Session": grpc.stream_stream_rpc_method_handler(
                self._session, Calls.FromString, Replies.SerializeToString
            ),
            "Invoke": grpc.unary_unary_rpc_method_handler(invoke, Call.FromString, Reply.SerializeToString),
        }
        service = grpc.method_handlers_generic_handler("jackfield.v1.Functions", handlers)
        self._server.add_generic_rpc_handlers((service,))
        self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def _session(self, messages, context):
        self.opened += 1
        act = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        context.send_initial_metadata((("jackfield-session", "1000"),))
        yield from act(self._counted(messages), context)

    def _counted(self, messages):
        for message in messages:
            self.messages.append(len(message.calls))
            yield message

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0.0).wait(LIMIT)


def answer(messages, _context):
    """Answer everything with `done`."""
    for message in messages:
        yield done(*message.calls)


def done(*calls):
    return Replies(replies=[Reply(id=call.id, result=DONE) for call in calls])


def silent(messages, _context):
    """Read, and say nothing."""
    for _ in messages:
        yield from ()


def ends(status, calls=1):
    """Read so many calls, and end with a status."""

    def act(messages, context):
        for message in messages:
            act.seen += len(message.calls)
            if act.seen >= calls:
                context.abort_with_status(rpc_status.to_status(status))
            yield from ()

    act.seen = 0
    return act


def failing(url, **more):
    with Client(url, **more) as client, pytest.raises(JackfieldError) as caught:
        client.call("f", timeout=LIMIT)
    return caught.value


# --- Many calls in a message ------------------------------------------------------------------------------------------


def test_what_is_asked_for_at_once_goes_in_few_messages_of_one_session():
    """Of 256 calls at most: whatever queued, and nothing waits for more."""
    with Sessions(answer) as server:

        async def run():
            async with AsyncClient(server.url, timeout=LIMIT) as client:
                assert await client.acall("f") == "done"
                assert await asyncio.gather(*[client.acall("f") for _ in range(1_000)]) == ["done"] * 1_000

        asyncio.run(run())
        assert (server.opened, server.messages[:5]) == (1, [1, 256, 256, 256, 232])


def test_threads_share_a_session():
    """Be they as many as they like."""
    with Sessions(answer) as server, Client(server.url, timeout=LIMIT) as client:
        with futures.ThreadPoolExecutor(50) as pool:
            assert list(pool.map(client.call, ["f"] * 500)) == ["done"] * 500
        assert server.opened == 1
        assert sum(server.messages) == 500


def test_a_thousand_calls_are_under_way_and_the_others_wait_for_their_place():
    """A door reads no more of a session with as many; then it would not read who has given up, either."""
    most = 0

    def act(messages, _context):
        nonlocal most
        waiting = []
        for message in messages:
            waiting += message.calls
            most = max(most, len(waiting))
            if len(waiting) >= 1_000 or act.full:
                act.full = True
                yield done(*waiting[:7])
                del waiting[:7]
                if not waiting:
                    return
                if len(waiting) < 993:
                    yield done(*waiting)
                    return

    act.full = False
    with Sessions(act, answer) as server:

        async def run():
            async with AsyncClient(server.url, timeout=LIMIT) as client:
                return await asyncio.gather(*[client.acall("f") for _ in range(1_500)])

        assert asyncio.run(run()) == ["done"] * 1_500
    assert most == 1_000


def test_a_thousand_calls_of_a_real_door_end_each_with_its_own_result():
    """Sync and async functions, some of which fail."""

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        if number % 10 == 0:
            raise ValueError(number)
        return number * 2

    with Host(observers=()) as host:
        host.register("double", double)
        host.register("same", lambda number: number)
        with open_door(host, "grpc") as door:

            async def run():
                async with AsyncClient(door.address, timeout=LIMIT) as client:
                    calls = [client.acall(name, number) for number in range(500) for name in ("double", "same")]
                    return await asyncio.gather(*calls, return_exceptions=True)

            found = asyncio.run(run())
    assert found[1::2] == list(range(500))
    assert [each for each in found[::2] if not isinstance(each, JackfieldError)] == [
        number * 2 for number in range(500) if number % 10
    ]


def test_what_is_large_goes_by_itself():
    """In a session all others would wait behind it."""
    with Sessions(answer, invoke=lambda call, _: Reply(result=DONE if len(call.payload) > 2**20 else b"")) as server:
        with Client(server.url, timeout=LIMIT) as client:
            assert client.call("f", "x" * 2**21) == "done"
        assert server.messages == []
    with Host(observers=()) as host:
        host.register("same", lambda value: value)
        with open_door(host, "grpc") as door, Client(door.address, timeout=LIMIT) as client:
            assert client.call("same", "x" * 2**22) == "x" * 2**22
            with pytest.raises(PayloadError, match="larger than max"):
                client.call("same", "x" * 2**24)
            with pytest.raises(PayloadError, match="headers of a call"):
                client.call("same", headers={"x-large": "x" * 2**15})
            assert client.call("same", 1) == 1


def test_a_call_says_its_time_its_version_its_trace_and_its_headers():
    """As a request over HTTP does."""
    seen = queue.SimpleQueue()

    def act(messages, context):
        metadata = dict(context.invocation_metadata())
        for message in messages:
            for call in message.calls:
                seen.put((call, metadata))
            yield done(*message.calls)

    span = NonRecordingSpan(SpanContext(0xA, 0xB, is_remote=False, trace_flags=TraceFlags(1)))
    with Sessions(act) as server, Client(server.url, key="s3cr3t") as client, trace.use_span(span):
        client.call("f", {"a": 1}, timeout=LIMIT, version="2", headers={"X-Colour": "red"})
        call, metadata = seen.get(timeout=LIMIT)
        assert (call.function, call.payload, call.version) == ("f", msgspec.msgpack.encode({"a": 1}), "2")
        assert 0.0 < call.timeout <= LIMIT
        assert dict(call.headers) == {"x-colour": "red", "traceparent": f"00-{0xA:032x}-{0xB:016x}-01"}
        assert metadata["authorization"] == "Bearer s3cr3t"
        client.call("f", headers={"traceparent": "00-1-1-00"})
        call, _ = seen.get(timeout=LIMIT)
        assert dict(call.headers) == {"traceparent": "00-1-1-00"}
        assert not call.HasField("timeout")


# --- A session ends ---------------------------------------------------------------------------------------------------


def test_what_a_session_that_drains_has_not_begun_is_made_in_another_one():
    """That is what its end says; any other end may have come after the function ran."""
    with Sessions(ends(statuses.draining(), 3), answer) as server:

        async def run():
            async with AsyncClient(server.url, timeout=LIMIT) as client:
                return await asyncio.gather(*[client.acall("f") for _ in range(3)])

        assert asyncio.run(run()) == ["done"] * 3
        assert server.opened == 2
    with Sessions(ends(Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="bye")), answer) as server:
        lost = failing(server.url)
        assert (type(lost), lost.cause, lost.ran, server.opened) == (Unavailable, "unreachable", None, 1)


def test_a_host_that_comes_back_is_called_again():
    """By the same client, at once."""
    with Host(observers=()) as host:
        host.register("f", lambda: "done")
        with open_door(host, "grpc") as door, Client(door.address, timeout=LIMIT) as client:
            port = int(door.address.rpartition(":")[2])
            assert client.call("f") == "done"
            with contextlib.ExitStack() as stack:
                stack.callback(client.close)
                host.run_at_home(door.close(0.0), LIMIT)
                away = None
                while away is None or away.ran is not False:  # what is written while it closes may have come there
                    with pytest.raises(Unavailable) as caught:
                        client.call("f")
                    away = caught.value
                assert away.cause == "unreachable"
                assert "does it run, and is the URL right" in str(away)
                with open_door(host, "grpc", port=port):
                    assert client.call("f") == "done"


def test_what_a_door_has_taken_it_answers_before_it_closes():
    """And takes nothing more, which is told as not begun."""
    waits = Waits()
    with Host(observers=()) as host:
        host.register("waits", waits.wait)
        with (
            open_door(host, "grpc") as door,
            futures.ThreadPoolExecutor(11) as pool,
            Client(door.address, timeout=LIMIT) as client,
        ):
            taken = [pool.submit(client.call, "waits", str(number)) for number in range(10)]
            for _ in taken:
                assert waits.begun.acquire(timeout=LIMIT)
            closing = pool.submit(host.run_at_home, door.close(LIMIT), LIMIT)
            with pytest.raises(Unavailable) as late:
                while True:  # until it closes
                    with contextlib.suppress(FunctionNotFound):
                        client.call("none")
            assert late.value.ran is False
            for number in range(10):
                waits.let_go(host, str(number))
            assert [each.result(LIMIT) for each in taken] == [f"done {number}" for number in range(10)]
            closing.result(LIMIT)


def test_calls_of_a_server_that_goes_away_end_each_with_what_is_known():
    """Those that were sent may have run, those that waited for a place have not, and are tried elsewhere: nowhere."""
    read = threading.Semaphore(0)

    def act(messages, _context):
        for message in messages:
            read.release(len(message.calls))
            yield from ()

    with Sessions(act) as server:

        async def run():
            async with AsyncClient(server.url, timeout=LIMIT) as client:
                calls = [asyncio.ensure_future(client.acall("f")) for _ in range(1_003)]
                await asyncio.to_thread(lambda: [read.acquire(timeout=LIMIT) for _ in range(1_000)])
                await asyncio.to_thread(server.__exit__)
                return await asyncio.gather(*calls, return_exceptions=True)

        found = asyncio.run(run())
    assert {type(each) for each in found} == {Unavailable}
    assert [each.ran for each in found].count(None) == 1_000
    assert [each.ran for each in found].count(False) == 3


def test_who_waits_for_a_server_that_says_nothing_waits_until_the_deadline():
    """Be it that it reads calls, or that it is no server; the call is given up there."""
    cancelled = queue.SimpleQueue()

    def act(messages, _context):
        for message in messages:
            for identifier in message.cancel:
                cancelled.put(identifier)
            yield from ()

    with Sessions(act) as server, Client(server.url) as client:
        with pytest.raises(DeadlineExceeded, match="the door is told"):
            client.call("f", timeout=0.3)
        assert cancelled.get(timeout=LIMIT) == 1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"grpc://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url) as client, pytest.raises(DeadlineExceeded):
            client.call("f", timeout=0.3)


def test_one_that_has_given_up_keeps_its_place_until_the_door_has_answered():
    """So that never more are under way than the door reads."""
    with Sessions(silent) as server:

        async def run():
            async with AsyncClient(server.url) as client:
                calls = [asyncio.ensure_future(client.acall("f")) for _ in range(1_000)]
                late = asyncio.ensure_future(client.acall("f", timeout=0.5))
                await asyncio.sleep(0)
                for call in calls[::2]:
                    call.cancel()
                with pytest.raises(DeadlineExceeded):
                    await late
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)

        asyncio.run(run())
        assert sum(server.messages) <= 1_000


# --- What is no answer ------------------------------------------------------------------------------------------------


def replies(**fields):
    def act(messages, _context):
        for message in messages:
            yield Replies(replies=[Reply(id=call.id, **fields) for call in message.calls])

    return act


@pytest.mark.parametrize(
    ("act", "kind", "fields"),
    [
        (replies(error=Status(code=16, message="who are you")), PermissionDenied, {"reason": "who are you"}),
        (replies(error=Status(code=8, message="too much")), PayloadError, {"got": "too much"}),
        (replies(error=Status(code=3, message="odd")), Unavailable, {"cause": "protocol", "ran": False}),
        (replies(error=Status(code=13, message="odd")), Unavailable, {"cause": "protocol", "ran": None}),
        (replies(error=Status(code=999)), Unavailable, {"cause": "protocol", "ran": None}),
        (replies(result=b"\xc1"), Unavailable, {"cause": "protocol", "ran": None}),
        (replies(error=Status(code=8, message="RPC limit exceeded")), ResourceExhausted, {"function": "f"}),
        (ends(Status(code=3, message="no message")), Unavailable, {"cause": "unreachable", "ran": None}),
        (ends(Status(code=8, message="it has read nothing")), Unavailable, {"cause": "unreachable", "ran": None}),
        (lambda messages, _: iter(next(messages).calls[:0]), Unavailable, {"cause": "unreachable", "ran": None}),
    ],
)
def test_what_is_no_answer_of_a_door_is_told_as_what_it_is(act, kind, fields):
    """And never taken for a result, nor tried again."""
    with Sessions(act) as server:
        found = failing(server.url)
        assert type(found) is kind
        assert {name: getattr(found, name) for name in fields} == fields
        assert server.opened == 1


def test_a_server_of_something_else_is_told_as_that():
    """It has no such service, or speaks no gRPC."""
    other = grpc.server(futures.ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    found = failing(f"grpc://127.0.0.1:{port}")
    other.stop(0.0).wait(LIMIT)
    assert (found.cause, found.ran) == ("protocol", False)
    assert "no door of jackfield" in str(found)
    with Host(observers=()) as host, open_door(host) as door:
        found = failing(door.address.replace("http:", "grpc:"))
    assert (type(found), found.ran) == (Unavailable, False)


# --- Whose ------------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_told_as_that(tmp_path):
    """Of calls, and of whatever else is asked."""
    file = tmp_path / "jackfield.toml"
    file.write_text(f'[tenants.t]\nkeys = ["sha256:{"0" * 64}"]\n')
    with Host.from_config(file, observers=()) as host, open_door(host, "grpc") as door:
        assert type(failing(door.address, key="jf_wrong")) is PermissionDenied
        with Client(door.address) as client, pytest.raises(PermissionDenied, match="its tenants alone"):
            client.functions()


@pytest.mark.slow
def test_a_key_that_ends_is_good_for_nothing_in_a_session_either(tmp_path):
    """Within a second or two; what was taken before is answered."""
    waits = Waits()
    file = tmp_path / "jackfield.toml"

    def keys(*said):
        digests = [f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" for key in said]
        file.write_text(f"[tenants.t]\nkeys = {json.dumps(digests)}\n")

    keys("jf_first", "jf_next")
    with Host.from_config(file, observers=()) as host:
        host.register("waits", waits.wait)
        with (
            open_door(host, "grpc") as door,
            Client(door.address, key="jf_first", timeout=LIMIT) as client,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            taken = pool.submit(client.call, "waits")
            assert waits.begun.acquire(timeout=LIMIT)
            keys("jf_next")
            assert host.apply(file).changes
            until = monotonic() + LIMIT
            with pytest.raises(PermissionDenied):
                while monotonic() < until:
                    with contextlib.suppress(FunctionNotFound):
                        client.call("none")
            waits.let_go(host)
            assert taken.result(LIMIT) == "done "


def test_nothing_of_the_first_caller_is_kept_with_its_session():
    """A context has the call that it is of, with its payload, and a session is there for long."""

    class Payload:
        pass

    here = ContextVar("here")

    async def first(client):
        payload = Payload()
        here.set(payload)
        assert await client.acall("f", timeout=LIMIT) == "done"
        return weakref.ref(payload)

    async def main(url):
        async with AsyncClient(url) as client:
            gone = await asyncio.create_task(first(client))
            await asyncio.sleep(0)
            gc.collect()
            return gone() is None

    with Host(observers=()) as host:
        host.register("f", lambda: "done")
        with open_door(host, "grpc") as door:
            assert asyncio.run(main(door.address))


FORKS = """
import os, sys
from jackfield.errors import Unavailable
from jackfield_contrib.client import Client

client = Client(sys.argv[1], timeout=60.0)
for _ in range(5):
    assert client.call("f") == "done"
    child = os.fork()
    if child == 0:
        said = ""
        for each in (client, Client(sys.argv[1], timeout=60.0)):
            try:
                each.call("f")
            except Unavailable as error:
                said += str(error) if error.ran is False else ""
        os._exit(0 if "make another here" in said and "fork before" in said else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
client.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_that_is_forked_from_one_that_uses_grpc_cannot_use_it():
    """Its threads are not there; who waited for them would wait for ever. It lives, and so does the one it is from."""
    with Sessions(answer) as server:
        command = [sys.executable, "-W", "ignore", "-c", FORKS, server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
