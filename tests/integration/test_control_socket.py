"""The control socket between real processes: who may ask, who is refused, and what nobody can break."""

import contextlib
import gc
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest
from loguru import logger

from jackfield.control import IDLE, ControlClient, ControlServer, FrameSocket, client, pack, unpack
from jackfield.errors import (
    DeadlineExceeded,
    FunctionCrashed,
    FunctionNotFound,
    PermissionDenied,
    Rejected,
    ResourceExhausted,
    Unavailable,
)
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.pool import Pool
from jackfield.testing.leaks import no_leaks
from jackfield.wire.frames import GREETING, LIMIT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")

PATIENCE = 30.0  # seconds that only a broken server uses up
NOBODY = 65_534
HOST = """
import signal, sys, time
from jackfield.control import ControlServer
verbs = {"status": lambda given: {"pid": __import__("os").getpid(), **given}, "hang": lambda given: time.sleep(600)}
def ticks(given):
    n = 0
    while True:
        yield (n := n + 1)
try:
    server = ControlServer(sys.argv[1], {**verbs, "ticks": ticks}).start()
except Exception as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    print("ready", flush=True)
    signal.pause()
finally:
    server.close()
"""


@pytest.fixture
def folder(socket_path):
    return socket_path.parent


@pytest.fixture
def path(socket_path):
    return socket_path


@pytest.fixture
def messages():
    lines = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{level} {message}", level="DEBUG")
    yield lines
    logger.remove(sink)


@contextlib.contextmanager
def host(path: Path, says: str = "ready", code: str = HOST):
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().strip()
            assert says in line, line
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, at most `PATIENCE` seconds."""
    end = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < end, "it never came"
        sleep(0.005)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(PATIENCE)
        raw.connect(str(path))
        yield raw


def everything(raw: socket.socket) -> bytes:
    """Read until the other side closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := raw.recv(65_536):
            got += piece
    return got


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208  # Path.iterdir holds one of its own open


class Feed:
    """An iterator as an event subscription is one: it waits without limit, until it is closed."""

    def __init__(self):
        self.items = queue.Queue()
        self.asked = 0
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.asked += 1
        item = self.items.get()
        if item is StopIteration:
            raise item
        return item

    def close(self):
        assert not self.closed.is_set(), "closed twice"
        self.closed.set()
        self.items.put(StopIteration)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_verb_gets_its_arguments_and_its_result_comes_back(path):
    """Plain data both ways; arguments may have any name."""
    with no_leaks(), ControlServer(path, {"echo": lambda given: given, "none": lambda given: None}) as server:
        assert server.path == path
        client = ControlClient(path)
        given = {"self": 1, "verb": [True, None, 2.5, b"x"], "timeout": {"a": "ü"}}
        assert client.request("echo", **given) == given
        assert client.request("none") is None


