"""Connections that one process accepts and others serve, here all in one: who gets which, and that none is lost."""

import contextlib
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jackfield.operations.handing import Acceptor, take

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are sent over Unix sockets")

PATIENCE = 30.0


class Process:
    """What stands for a process: it takes when it is told to."""

    def __init__(self, acceptor):
        channel, self.end = socket.socketpair()
        self.end.settimeout(PATIENCE)
        acceptor.add(channel)

    def take(self):
        """Take a connection, and give what its client has sent."""
        connection = take(self.end)
        if connection is None:
            return None
        with connection:
            connection.settimeout(PATIENCE)
            said = connection.recv(100)
            connection.sendall(said)
            return said


@pytest.fixture
def accepting():
    """Accept on a free port, and give the acceptor and what makes a client."""
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    acceptor = Acceptor(listener)
    with contextlib.ExitStack() as stack:

        def client(word):
            made = stack.enter_context(socket.create_connection(where, PATIENCE))
            made.sendall(word)
            return made

        yield acceptor, client
        acceptor.close(PATIENCE)


def test_each_is_given_one_in_turn(accepting):
    """However quick any of them is."""
    acceptor, client = accepting
    acceptor.start()
    one, other = Process(acceptor), Process(acceptor)
    clients = [client(b"%d" % number) for number in range(6)]
    taken = [{one.take() for _ in range(3)}, {other.take() for _ in range(3)}]
    assert taken[0] | taken[1] == {b"%d" % number for number in range(6)}
    assert all(len(each) == 3 for each in taken)
    for number, each in enumerate(clients):
        assert each.recv(10) == b"%d" % number
        assert each.recv(10) == b""  # nobody else holds it open
    one.end.close()
    other.end.close()


def test_they_wait_for_somebody_who_takes_them(accepting):
    """Those that came before there was any process."""
    acceptor, client = accepting
    acceptor.start()
    waiting = client(b"early")
    process = Process(acceptor)
    assert process.take() == b"early"
    assert waiting.recv(10) == b"early"
    process.end.close()


def test_what_a_process_has_not_taken_goes_to_another(accepting):
    """When it is gone; what it had taken goes with it."""
    acceptor, client = accepting
    acceptor.start()
    dying = Process(acceptor)
    clients = [client(b"%d" % number) for number in range(4)]
    assert dying.take() == b"0"
    dying.end.close()
    other = Process(acceptor)
    assert {other.take() for _ in range(3)} == {b"1", b"2", b"3"}
    assert [each.recv(10) for each in clients] == [b"0", b"1", b"2", b"3"]
    other.end.close()


def test_many_that_go_at_once_end_nothing(accepting):
    """Each is gone and removed, in whichever order that is noticed."""
    acceptor, client = accepting
    acceptor.start()

    def come_and_go():
        for _ in range(200):
            channels = [socket.socketpair() for _ in range(8)]
            for channel, _ in channels:
                acceptor.add(channel)
            for channel, end in channels:
                end.close()
                acceptor.remove(channel)

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(come_and_go) for _ in range(4)]:
            each.result(PATIENCE)
    process = Process(acceptor)
    waiting = client(b"here")
    assert process.take() == b"here"
    assert waiting.recv(10) == b"here"
    process.end.close()


def test_one_that_takes_nothing_holds_up_nobody_for_long(accepting):
    """It is given a few, then all go to those that take them; what it was given, too, once it is gone."""
    acceptor, client = accepting
    acceptor.start()
    stuck, busy = Process(acceptor), Process(acceptor)
    clients = [client(b"x") for _ in range(4)]
    assert [busy.take() for _ in range(2)] == [b"x"] * 2
    busy.end.settimeout(0.1)
    taken, end = 2, time.monotonic() + PATIENCE
    while taken < 150 and time.monotonic() < end:
        clients.append(client(b"x"))
        with contextlib.suppress(TimeoutError):  # this one went to the other
            taken += busy.take() == b"x"
    assert len(clients) - taken <= 64
    stuck.end.close()
    busy.end.settimeout(PATIENCE)
    for _ in range(len(clients) - taken):
        assert busy.take() == b"x"
    assert all(each.recv(1) == b"x" for each in clients)
    busy.end.close()


def test_closing_hands_on_what_has_come(accepting):
    """Then each process sees that there is no more, and nobody listens."""
    acceptor, client = accepting
    process = Process(acceptor)
    waiting = client(b"last")
    acceptor.start()
    acceptor.close(0.0)
    assert process.take() == b"last"
    assert waiting.recv(10) == b"last"
    assert process.take() is None
    process.end.close()
    with pytest.raises(OSError, match="refused"):
        client(b"late")
