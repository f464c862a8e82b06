"""What strangers do with HTTP/2 itself, frame by frame: the next one is served, and nothing grows."""

import gzip
import socket
import struct
import threading
import time
from itertools import count, islice, repeat

import grpc
import pytest
from attacked import MB, Attacked
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support_grpc import LIMIT, target

from jackfield import Host
from jackfield.config import GrpcDoorConfig
from jackfield.identity import digest_of
from jackfield_contrib.grpc import Bounds
from jackfield_contrib.grpc.door import GrpcDoor
from jackfield_contrib.grpc.functions_pb2 import Call, Calls
from jackfield_contrib.grpc.functions_pb2_grpc import FunctionsStub

ALONE = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own
SUM = Call(function="add", payload=b'{"a": 1, "b": 2}')
GROWN = 150 * MB  # of memory: what floods of hundreds of megabytes leave far behind
OF_FRAMES = 1_500 * MB  # the same for frames that no call sees: grpcio was seen to take 900 MB, though not each time
LONG = 3.0  # seconds of a flood

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
REST = b"\0\0\0\x08"  # RST_STREAM: cancelled


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def head(path=b"/jackfield.v1.Functions/Invoke", **more):
    """Write headers, each as a literal that nobody remembers (RFC 7541, 6.2.2)."""
    lines = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x")]
    lines += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    lines += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    return b"".join(b"\0" + length(name) + name + length(value) + value for name, value in lines)


def length(text):
    """Write a length in seven bits, and what does not fit in further bytes (RFC 7541, 5.1)."""
    if len(text) < 127:
        return bytes([len(text)])
    rest, made = len(text) - 127, b"\x7f"
    while rest > 127:
        made += bytes([rest & 127 | 128])
        rest >>= 7
    return made + bytes([rest])


def message(body, compressed=0, says=None):
    return bytes([compressed]) + struct.pack(">I", len(body) if says is None else says) + body


HEAD = head()
ASK = frame(HEADERS, END_HEADERS, 1, HEAD)


@pytest.fixture(scope="module")
def attacked():
    with Attacked("grpc") as served:
        yield served


def works(attacked):
    """Tell whether others are still served."""
    with grpc.insecure_channel("{}:{}".format(*attacked.address), ALONE) as channel:
        return FunctionsStub(channel).Invoke(SUM, timeout=LIMIT, wait_for_ready=True).result == b"3"


def works_now(attacked):
    try:
        return works(attacked)
    except grpc.RpcError:
        return False


def flood(attacked, parts, *, reads=True):
    """Send for a while, or until the other side has enough; others are served meanwhile, and afterwards."""
    attacked.memory()
    attacked.most, before = 0, attacked.memory()
    with attacked.connect() as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        connection.settimeout(LONG)
        until = time.monotonic() + LONG

        def read():
            try:
                while connection.recv(MB):
                    pass
            except OSError:
                pass

        def send():
            try:
                for part in parts:
                    connection.sendall(part)
                    if time.monotonic() > until:
                        return
            except OSError:  # it has enough, or reads no more
                return

        threads = [threading.Thread(target=each, daemon=True) for each in ((send, read) if reads else (send,))]
        for each in threads:
            each.start()
        while threads[0].is_alive():
            attacked.memory()
            threads[0].join(0.05)
        attacked.settles(lambda: works_now(attacked))  # grpcio may cancel some of what begins meanwhile
        attacked.memory()
    assert attacked.most - before < OF_FRAMES
    attacked.settles(lambda: works_now(attacked))


def resets(*within):
    """Begin streams and reset them at once (CVE-2023-44487)."""
    streams = count(1, 2)
    while True:
        yield b"".join(
            frame(HEADERS, END_HEADERS, stream, HEAD)
            + b"".join(frame(DATA, END_STREAM, stream, each) for each in within)
            + frame(RESET, 0, stream, REST)
            for stream in islice(streams, 100)
        )


def first(one, then):
    yield one
    yield from repeat(then)