def test_errors_of_verbs_are_raised_as_the_same_class(path):
    """Jackfield's own with their fields, any other as a crash with its stack; the server goes on."""
    raised: dict[str, BaseException] = {
        "refuse": Rejected("too early", "early", {"in": 3}),
        "missing": FunctionNotFound("f", ("g",)),
        "crash": ZeroDivisionError("by zero"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
    }

    def verb(given):
        raise raised[given["which"]]

    with ControlServer(path, {"do": verb, "status": lambda given: "fine"}):
        client = ControlClient(path)
        with pytest.raises(Rejected, match="too early") as refused:
            client.request("do", which="refuse")
        assert (refused.value.code, refused.value.details) == ("early", {"in": 3})
        with pytest.raises(FunctionNotFound) as missing:
            client.request("do", which="missing")
        assert missing.value.close == ("g",)
        for which in ("crash", "exit", "interrupt"):
            with pytest.raises(FunctionCrashed, match=type(raised[which]).__name__) as crashed:
                client.request("do", which=which)
            assert "verb" in crashed.value.remote_stack
        with pytest.raises(FunctionCrashed, match="KeyError"):
            client.request("do")
        assert client.request("status") == "fine"


def test_an_unknown_verb_is_refused_and_the_known_ones_are_listed(path):
    """A pluginctl of another version learns what this host can do."""
    with ControlServer(path, {"status": dict, "stop": dict}), pytest.raises(Unavailable, match="knows: status, stop"):
        ControlClient(path).request("levitate")


def test_what_cannot_be_sent_is_an_error_and_not_a_broken_connection(path):
    """Too large, either way."""
    with ControlServer(path, {"large": lambda given: b"x" * (LIMIT + 1), "status": lambda given: 1}):
        client = ControlClient(path)
        with pytest.raises(ResourceExhausted, match="16,777"):
            client.request("large")
        with pytest.raises(ResourceExhausted, match="16,777"):
            client.request("status", large=b"x" * (LIMIT + 1))
        assert client.request("status") == 1


def test_a_large_answer_arrives_whole(path):
    """Larger than any buffer on the way."""
    value = os.urandom(8_000_000)
    with ControlServer(path, {"large": lambda given: [value, given["value"]]}):
        assert ControlClient(path).request("large", value=value) == [value, value]


def test_hanging_verbs_do_not_keep_status_waiting(path):
    """Clients that give up free the pool: more hang than it has threads, and `status` still answers."""
    release, hanging = threading.Event(), threading.Semaphore(0)

    def hang(given):
        hanging.release()
        release.wait(PATIENCE)

    with ControlServer(path, {"hang": hang, "status": lambda given: "fine"}) as server:
        with ThreadPoolExecutor(20) as pool:
            for future in [pool.submit(ControlClient(path, timeout=0.2).request, "hang") for _ in range(20)]:
                with pytest.raises(DeadlineExceeded, match=r"control:hang.*0\.2 s"):
                    future.result()
        for _ in range(16):
            assert hanging.acquire(timeout=PATIENCE)
        assert not release.is_set()
        assert ControlClient(path, timeout=PATIENCE / 2).request("status") == "fine"
        release.set()
        server.close()


def test_a_host_that_does_not_even_greet_is_not_waited_for_for_ever(path, monkeypatch):
    """A client without a time limit waits as long as a verb takes, but of a host that attends."""
    monkeypatch.setattr(client, "_GREETING", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(path))
        path.chmod(0o600)
        deaf.listen()
        with pytest.raises(DeadlineExceeded, match="did not answer within"):
            ControlClient(path, timeout=None).request("status")


def test_a_hundred_clients_at_once_are_all_answered(path):
    """Nobody is lost, nobody gets another's answer."""
    together = threading.Barrier(100)

    def ask(number):
        together.wait(PATIENCE)
        return ControlClient(path).request("echo", number=number)["number"]

    with (
        no_leaks(),
        ControlServer(path, {"echo": lambda given: given}, connections=200),
        ThreadPoolExecutor(100) as pool,
    ):
        assert list(pool.map(ask, range(100))) == list(range(100))


def test_one_connection_may_carry_many_requests_at_once(path):
    """Replies carry their request's id, and come as they are ready; more than eight at once are refused."""
    release = threading.Event()
    verbs = {"wait": lambda given: release.wait(PATIENCE), "now": lambda given: given}
    with ControlServer(path, verbs), connected(path) as raw:
        frames = FrameSocket(raw)
        frames.greet()
        for number in range(8):
            frames.send(pack({"id": number, "verb": "wait"}))
        frames.send(pack({"id": 99, "verb": "now"}))
        refused = unpack(frames.receive())
        assert (refused["id"], refused["error"]["type"]) == (99, "ResourceExhausted")
        release.set()
        assert {unpack(frames.receive())["id"] for _ in range(8)} == set(range(8))
        frames.send(pack({"id": 100, "verb": "now", "arguments": {"a": 1}, "later": "field"}))
        assert unpack(frames.receive()) == {"id": 100, "ok": True, "result": {"a": 1}}


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_gives_its_items_and_ends(path):
    """`IDLE` is never seen; an end is an end, an error an error, a single value a single item."""

    def count(given):
        for number in range(given["to"]):
            yield IDLE
            yield {"number": number}
        if given.get("fail"):
            raise Rejected("enough", "enough")

    with no_leaks(), ControlServer(path, {"count": count, "one": lambda given: 1}), ControlClient(path) as client:
        assert [item["number"] for item in client.stream("count", to=1_000)] == list(range(1_000))
        assert list(client.stream("count", to=0)) == []
        stream = client.stream("count", to=1, fail=True)
        assert next(stream) == {"number": 0}
        with pytest.raises(Rejected, match="enough"):
            next(stream)
        assert list(stream) == []
        assert list(client.stream("one")) == [1]
        with pytest.raises(TypeError, match="use `stream"):
            client.request("count", to=3)


def test_a_stream_that_cannot_be_opened_says_so_at_once(path):
    """Not at its first item."""

    def refuse(given):
        raise Rejected("no", "no")

    with ControlServer(path, {"refuse": refuse}), pytest.raises(Rejected):
        ControlClient(path).stream("refuse")


def test_a_client_that_leaves_closes_the_iterator_even_while_it_waits(path):
    """A subscription ends with its follower: closed once, from another thread, in the middle of `__next__`."""
    feed = Feed()
    with no_leaks(), ControlServer(path, {"follow": lambda given: feed}):
        with ControlClient(path) as client:
            stream = client.stream("follow")
            feed.items.put("first")
            assert next(stream) == "first"
            until(lambda: feed.asked == 2)
        assert feed.closed.wait(PATIENCE)


def test_a_generator_that_says_it_is_idle_is_closed_when_the_client_leaves(path):
    """Its `finally` runs, although it has nothing to send."""
    closed = threading.Event()

    def follow(given):
        try:
            yield "first"
            while True:
                sleep(0.005)
                yield IDLE
        finally:
            closed.set()

    with no_leaks(), ControlServer(path, {"follow": follow}):
        with ControlClient(path).stream("follow") as stream:
            assert next(stream) == "first"
        assert closed.wait(PATIENCE)


def test_an_iterator_that_comes_after_the_client_has_left_is_closed(path):
    """A verb that took too long to subscribe leaves no subscription behind."""
    feed, asked, release = Feed(), threading.Event(), threading.Event()

    def follow(given):
        asked.set()
        release.wait(PATIENCE)
        return feed

    with no_leaks(), ControlServer(path, {"follow": follow, "status": dict}):
        with connected(path) as raw:
            raw.sendall(GREETING + pack({"id": 1, "verb": "follow"}))
            assert asked.wait(PATIENCE)
        ControlClient(path).request("status")
        release.set()
        assert feed.closed.wait(PATIENCE)


def test_a_follower_that_reads_nothing_slows_only_its_own_stream(path):
    """What is not read is not produced, and nobody else waits."""
    made = 0

    def flood(given):
        nonlocal made
        while True:
            made += 1
            yield b"x" * 100_000

    with (
        no_leaks(),
        ControlServer(path, {"flood": flood, "status": lambda given: "fine"}),
        ControlClient(path) as client,
    ):
        stream = client.stream("flood")
        next(stream)
        before = -1
        while before != made:
            before = made
            assert client.request("status") == "fine"
            sleep(0.05)
        assert made < 1_000
        for _ in range(50):
            assert len(next(stream)) == 100_000


def test_followers_are_bounded_and_do_not_keep_requests_waiting(path):
    """The 33rd is refused, `status` is answered, and a place that is left is free again."""
    feeds: list[Feed] = []

    def follow(given):
        feeds.append(Feed())
        return feeds[-1]

    with (
        no_leaks(),
        ControlServer(path, {"follow": follow, "status": lambda given: "fine"}),
        ControlClient(path) as client,
    ):
        streams = [client.stream("follow") for _ in range(32)]
        with pytest.raises(ResourceExhausted, match="32 streams"):
            client.stream("follow")
        assert feeds[-1].closed.wait(PATIENCE)
        assert client.request("status") == "fine"
        streams[0].close()

        def opened():
            try:
                return client.stream("follow")
            except ResourceExhausted:
                return None

        until(opened)
    assert all(feed.closed.wait(PATIENCE) for feed in feeds)


def test_a_host_that_closes_ends_its_streams(path):
    """The follower learns that the host is gone; the iterator is closed before `close` returns."""
    feed = Feed()
    server = ControlServer(path, {"follow": lambda given: feed}).start()
    with no_leaks():
        stream = ControlClient(path).stream("follow")
        until(lambda: feed.asked)
        server.close()
        assert feed.closed.is_set()
        with pytest.raises(Unavailable, match="went away"):
            next(stream)


# --- bad clients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(1_000),
        GREETING[:-1] + b"\x63",
        GREETING + b"\xff\xff\xff\xff",
        GREETING + (LIMIT + 1).to_bytes(4, "big") + b"x" * 100_000,
        GREETING + b"\x00\x00\x00\x00",
        GREETING + b"\x00\x00\x00\x01\xc1",
        GREETING + pack("text"),
        GREETING + pack({"id": "x", "verb": "status"}),
        GREETING + pack({"id": 1, "verb": "status", "arguments": [1]}),
        GREETING + (1_000_000).to_bytes(4, "big") + b"\x91" * 1_000_000,
    ],
    ids=range(11),
)
def test_garbage_is_answered_with_an_error_and_a_closed_connection(path, messages, sent):
    """A violation ends that client, is logged, and costs nobody else anything."""
    with ControlServer(path, {"status": lambda given: "fine"}):
        with connected(path) as raw:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                raw.sendall(sent)
            got = everything(raw)
        assert got.startswith(GREETING)
        if len(got) > len(GREETING):  # unread garbage may cut the rest short
            reply = unpack(got[len(GREETING) + 4 :])
            assert (reply["id"], reply["ok"], reply["error"]["type"]) == (None, False, "Unavailable")
        assert ControlClient(path).request("status") == "fine"
    assert any("WARNING" in line and "broke the protocol" in line for line in messages)


