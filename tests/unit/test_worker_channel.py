"""A channel: whole messages, in order, however the stream is cut."""

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.workers.channel import Channel
from jackfield.workers.frames import ChannelBroken
from jackfield.workers.tickets import Ticket, teller


class Word(msgspec.Struct, frozen=True, array_like=True):
    body: bytes


@contextmanager
def pair(limit: int = 1_000) -> Iterator[tuple[Channel[Any], socket.socket, list[bytes], Ticket]]:
    """Give a channel, the raw other end, what has come on the channel, and what the end of the stream settles."""
    here, there = socket.socketpair()
    came: list[bytes] = []
    ended = Ticket()
    channel: Channel[Any] = Channel(here, Word, lambda word: came.append(word.body), ended.settle, limit)
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


class TestSentOnALoop:
    def test_a_loop_goes_on_while_the_other_side_does_not_read(self):
        """All arrive whole, whichever was begun first, and whoever sent: a loop or a thread."""
        words = [bytes([number]) * 100_000 for number in range(30)]

        async def run(channel, there):
            loop = asyncio.get_running_loop()
            sent = [asyncio.ensure_future(channel.asend(Word(word))) for word in words]
            await asyncio.sleep(0)  # each has begun, and the first ones fill the socket
            assert not sent[-1].done()
            thread = loop.run_in_executor(None, channel.send, Word(b"from a thread"))
            read = loop.run_in_executor(None, all_of, there, len(words) + 1)
            await asyncio.gather(*sent, thread)
            return await read

        with pair(200_000) as (channel, there, _, _):
            assert sorted(asyncio.run(run(channel, there))) == sorted([*words, b"from a thread"])

    def test_whoever_leaves_in_the_middle_of_a_message_breaks_the_channel(self):
        async def run(channel):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await channel.asend(Word(bytes(2_000_000)))
            with pytest.raises(ChannelBroken):
                await channel.asend(Word(b"next"))

        with pair(3_000_000) as (channel, _, _, _):
            asyncio.run(run(channel))

    def test_whoever_leaves_before_it_is_his_turn_breaks_nothing(self):
        async def run(channel, there):
            first = asyncio.ensure_future(channel.asend(Word(bytes(2_000_000))))
            others = [asyncio.ensure_future(channel.asend(Word(bytes([number])))) for number in range(3)]
            await asyncio.sleep(0)
            others[1].cancel()
            read = asyncio.get_running_loop().run_in_executor(None, all_of, there, 3)
            await asyncio.gather(first, others[0], others[2])
            return await read

        with pair(3_000_000) as (channel, there, _, _):
            found = asyncio.run(run(channel, there))
            assert [len(found[0]), *sorted(found[1:])] == [2_000_000, b"\0", b"\2"]

    def test_a_channel_that_is_closed_tells_those_who_send(self):
        async def run(channel):
            sent = [asyncio.ensure_future(channel.asend(Word(bytes(1_000_000)))) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, channel.close)
            return await asyncio.gather(*sent, return_exceptions=True)

        with pair(3_000_000) as (channel, _, _, _):
            answers = asyncio.run(run(channel))
            assert [type(each) for each in answers] == [ChannelBroken] * 3

    def test_a_turn_that_has_come_is_passed_on_by_whoever_leaves_in_that_very_moment(self):
        async def run(channel, there):
            loop = asyncio.get_running_loop()
            first = asyncio.ensure_future(channel.asend(Word(bytes(2_000_000))))
            second, third = (asyncio.ensure_future(channel.asend(Word(bytes([number])))) for number in range(2))
            await asyncio.sleep(0)
            first.add_done_callback(lambda _: second.cancel())  # its turn has come by then, and it does not run yet
            read = loop.run_in_executor(None, all_of, there, 2)
            async with asyncio.timeout(30.0):
                await asyncio.wait((first, second, third))
            return await read

        with pair(3_000_000) as (channel, there, _, _):
            assert [len(each) for each in asyncio.run(run(channel, there))] == [2_000_000, 1]

    def test_what_cannot_be_sent_now_breaks_nothing(self):
        with pair(3_000_000) as (channel, there, _, _):
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    channel.send(Word(bytes(1_000)), monotonic())
                    sent += 1
            assert channel.broken is None
            read = threading.Thread(target=all_of, args=(there, sent + 1))
            read.start()
            channel.send(Word(b"last"), monotonic() + 30.0)
            read.join()

    def test_half_a_message_that_is_not_sent_in_time_breaks_the_channel(self):
        with pair(3_000_000) as (channel, _, _, ended):
            with pytest.raises(TimeoutError):
                channel.send(Word(bytes(2_000_000)), monotonic() + 0.05)
            assert ended.done


