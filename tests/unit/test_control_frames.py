"""Frames: whatever arrives, in whatever pieces, the result is a value or a `FrameError`."""

import asyncio
import gc
import os
import socket
import sys
import threading
import tracemalloc
from contextlib import closing
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.control import Deframer, FrameError, FrameSocket, FrameStream, pack, unpack
from jackfield.wire.frames import GREETING, LIMIT, MAGIC, VERSION, FrameCut

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SENT = GREETING + pack({"id": 1, "verb": "status"}) + pack("") + pack([1, 2, None]) + pack(b"\x00" * 300)
BODIES = [pack(value)[4:] for value in ({"id": 1, "verb": "status"}, "", [1, 2, None], b"\x00" * 300)]


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    with closing(FrameSocket(one)) as near, closing(other):
        yield near, other


def test_any_two_cuts_give_the_same_frames():
    """Where the pieces end changes nothing: every pair of cuts is tried."""
    for first in range(len(SENT[:80]) + 1):
        for second in range(first, len(SENT[:80]) + 1):
            deframer = Deframer()
            got = deframer.feed(SENT[:first]) + deframer.feed(SENT[first:second]) + deframer.feed(SENT[second:])
            assert got == BODIES
            assert not deframer.partial


def test_byte_by_byte_gives_each_frame_when_its_last_byte_comes():
    """No frame waits for the next one, and `partial` says whether something is begun."""
    deframer, got, ends = Deframer(), [], []
    for at in range(len(SENT)):
        more = deframer.feed(SENT[at : at + 1])
        got += more
        if more:
            ends.append(at + 1)
            assert not deframer.partial
    assert got == BODIES
    sizes = [4 + len(body) for body in BODIES]
    assert ends == [len(GREETING) + sum(sizes[: n + 1]) for n in range(len(sizes))]


@given(values=st.lists(VALUES, max_size=5), data=st.data())
def test_values_survive_any_chunking(values, data):
    """What is packed on one side is unpacked on the other, in order, in pieces of any size."""
    raw = GREETING + b"".join(map(pack, values))
    deframer, got = Deframer(), []
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        got += deframer.feed(raw[:size])
        raw = raw[size:]
    assert [unpack(body) for body in got] == values
    deframer.end()


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_garbage_is_a_value_or_a_frame_error(pieces, greeted):
    """Random bytes raise nothing else, and no more is held than has come."""
    deframer = Deframer(limit=100)
    try:
        if greeted:
            deframer.feed(GREETING)
        for piece in pieces:
            for body in deframer.feed(piece):
                unpack(body)
        deframer.end()
    except FrameError:
        return


@given(st.binary(max_size=40))
def test_any_body_is_a_value_or_a_frame_error(body):
    """Broken UTF-8, impossible timestamps, unhashable keys and reserved bytes are all `FrameError`."""
    try:
        unpack(body)
    except FrameError:
        return


@pytest.mark.parametrize("size", range(1, len(SENT)))
def test_an_end_in_the_middle_is_an_error_and_between_frames_it_is_none(size):
    """Every truncation is told apart from a clean end."""
    whole = {0, len(GREETING)} | {len(GREETING) + sum(4 + len(b) for b in BODIES[: n + 1]) for n in range(len(BODIES))}
    deframer = Deframer()
    deframer.feed(SENT[:size])
    if size in whole:
        deframer.end()
    else:
        with pytest.raises(FrameCut, match="ended within"):
            deframer.end()


@pytest.mark.parametrize("first", [b"G", b"GET / HTTP/1.1\r\n", b"\x00", MAGIC[:3] + b"x", b"\xff" * 64])
def test_another_protocol_is_refused_at_its_first_wrong_byte(first):
    """Who speaks something else may never send eight bytes."""
    with pytest.raises(FrameError, match="does not speak"):
        Deframer().feed(first)