@pytest.mark.parametrize(
    "begun", [b"", GREETING[:3], GREETING + b"\x00\x00", GREETING + pack({"id": 1, "verb": "status"})[:-1]]
)
def test_a_client_that_drips_is_cut_off(path, begun):
    """A greeting or a frame has its time, however many bytes come meanwhile."""
    with ControlServer(path, {"status": dict}, patience=0.5), connected(path) as raw:
        raw.sendall(begun)
        assert everything(raw) == GREETING


def test_dripping_bytes_do_not_prolong_a_frame(path):
    """One byte now and then is a frame that takes too long."""
    with ControlServer(path, {"status": dict}, patience=0.5), connected(path) as raw:
        raw.sendall(GREETING + (1_000_000).to_bytes(4, "big"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(int(PATIENCE / 0.01)):
                raw.sendall(b"x")
                sleep(0.01)


def test_an_idle_client_is_disconnected_but_not_while_it_waits(path):
    """Idleness is the client's, not the host's."""
    release = threading.Event()
    with ControlServer(path, {"wait": lambda given: release.wait(PATIENCE)}, idle=0.1), connected(path) as raw:
        raw.sendall(GREETING + pack({"id": 1, "verb": "wait"}))
        frames = FrameSocket(raw)
        with pytest.raises(TimeoutError):
            frames.receive(monotonic() + 0.4)
        release.set()
        assert unpack(frames.receive(monotonic() + PATIENCE))["result"] is True
        with pytest.raises(EOFError):
            frames.receive(monotonic() + PATIENCE)


def test_a_client_that_takes_no_reply_is_cut_off(path):
    """A reply that nobody reads does not stay in memory."""
    with ControlServer(path, {"large": lambda given: b"x" * 8_000_000}, patience=1.0), connected(path) as raw:
        assert raw.recv(100) == GREETING
        before = descriptors()
        raw.sendall(GREETING + pack({"id": 1, "verb": "large"}))
        until(lambda: descriptors() < before)


def test_too_many_clients_are_refused_with_a_reason(path):
    """The one beyond the bound is told; when one leaves, there is room."""
    with ControlServer(path, {"status": lambda given: "fine"}, connections=2):
        with connected(path) as one, connected(path) as two:
            one.recv(100), two.recv(100)
            with pytest.raises(ResourceExhausted, match="2 clients are connected"):
                ControlClient(path).request("status")

        def answered():
            try:
                return ControlClient(path).request("status")
            except ResourceExhausted:
                return None

        until(answered)


def test_a_thousand_connects_leave_no_descriptor_and_no_thread(path):
    """Requests, streams, clients that leave at once and clients that send garbage: all are forgotten."""

    def ticks(given):
        while True:
            yield 1

    with no_leaks(), ControlServer(path, {"status": lambda given: 1, "ticks": ticks}):
        client = ControlClient(path)

        def round_trip(number):
            if number % 4 == 0:
                client.request("status")
            elif number % 4 == 1:
                with client.stream("ticks") as stream:
                    next(stream)
            elif number % 4 == 2:
                with connected(path):
                    pass
            else:
                with connected(path) as raw, contextlib.suppress(BrokenPipeError):
                    raw.sendall(GREETING + b"\xff" * 10)

        for number in range(40):
            round_trip(number)
        until(lambda: not [t for t in threading.enumerate() if t.name == "jackfield-control-leave"])
        gc.collect()
        before, threads = descriptors(), threading.active_count()
        for number in range(1_000):
            round_trip(number)
        until(lambda: descriptors() <= before)
        until(lambda: threading.active_count() <= max(threads, 50))


def test_a_host_without_descriptors_left_answers_again_when_there_are_some(path):
    """Clients that cannot be accepted wait; neither they nor the host are lost."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    with host(path, code=f"{limit}\n{HOST}") as process, contextlib.ExitStack() as many:
        for _ in range(60):
            many.enter_context(connected(path))
        with pytest.raises(DeadlineExceeded):
            ControlClient(path, timeout=0.2).request("status")
        many.close()
        assert ControlClient(path).request("status")["pid"] == process.pid


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_hosts_on_one_path_the_second_is_refused_and_the_first_goes_on(path):
    """The error names the first's process id and the way out."""
    with host(path) as first:
        with host(path, says=f"process {first.pid}") as second:
            assert second.wait(PATIENCE) == 1
        assert ControlClient(path).request("status", a=1) == {"pid": first.pid, "a": 1}


def test_a_killed_host_is_replaced(path):
    """After a kill -9 its clients are told, and a new host takes the path over."""
    with host(path) as first:
        client = ControlClient(path)
        stream = client.stream("ticks")
        assert next(stream) == 1
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(client.request, "hang")
            until(lambda: client.request("status"))
            first.send_signal(signal.SIGKILL)
            with pytest.raises(Unavailable, match="went away"):
                hanging.result(PATIENCE)
        with pytest.raises(Unavailable, match="went away"):
            list(stream)
        first.wait()
    assert path.exists()
    with pytest.raises(Unavailable, match="is gone: start one with `pluginctl serve CONFIG`"):
        client.request("status")
    with host(path) as second:
        assert client.request("status")["pid"] == second.pid
        second.terminate()
        assert second.wait(PATIENCE) == 0
    assert not path.exists()
    with pytest.raises(Unavailable, match="no host runs there: start one with `pluginctl serve CONFIG`"):
        client.request("status")


def test_hosts_that_start_together_leave_exactly_one(path):
    """However they race."""
    started = [
        subprocess.Popen([sys.executable, "-c", HOST, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    try:
        lines = [process.stdout.readline().strip() for process in started]
        assert sorted(line == "ready" for line in lines) == [False] * 5 + [True], lines
        winner = started[lines.index("ready")]
        assert ControlClient(path).request("status")["pid"] == winner.pid
        assert all(f"process {winner.pid}" in line for line in lines if line != "ready"), lines
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("kind", ["client", "host"])
def test_another_user_is_neither_answered_nor_trusted(folder, path, kind):
    """Even where the file's mode would let them: the system says who is on the other end."""
    folder.chmod(0o755)
    serve = (
        "from jackfield.control import ControlServer\n"
        "server = ControlServer(sys.argv[1], {'status': lambda given: 'fine'})\n"
    )
    ask = (
        "from jackfield.control import ControlClient\n"
        "try: print(ControlClient(sys.argv[1]).request('status'), flush=True)\n"
        "except Exception as error: print(type(error).__name__, error, flush=True)\n"
    )
    become = f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    if kind == "client":  # sees a host of root's, and asks as nobody with a client that would trust anybody
        with ControlServer(path, {"status": lambda given: "fine"}):
            path.chmod(0o666)
            said = _run("import os, sys\n" + ask.replace("try:", become + "try:"), path)
            assert "PermissionDenied" in said
            assert "only the user that the host runs as" in said
            path.chmod(0o600)
            said = _run("import os, sys\n" + ask.replace("try:", become + "try:"), path)
            assert "PermissionDenied" in said
            assert "is closed to this user" in said
        return
    # A socket of nobody's: neither another user nor root talks to it.
    (folder / "theirs").mkdir(mode=0o777)
    os.chown(folder / "theirs", NOBODY, NOBODY)
    theirs = folder / "theirs" / "c.sock"
    code = (
        "import os, sys, signal\n"
        + serve
        + become
        + "server.start()\nos.chmod(sys.argv[1], 0o666)\nprint('ready', flush=True)\nsignal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(theirs)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(PermissionDenied, match=f"theirs belongs to user {NOBODY}"):
                ControlClient(theirs).request("status")  # root asks nobody but root
            other = become.replace(str(NOBODY), str(NOBODY - 1))
            said = _run("import os, sys\n" + ask.replace("try:", other + "try:"), theirs)
            assert "PermissionDenied" in said
            assert f"belongs to user {NOBODY}" in said
            with pytest.raises(PermissionDenied, match=f"theirs belongs to user {NOBODY}"):
                ControlServer(theirs, {}).start()
        finally:
            process.kill()


SQUAT = f"""
import os, pathlib, socket, sys
os.setgid({NOBODY}); os.setuid({NOBODY})
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(path))
listener.listen()
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    print(repr(connection.recv(65536)), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("where", ["folder", "sticky", "writable"])
def test_nothing_is_sent_to_the_socket_of_a_squatter(folder, where):
    """Made first by somebody else in a folder where everybody may write: root's client does not even connect."""
    folder.chmod(0o755)
    common = folder / "common"
    common.mkdir()
    common.chmod(0o777 if where == "writable" else 0o1777)
    path = common / "jackfield-0" / "host.sock" if where == "folder" else common / "host.sock"
    with subprocess.Popen([sys.executable, "-c", SQUAT, str(path)], stdout=subprocess.PIPE, text=True) as squatter:
        try:
            assert squatter.stdout.readline() == "ready\n"
            with pytest.raises(PermissionDenied, match=f"belongs to user {NOBODY}.*sudo -u"):
                ControlClient(path).request("call", note="hunter2")
        finally:
            squatter.kill()
        assert squatter.stdout.read() == ""


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else")
def test_links_are_followed_only_where_nobody_else_made_or_may_replace_them(folder, path):
    """A link of root's leads to the host; one of somebody else's, and a folder open to all, lead nowhere."""
    folder.chmod(0o755)
    (folder / "by-root").symlink_to("c.sock")
    (folder / "away").symlink_to(folder)
    (folder / "by-nobody").symlink_to(folder)
    os.chown(folder / "by-nobody", NOBODY, NOBODY, follow_symlinks=False)
    (folder / "loop").symlink_to("loop")
    with ControlServer(path, {"status": lambda given: "fine"}):
        for good in (folder / "by-root", folder / "away" / "c.sock", folder / "away" / ".." / folder.name / "c.sock"):
            assert ControlClient(good).request("status") == "fine"
        with pytest.raises(PermissionDenied, match=f"by-nobody belongs to user {NOBODY}"):
            ControlClient(folder / "by-nobody" / "c.sock").request("status")
        with pytest.raises(PermissionDenied, match="too many links"):
            ControlClient(folder / "loop").request("status")
        folder.chmod(0o777)
        with pytest.raises(PermissionDenied, match=f"others may write in {folder}"):
            ControlClient(path).request("status")
        folder.chmod(0o770)
        with pytest.raises(PermissionDenied, match=f"others may write in {folder}"):
            ControlClient(path).request("status")
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become somebody else")
def test_who_listens_is_asked_of_the_system_before_anything_is_sent(folder, path):
    """A file of root's proves nothing when it is somebody else who listens behind it."""
    folder.chmod(0o777)
    with subprocess.Popen([sys.executable, "-c", SQUAT, str(path)], stdout=subprocess.PIPE, text=True) as squatter:
        try:
            assert squatter.stdout.readline() == "ready\n"
            os.chown(path, 0, 0)
            folder.chmod(0o700)
            with pytest.raises(PermissionDenied, match=f"user {NOBODY} listens there"):
                ControlClient(path).request("call", note="hunter2")
            assert squatter.stdout.readline() == "b''\n"
        finally:
            squatter.kill()


def _run(code: str, path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True, timeout=PATIENCE
    ).stdout


# --- clients without a host -------------------------------------------------------------------------------------------


def test_no_host_a_plain_file_and_a_path_through_a_file_are_told_apart(folder, path):
    """Each with what to do about it."""
    with pytest.raises(Unavailable, match=f"{path}: no host runs there.*pluginctl serve CONFIG"):
        ControlClient(path).request("status")
    path.write_text("")
    with pytest.raises(Unavailable, match="is no socket"):
        ControlClient(path).request("status")
    with pytest.raises(Unavailable, match="no host runs there"):
        ControlClient(path / "c.sock").stream("status")


def test_something_else_that_listens_is_not_understood_and_not_believed(path):
    """Another server's socket, one that says nothing, and one that hangs up."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def speak(says):
            with other.accept()[0] as connection:
                if says is None:
                    connection.recv(1)
                    connection.settimeout(PATIENCE)
                    everything(connection)
                else:
                    connection.sendall(says)

        for says, error, match in [
            (b"220 mail.example.org ESMTP\r\n", Unavailable, "cannot be understood"),
            (GREETING + pack("hello"), Unavailable, "cannot be understood"),
            (GREETING + b"\xff\xff\xff\xff", Unavailable, "cannot be understood"),
            (b"", Unavailable, "went away"),
            (GREETING + pack({"id": 1, "ok": True})[:-1], Unavailable, "went away"),
            (None, DeadlineExceeded, "did not answer within 0.3 s"),
        ]:
            thread = threading.Thread(target=speak, args=(says,))
            thread.start()
            with pytest.raises(error, match=match):
                ControlClient(path, timeout=0.3 if says is None else PATIENCE).request("status")
            thread.join()


def test_a_host_whose_queue_is_full_is_waited_for_and_then_late(path):
    """Nobody accepts: the client's time is up, without an error of the system's."""
    with socket.socket(socket.AF_UNIX) as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(str(path))
        deaf.listen(0)
        for _ in range(2):
            one = waiting.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                one.connect(str(path))
        with pytest.raises(DeadlineExceeded, match="control:status"):
            ControlClient(path, timeout=0.2).request("status")


# --- the server's own life --------------------------------------------------------------------------------------------


def test_a_server_shares_the_loop_and_the_threads_of_its_host(path):
    """It runs where it is told to, and leaves both as they were."""
    loop, pool = ControlLoop(), Pool()

    async def there():
        return threading.current_thread().name

    with ControlServer(path, {"who": lambda given: threading.current_thread().name}, loop=loop, pool=pool):
        assert ControlClient(path).request("who") == "control:who"
    assert loop.run(there()) == "jackfield-control"
    loop.close()


def test_no_more_verbs_run_at_once_than_there_are_seats(path):
    """Sixteen; the next one waits until one of them has ended, or its client has left."""
    release, started = threading.Event(), threading.Semaphore(0)

    def wait(given):
        started.release()
        release.wait(PATIENCE)
        return "done"

    with ControlServer(path, {"wait": wait, "status": lambda given: "fine"}), contextlib.ExitStack() as clients:
        for _ in range(2):
            raw = clients.enter_context(connected(path))
            raw.sendall(GREETING + b"".join(pack({"id": number, "verb": "wait"}) for number in range(8)))
        for _ in range(16):
            assert started.acquire(timeout=PATIENCE)
        with pytest.raises(DeadlineExceeded):
            ControlClient(path, timeout=0.3).request("status")
        clients.close()
        assert ControlClient(path, timeout=PATIENCE / 2).request("status") == "fine"
        release.set()


def test_threads_left_behind_by_verbs_that_hang_are_bounded(path):
    """What nobody waits for any more may hang for ever; at most 32 do, beside the sixteen that somebody waits for."""
    release, hanging = threading.Event(), []

    def hang(given):
        hanging.append(1)
        release.wait(PATIENCE)

    with ControlServer(path, {"hang": hang}) as server:
        while len(hanging) < 48:
            with pytest.raises((DeadlineExceeded, ResourceExhausted)):
                ControlClient(path, timeout=0.1).request("hang")
        with pytest.raises(ResourceExhausted, match="nobody waits for"):
            ControlClient(path, timeout=PATIENCE).request("hang")
        release.set()
        server.close()


def test_requests_that_run_are_finished_before_the_server_is_closed(path):
    """`close` waits for them; new ones are refused."""
    started, release = threading.Event(), threading.Event()

    def slow(given):
        started.set()
        release.wait(PATIENCE)
        return "done"

    server = ControlServer(path, {"slow": slow}).start()
    with no_leaks(), ThreadPoolExecutor(2) as pool:
        answer = pool.submit(ControlClient(path).request, "slow")
        assert started.wait(PATIENCE)
        closing = pool.submit(server.close, PATIENCE)
        release.set()
        assert answer.result(PATIENCE) == "done"
        closing.result(PATIENCE)
    server.close()


def test_a_request_that_hangs_does_not_keep_the_server_from_closing(path):
    """After the grace it is given up, and its client is told."""
    started, release = threading.Event(), threading.Event()

    def hang(given):
        started.set()
        release.wait(PATIENCE)

    server = ControlServer(path, {"hang": hang}).start()
    with no_leaks(), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ControlClient(path).request, "hang")
        assert started.wait(PATIENCE)
        server.close(grace=0.1)
        with pytest.raises(Unavailable, match="went away"):
            answer.result(PATIENCE)
        assert not path.exists()
        release.set()


def test_a_server_starts_once_and_a_new_one_takes_its_place(path):
    """A failed start leaves nothing behind, and can be tried again."""
    with ControlServer(path, {"n": lambda given: 1}) as first:
        with pytest.raises(Unavailable, match="started before"):
            first.start()
        second = ControlServer(path, {"n": lambda given: 2})
        before = descriptors()
        for _ in range(5):
            with pytest.raises(Unavailable, match=str(os.getpid())):
                second.start()
        assert descriptors() == before
    with second:
        assert ControlClient(path).request("n") == 2
    ControlServer(path, {}).close()


def test_frames_have_the_form_that_is_documented(path):
    """A client in another language needs no more than this."""
    with ControlServer(path, {"add": lambda given: given["a"] + given["b"]}), connected(path) as raw:
        body = b"\x83\xa2id\x07\xa4verb\xa3add\xa9arguments\x82\xa1a\x01\xa1b\x02"
        raw.sendall(b"JACKFLD\x01" + struct.pack(">I", len(body)) + body)
        frames = raw.makefile("rb")
        with frames:
            assert frames.read(8) == b"JACKFLD\x01"
            assert frames.read(struct.unpack(">I", frames.read(4))[0]) == b"\x83\xa2id\x07\xa2ok\xc3\xa6result\x03"