SLEEP = Call(function="slow", payload=b'{"seconds": 60.0}').SerializeToString()
FLOODS = {
    "resets of streams": resets,
    "resets of calls": lambda: resets(message(SUM.SerializeToString())),
    "resets of calls that take long": lambda: resets(message(SLEEP)),
    "settings": lambda: repeat(frame(SETTINGS, 0, 0) * 200),
    "pings": lambda: repeat(frame(PING, 0, 0, b"abcdefgh") * 200),
    "answers to no ping": lambda: repeat(frame(PING, 1, 0, b"abcdefgh") * 200),
    "windows": lambda: repeat(frame(UPDATE, 0, 0, b"\0\0\0\x01") * 200),
    "windows beyond what there is": lambda: repeat(frame(UPDATE, 0, 0, b"\x7f\xff\xff\xff")),
    "priorities": lambda: repeat(frame(PRIORITY, 0, 3, b"\0\0\0\x01\x10") * 200),
    "frames of no known kind": lambda: repeat(frame(0x77, 0, 0, b"x" * 16_000)),
    "data of no stream": lambda: repeat(frame(DATA, 0, 1) * 200),
    "empty data": lambda: first(ASK, frame(DATA, 0, 1) * 200),
    "headers that go on": lambda: first(frame(HEADERS, 0, 1, HEAD), frame(CONTINUATION, 0, 1, b"\0\x01x\x01y" * 200)),
    "headers that go on with nothing": lambda: first(frame(HEADERS, 0, 1, HEAD), frame(CONTINUATION, 0, 1, b"") * 200),
    # Each byte stands for all of a header that was remembered.
    "headers that grow": lambda: first(
        frame(HEADERS, 0, 1, HEAD + b"\x40\x01b" + length(b"z" * 3_900) + b"z" * 3_900),
        frame(CONTINUATION, 0, 1, b"\xbe" * 16_000),
    ),
    "streams that are left half open": lambda: (
        b"".join(frame(HEADERS, END_HEADERS, stream, HEAD) for stream in islice(count(1 + 200 * part, 2), 100))
        for part in range(300)
    ),
    "messages that say they are long": lambda: (
        frame(HEADERS, END_HEADERS, 1 + 2 * part, HEAD)
        + frame(DATA, 0, 1 + 2 * part, message(b"x" * 3_000, says=16 * MB - 8))
        for part in range(1_000)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("of", FLOODS)
def test_a_flood_keeps_nobody_out(attacked, of):
    """Nor does it fill the memory."""
    flood(attacked, FLOODS[of]())


@pytest.mark.slow
@pytest.mark.parametrize("of", ["resets of calls", "settings"])
def test_a_flood_by_who_reads_nothing_keeps_nobody_out(attacked, of):
    """What it would get is not kept without end."""
    flood(attacked, FLOODS[of](), reads=False)


@pytest.mark.slow
def test_thousands_of_streams_keep_nobody_out(attacked):
    """While thousands begin at once grpcio cancels some others before anybody has seen them; never for long."""
    connections = [attacked.connect() for _ in range(20)]
    try:
        for connection in connections:
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
            for stream in range(1, 400, 2):
                begin = head(b"/jackfield.v1.Functions/Session")
                connection.sendall(frame(HEADERS, END_HEADERS, stream, begin))
        attacked.settles(lambda: works_now(attacked))
    finally:
        for connection in connections:
            connection.close()
    attacked.settles(lambda: not attacked.stats()["under_way"])
    attacked.settles(lambda: works_now(attacked))


# --- One request ------------------------------------------------------------------------------------------------------


def asked(attacked, *parts):
    """Send one request, and give the status that it ends with: None when there is none of gRPC's."""
    got, until = b"", time.monotonic() + LIMIT
    with attacked.connect() as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + b"".join(parts))
        connection.settimeout(1.0)
        while time.monotonic() < until:
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                if b"grpc-status" in got or b"\0\0\x04\x03" in got:
                    break
                continue
            except ConnectionResetError:
                break
            if not part:
                break
            got += part
    _, found, rest = got.partition(b"grpc-status")
    return int(rest[1 : 1 + rest[0]]) if found else None


FINE = SUM.SerializeToString()
OK, CANCELLED, UNKNOWN, INVALID, LATE, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 1, 2, 3, 4, 8, 12, 13
NOT_FOUND, UNAUTHENTICATED = 5, 16

MESSAGES = {
    "longer than it says": (message(FINE, says=3), {INVALID}),
    "longer than there may be": (message(b"x", says=2**32 - 1), {EXHAUSTED}),
    "a byte too long": (message(b"x", says=16 * MB + 1), {EXHAUSTED}),
    "empty": (message(b""), {NOT_FOUND}),
    "compressed by nothing": (message(FINE, 1), {OK, INTERNAL, UNKNOWN, INVALID, UNIMPLEMENTED}),
    "compressed somehow": (message(FINE, 255), {INTERNAL, UNKNOWN, NOT_FOUND}),
    "two": (message(FINE) * 2, {OK, INTERNAL}),
}


@pytest.mark.parametrize("which", MESSAGES)
def test_a_message_that_is_none_has_a_status(attacked, which):
    """Whatever its length says."""
    sent, statuses = MESSAGES[which]
    assert asked(attacked, ASK, frame(DATA, END_STREAM, 1, sent)) in statuses
    assert works(attacked)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"snappy", b"x" * 1_000])