def test_another_version_is_refused_and_both_are_named():
    """Two installations that do not fit say so."""
    with pytest.raises(FrameError, match=rf"version {VERSION + 1} .* version {VERSION}"):
        Deframer().feed(MAGIC + bytes([VERSION + 1]))


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31, 2**32 - 1])
def test_an_oversized_frame_is_refused_by_its_length_alone(length):
    """Nothing is reserved for what a length promises."""
    deframer = Deframer()
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="limit"):
            deframer.feed(GREETING + length.to_bytes(4, "big"))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_a_length_within_a_value_reserves_nothing_either(head):
    """An array that says it has four thousand million items, in five bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            unpack(head + b"\x01")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_largest_frame_passes_and_one_byte_more_does_not():
    """The limit is the most a body may have, on both sides."""
    body = pack(b"x" * 95, limit=97)
    assert len(body) == 4 + 97
    assert Deframer(97).feed(GREETING + body) == [body[4:]]
    with pytest.raises(FrameError, match="98 bytes"):
        pack(b"x" * 96, limit=97)
    with pytest.raises(FrameError, match="98 bytes"):
        Deframer(97).feed(GREETING + pack(b"x" * 96))


@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1a", b"\x81\x91"])
def test_deep_nesting_is_refused_in_any_thread(level):
    """A million levels overflow no stack, that of a thread included."""
    deep, said = level * 1_000_000, []

    def read():
        try:
            unpack(deep)
        except FrameError as error:
            said.append(str(error))

    read()
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(said) == 2


def test_a_typed_body_that_does_not_fit_is_a_frame_error():
    """The edge checks what a message must look like with the same error."""
    with pytest.raises(FrameError, match="int"):
        unpack(pack("text")[4:], int)


def test_the_two_ends_of_a_socket_understand_each_other(pair):
    """Greeting and frames, both ways, larger than any buffer of the system."""
    near, other = pair
    far = FrameSocket(other)
    value = {"text": "Grüße", "bytes": os.urandom(3_000_000)}

    def answer():
        far.greet()
        far.send(pack(unpack(far.receive())))

    thread = threading.Thread(target=answer)
    thread.start()
    near.greet()
    near.send(pack(value))
    assert unpack(near.receive()) == value
    thread.join()


def test_a_socket_that_ends_is_an_eof_error_or_a_frame_error(pair):
    """Between frames it is an end, within one a violation."""
    near, other = pair
    other.sendall(GREETING + pack(1) + pack("cut")[:-1])
    other.close()
    assert unpack(near.receive()) == 1
    with pytest.raises(FrameError, match="ended within"):
        near.receive()
    one, other = socket.socketpair()
    other.close()
    with closing(FrameSocket(one)) as near, pytest.raises(EOFError):
        near.receive()


def test_a_deadline_holds_for_the_whole_frame(pair):
    """Bytes that drip in move no deadline: with it past, whatever comes is too late."""
    near, other = pair
    other.sendall(GREETING + pack("slow")[:-1])
    with pytest.raises(TimeoutError):
        near.receive(monotonic() + 0.05)
    other.sendall(pack("slow")[-1:])
    with pytest.raises(TimeoutError):
        near.receive(monotonic() - 1)
    assert unpack(near.receive(monotonic() + 30)) == "slow"


def test_nobody_reading_is_a_timeout_for_the_sender(pair):
    """A send does not wait for ever."""
    near, _ = pair
    with pytest.raises(TimeoutError):
        near.send(pack(b"x" * 10_000_000), monotonic() + 0.05)


def test_asyncio_reads_the_same_frames():
    """The asyncio side gives the same bodies, the same end and the same errors."""

    async def main(sent):
        one, other = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=one)
        frames, got = FrameStream(reader, writer), []
        await frames.greet()
        assert other.recv(100) == GREETING
        with closing(other):
            other.sendall(sent)
        try:
            while True:
                got.append(await frames.receive())
        except (EOFError, FrameError) as error:
            return got, type(error)
        finally:
            writer.close()
            await writer.wait_closed()

    assert asyncio.run(main(SENT)) == (BODIES, EOFError)
    assert asyncio.run(main(SENT[:-1])) == (BODIES[:-1], FrameCut)
    assert asyncio.run(main(b"HTTP")) == ([], FrameError)
    gc.collect()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and pipes of the system")
def test_a_value_crosses_between_two_processes():
    """The same frames serve a parent and its child."""
    one, other = socket.socketpair()
    code = (
        "import socket, sys\n"
        "from jackfield.control import FrameSocket, pack, unpack\n"
        "frames = FrameSocket(socket.socket(fileno=int(sys.argv[1])))\n"
        "frames.greet(); frames.send(pack(unpack(frames.receive()) * 2)); frames.close()\n"
    )
    import subprocess  # noqa: PLC0415

    with closing(FrameSocket(one)) as near:
        arguments = [sys.executable, "-c", code, str(other.fileno())]
        with subprocess.Popen(arguments, pass_fds=[other.fileno()]) as child:
            other.close()
            near.greet()
            near.send(pack("ab"))
            assert unpack(near.receive()) == "abab"
            with pytest.raises(EOFError):
                near.receive()
        assert child.returncode == 0