class TestReaders:
    """Whoever waits reads: threads and event loops take turns, and none of them misses anything."""

    def test_loops_and_threads_take_turns(self):
        with peers() as (ask, channel):

            def in_a_thread(rounds):
                return [ask(channel) for _ in range(rounds)]

            async def on_a_loop(rounds):
                return [await aask(ask, channel) for _ in range(rounds)]

            with ThreadPoolExecutor(4) as pool:
                runs = [pool.submit(in_a_thread, 200), pool.submit(in_a_thread, 200)]
                runs += [pool.submit(asyncio.run, on_a_loop(200)), pool.submit(asyncio.run, on_a_loop(200))]
                assert all(all(run.result(60)) for run in runs)

    def test_a_loop_that_has_ended_keeps_nobody_from_reading(self):
        with peers() as (ask, channel):
            for _ in range(20):
                assert asyncio.run(aask(ask, channel))
                assert ask(channel)

    def test_a_loop_that_does_not_run_any_more_keeps_nobody_from_reading(self):
        loop = asyncio.new_event_loop()
        with peers() as (ask, channel):
            assert loop.run_until_complete(aask(ask, channel))
            assert ask(channel)
            assert asyncio.run(aask(ask, channel))
            assert loop.run_until_complete(aask(ask, channel))
        loop.close()

    def test_the_end_of_the_stream_is_seen_that_comes_with_the_last_message(self):
        async def run(here, there):
            loop = asyncio.get_running_loop()
            came, over = [], loop.create_future()
            channel = Channel(here, Word, lambda word: came.append(word.body), over.set_result)
            readers = channel.watch(loop)
            there.sendall(frame(b"last"))
            there.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(30.0):
                await over
            channel.unwatch(readers)
            channel.close()
            return came

        here, there = socket.socketpair()
        with here, there:
            assert asyncio.run(run(here, there)) == [b"last"]

    def test_what_is_settled_before_its_thread_sleeps_wakes_it(self):
        class Late(Ticket):
            def prepare(self):
                self.settle(None)
                super().prepare()

        with pair() as (channel, there, _, ended), reading(channel, ended):
            assert channel.wait(Late(), monotonic() + 30.0)
            there.shutdown(socket.SHUT_WR)

    def test_a_thread_that_is_interrupted_while_others_read_is_not_asked_to_read(self):
        class Interrupted(Ticket):
            def sleep(self, timeout):
                raise KeyboardInterrupt

        with peers() as (ask, channel):
            never = Ticket()
            with reading(channel, never):
                with pytest.raises(KeyboardInterrupt):
                    channel.wait(Interrupted())
                never.settle(None)
                assert ask(channel)

    def test_what_raises_where_it_is_taken_breaks_the_channel(self):
        def take(_):
            raise KeyboardInterrupt

        here, there = socket.socketpair()
        ended = Ticket()
        channel = Channel(here, Word, take, ended.settle)
        with there:
            there.sendall(frame(b"first") + frame(b"second")[:-2])
            with pytest.raises(KeyboardInterrupt):
                channel.wait(Ticket())
            assert ended.done
            assert not channel.wait(Ticket(), monotonic())
        channel.close()

    def test_its_end_is_told_once(self):
        told = []
        for _ in range(200):
            here, there = socket.socketpair()
            channel = Channel(here, Word, print, told.append)
            there.close()
            with ThreadPoolExecutor(2) as pool:
                pool.submit(channel.wait, Ticket(), monotonic() + 0.001)
                pool.submit(channel.close)
        assert len(told) == 200

    def test_closing_while_loops_watch_leaves_no_descriptor(self):
        before = descriptors()
        for _ in range(20):
            with peers() as (ask, channel):
                assert asyncio.run(aask(ask, channel))
        gc.collect()  # the loops, and with them what they watched
        assert descriptors() <= before


@contextmanager
def reading(channel: Channel[Any], ticket: Ticket) -> Iterator[None]:
    """Have a thread read until a ticket is settled."""
    thread = threading.Thread(target=channel.wait, args=(ticket,))
    thread.start()
    while not channel._reading:  # nothing else tells
        pass
    yield
    ticket.settle(None)
    channel.close()
    thread.join()


def descriptors() -> set[str]:
    """Name those of this process."""
    return {each.name for each in Path("/proc/self/fd").iterdir()}


class Asking(Channel[Any]):
    """A channel whose questions are numbers, and whose answers are the same numbers."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, Word, self.took, lambda _: None)
        self.numbers = count(1)
        self.tickets: dict[bytes, Ticket] = {}

    def took(self, word: Word) -> None:
        """Settle what was asked."""
        self.tickets.pop(word.body).settle(word.body)


@contextmanager
def peers() -> Iterator[tuple[Any, Asking]]:
    """Give how to ask in a thread, and a channel whose other end answers with what it was asked."""
    here, there = socket.socketpair()

    def echo() -> None:
        while data := there.recv(65_536):
            there.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    channel = Asking(here)

    def ask(channel: Asking, tell: Any = None) -> Any:
        body, ticket = str(next(channel.numbers)).encode(), Ticket(tell)
        channel.tickets[body] = ticket
        channel.send(Word(body))
        if tell is not None:
            return body, ticket
        assert channel.wait(ticket, monotonic() + 60.0)
        return ticket.result() == body

    yield ask, channel
    channel.close()
    thread.join()
    there.close()


async def aask(ask: Any, channel: Asking) -> bool:
    """Ask on an event loop."""
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    readers = channel.watch(loop)
    try:
        body, ticket = ask(channel, teller(loop, came))
        async with asyncio.timeout(60.0):
            await came
    finally:
        channel.unwatch(readers)
    return bool(ticket.result() == body)


def all_of(there: socket.socket, number: int) -> list[bytes]:
    """Read so many messages."""
    file, found = there.makefile("rb"), []
    for _ in range(number):
        size = int.from_bytes(file.read(4), "big")
        found.append(msgspec.msgpack.decode(file.read(size), type=Word).body)
    return found


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