def test_what_is_compressed_otherwise_has_a_status(attacked, encoding):
    """And nobody guesses by what."""
    begin = frame(HEADERS, END_HEADERS, 1, head(grpc_encoding=encoding))
    status = asked(attacked, begin, frame(DATA, END_STREAM, 1, message(gzip.compress(FINE), 1)))
    assert status == OK if encoding == b"gzip" else status in {INTERNAL, UNIMPLEMENTED}
    assert works(attacked)


def test_a_compressed_bomb_is_too_large(attacked):
    """Sixty megabytes in as many kilobytes, which no flow control holds back."""
    bomb = message(gzip.compress(bytes(60 * MB), 9), 1)
    begin = frame(HEADERS, END_HEADERS, 1, head(grpc_encoding=b"gzip"))
    parts = [frame(DATA, 0, 1, bomb[at : at + 16_000]) for at in range(0, len(bomb), 16_000)]
    assert asked(attacked, begin, *parts, frame(DATA, END_STREAM, 1)) == EXHAUSTED
    assert works(attacked)


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (b"0S", {LATE, CANCELLED}),
        (b"0n", {LATE, CANCELLED}),
        (b"99999999H", {OK}),
        (b"-1S", {INTERNAL, UNKNOWN, INVALID, OK, LATE, CANCELLED}),
        (b"1.5S", {INTERNAL, UNKNOWN, INVALID, OK, LATE, CANCELLED}),
        (b"", {INTERNAL, UNKNOWN, INVALID, OK, LATE, CANCELLED}),
        (b"\xff", {INTERNAL, UNKNOWN, INVALID, OK, LATE, CANCELLED}),
    ],
)
def test_a_deadline_of_any_kind_has_a_status(attacked, said, statuses):
    """What is no time is refused, or none."""
    begin = frame(HEADERS, END_HEADERS, 1, head(grpc_timeout=said))
    assert asked(attacked, begin, frame(DATA, END_STREAM, 1, message(FINE))) in statuses
    assert works(attacked)


@pytest.mark.parametrize(
    "path",
    [b"/jackfield.v1.Functions/\xff\xfe", b"/jackfield.v1.Functions/\0", b"/", b"x", b"/a" * 5_000, b"\xff"],
)
def test_a_method_that_there_is_not_ends_no_door(attacked, path):
    """grpcio 1.84 and 1.85 end the whole server for one whose name is not UTF-8."""
    begin = frame(HEADERS, END_HEADERS, 1, head(path))
    status = asked(attacked, begin, frame(DATA, END_STREAM, 1, message(FINE)))
    assert status in {UNIMPLEMENTED, UNKNOWN, CANCELLED, None}
    assert works(attacked)
    assert "Invalid encoding" not in attacked.log


@pytest.mark.parametrize("more", [{"x": b"a\r\nb"}, {"x": b"a\0b"}, {"x_bin": b"!"}, {"traceparent": b"\xff" * 55}])
def test_metadata_that_is_no_text_has_a_status(attacked, more):
    """It is what the function gets, or is refused."""
    begin = frame(HEADERS, END_HEADERS, 1, head(**more))
    assert asked(attacked, begin, frame(DATA, END_STREAM, 1, message(FINE))) in {OK, INTERNAL, UNKNOWN, INVALID}
    assert works(attacked)
    assert "Invalid encoding" not in attacked.log


# --- Sessions ---------------------------------------------------------------------------------------------------------


def many(function, payload, each=500):
    """Make messages of calls without end."""
    ids = count(1)
    while True:
        yield Calls(calls=[Call(id=next(ids), function=function, payload=payload) for _ in range(each)])


SESSIONS = {
    "small calls": lambda: many("add", b'{"a": 1, "b": 2}'),
    "large replies": lambda: many("big", b'{"size": 1000000}'),
    "calls that take long": lambda: many("slow", b'{"seconds": 60.0}'),
    "nothing": lambda: repeat(Calls()),
    "cancellations": lambda: repeat(Calls(cancel=range(10_000))),
}


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("of", SESSIONS)
def test_a_session_without_end_keeps_nobody_out(attacked, of, reads):
    """Nor does it fill the memory, whether its client reads or not; and it ends with its client."""
    attacked.most, before = 0, attacked.memory()
    stop = threading.Event()

    def calls():
        for each in SESSIONS[of]():
            if stop.is_set():
                return
            yield each

    with grpc.insecure_channel("{}:{}".format(*attacked.address), ALONE) as channel:
        stream = FunctionsStub(channel).Session(calls(), timeout=LIMIT)
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            if reads and of in ("small calls", "large replies"):
                next(stream)
            else:
                stop.wait(0.1)
            attacked.memory()
        assert works(attacked)
        attacked.memory()
        stop.set()
        stream.cancel()
    assert attacked.most - before < GROWN
    attacked.settles(lambda: not attacked.stats()["under_way"])
    assert "Traceback" not in attacked.log


