"""A channel: whole messages, in order, however the stream is cut."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.workers.channel import Channel, ChannelBroken, Ticket


class Word(msgspec.Struct, frozen=True, array_like=True):
    body: bytes


@contextmanager
def pair(limit: int = 1_000) -> Iterator[tuple[Channel[Any], socket.socket, list[bytes], Ticket]]:
    """Give a channel, the raw other end, what has come on the channel, and what the end of the stream settles."""
    here, there = socket.socketpair()
    came: list[bytes] = []
    ended = Ticket()
    channel: Channel[Any] = Channel(here, Word, lambda word: came.append(word.body), limit)
    channel.on_break = ended.settle
    with there:
        yield channel, there, came, ended
    channel.close()


def frame(body: bytes) -> bytes:
    packed = msgspec.msgpack.encode(Word(body))
    return len(packed).to_bytes(4, "big") + packed


bodies = st.lists(st.binary(max_size=300), max_size=8)


class TestSent:
    @given(bodies)
    def test_several_at_once_are_the_same_bytes_as_one_by_one(self, words):
        with pair() as (channel, there, _, _):
            channel.send_all(map(Word, words))
            channel.close()
            assert there.makefile("rb").read() == b"".join(map(frame, words))

    def test_none_of_several_goes_when_one_is_too_large(self):
        with pair() as (channel, there, _, _):
            with pytest.raises(ValueError, match="a message may have 1,000"):
                channel.send_all([Word(b"small"), Word(bytes(2_000))])
            channel.close()
            assert there.recv(10) == b""


class TestTaken:
    @given(bodies, st.lists(st.integers(0, 2_500), max_size=6))
    def test_messages_are_whole_however_the_stream_is_cut(self, words, cuts):
        stream = b"".join(map(frame, words))
        places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        with pair() as (channel, there, came, ended):
            for start, end in pairwise(places):
                there.send(stream[start:end])
                channel.wait(Ticket(), 0.0)  # reads what is there
            there.shutdown(socket.SHUT_WR)
            assert channel.wait(ended)
            assert came == words

    def test_a_length_beyond_the_limit_is_a_breach(self):
        with pair() as (channel, there, came, ended):
            there.send(frame(b"first") + (2**31).to_bytes(4, "big"))
            assert channel.wait(ended)
            assert came == [b"first"]
            assert isinstance(channel.broken, ChannelBroken)
            assert "2,147,483,648" in channel.broken.breach