def test_two_calls_of_one_id_end_their_session(attacked):
    """Nobody could tell their replies apart."""
    call = Call(id=7, function="slow", payload=b'{"seconds": 60.0}')
    with grpc.insecure_channel("{}:{}".format(*attacked.address), ALONE) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(FunctionsStub(channel).Session(iter([Calls(calls=[call, call])]), timeout=LIMIT))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    attacked.settles(lambda: not attacked.stats()["under_way"])


# --- The door itself --------------------------------------------------------------------------------------------------


def test_a_door_whose_server_ends_by_itself_has_another(opened, host, connect):
    """At the same address, and what was wrong is logged."""
    door = opened()
    where = target(door)
    host.run_at_home(door._server.stop(None), LIMIT)  # noqa: SLF001  # as grpcio does when its loop fails
    stub = FunctionsStub(connect(door, ALONE))
    again = Call(function="math.add", payload=b'{"a": 1, "b": 2}')
    assert stub.Invoke(again, timeout=LIMIT, wait_for_ready=True).result == b"3"
    assert target(door) == where


@pytest.mark.slow
def test_files_that_run_out_turn_clients_away():
    """Others than the door may still open some, and who comes later is served."""
    with Attacked("grpc", files=200, patience=2.0) as attacked:
        idle = [attacked.connect() for _ in range(400)]
        try:
            attacked.settles(lambda: attacked.files() >= 100)
            assert attacked.files() < 150
        finally:
            for each in idle:
                each.close()
        assert works(attacked)


# --- Messages that do not come ----------------------------------------------------------------------------------------


def test_whose_an_rpc_is_is_known_before_its_message_is_read(tmp_path):
    """Else anybody could have the door hold as many megabytes as there may be streams."""
    (tmp_path / "jackfield.toml").write_text(f'[tenants.t]\nkeys = ["{digest_of("jf_x")}"]\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        door = GrpcDoor(host, GrpcDoorConfig(port=0))
        host.run_at_home(door.open(), LIMIT)
        try:
            assert asked(At(door), ASK) == UNAUTHENTICATED  # and no byte of a message was sent
        finally:
            host.run_at_home(door.close(0.0), LIMIT)


def test_a_message_that_does_not_come_is_not_waited_for(opened):
    """Nor is one taken for empty that is not there."""
    door = At(opened(bounds=Bounds(patience=0.5)))
    assert asked(door, ASK, frame(DATA, 0, 1, message(b"x", says=1_000))) == LATE
    assert asked(door, ASK, frame(DATA, END_STREAM, 1)) == INVALID


class At:
    """Where a door of this process is."""

    def __init__(self, door):
        host, _, port = target(door).rpartition(":")
        self._address = (host, int(port))

    def connect(self):
        return socket.create_connection(self._address, timeout=LIMIT)


@pytest.mark.slow
def test_a_stop_under_load_loses_no_call_that_was_begun(host, opened, connect):
    """Each client has its result, or is told that there is nobody any more."""
    begun, told, lock, stop = [], [], threading.Lock(), threading.Event()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        time.sleep(0.02)
        return number

    host.register("work", work)
    door = opened()

    def ask(first):
        stub = FunctionsStub(connect(door, ALONE))
        for number in count(first, 100):
            if stop.is_set():
                return
            try:
                reply = stub.Invoke(Call(function="work", payload=b"%d" % number), timeout=LIMIT)
            except grpc.RpcError:
                return
            with lock:
                told.append(int(reply.result))

    clients = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for each in clients:
        each.start()
    while len(begun) < 50:
        time.sleep(0.01)
    host.run_at_home(door.close(20.0), LIMIT)
    stop.set()
    for each in clients:
        each.join(LIMIT)
    assert set(told) == set(begun)


def test_who_needs_no_key_leaves_room_for_others(opened, connect):
    """Whoever watches whether the host is ready, or asks what there is, may do so for ever."""
    door = opened(bounds=Bounds(rpcs=16))
    channel = connect(door, ALONE)
    done = threading.Event()

    def endless():
        """Ask what there is, and then nothing."""
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait(LIMIT)

    asking = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(endless(), timeout=LIMIT)
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    assert next(asking)
    assert next(watching)
    for beyond in (
        health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT),
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(endless(), timeout=LIMIT),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            next(beyond)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    call = Call(function="math.add", payload=b'{"a": 1, "b": 2}')
    assert FunctionsStub(connect(door, ALONE)).Invoke(call, timeout=LIMIT).result == b"3"
    watching.cancel()
    until = time.monotonic() + LIMIT
    while not begins(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)):
        assert time.monotonic() < until
    done.set()


def begins(stream):
    """Tell whether there is a place, which there is as soon as the door has heard of one that left."""
    try:
        return next(stream) is not None
    except grpc.RpcError:
        return False
