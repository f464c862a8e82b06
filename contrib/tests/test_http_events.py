"""A client that watches its call: events of how far it has come, and at last of how it has ended."""

import asyncio
import json
import threading

import httpx
import pytest

from jackfield import Caller, Flow, Host, Rejected, ResourceExhausted, current_call, function, inject
from jackfield.config import HttpDoorConfig
from jackfield.testing import no_leaks
from jackfield_contrib.http import Bounds, asgi
from jackfield_contrib.http.door import HttpDoor
from jackfield_contrib.http.problems import of_error

WATCHES = {"accept": "text/event-stream"}


def work(count: int) -> int:
    for number in range(count):
        current_call().progress(number + 1, count, f"item {number}\nof {count}")
    return count


async def awork(count: int) -> int:
    return work(count)


@function
async def outer(caller: Caller = inject()) -> int:
    current_call().progress(0)
    return await caller.acall("work", 3)


def refuse() -> None:
    raise Rejected("no", code="never")


def formless() -> object:
    return object()


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        for each in (work, awork, outer, refuse, formless):
            made.register(each.__name__, each)
        yield made


def events_of(text):
    """Read events as a browser does."""
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            kind, data = lines
            yield kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture
def watch(host):
    """Ask for a call, and give its response and all events."""

    def request(name, payload=None, **headers):
        async def once():
            transport = httpx.ASGITransport(asgi(host))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                body = None if payload is None else json.dumps(payload)
                return await client.post(f"/v1/functions/{name}", content=body, headers={**WATCHES, **headers})

        answer = asyncio.run(once())
        return answer, list(events_of(answer.text))

    return request


@pytest.mark.parametrize("name", ["work", "awork"])
def test_progress_and_then_the_result(watch, name):
    """The last that was said, and what came of it."""
    answer, events = watch(name, 1_000)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    *before, last, end = events
    assert last == ("progress", {"function": name, "done": 1_000, "total": 1_000, "text": "item 999\nof 1000"})
    assert end == ("result", 1_000)
    assert len(before) < 500


def test_nested_calls_tell_under_their_own_names(watch):
    """As whoever waits for the outer one waits for them."""
    _, events = watch("outer")
    told = [document["function"] for kind, document in events if kind == "progress"]
    assert (set(told), events[-1]) == ({"outer", "work"}, ("result", 3))


def test_a_flow_tells_of_its_steps(watch, host):
    """The last of each."""
    host.add_flow(Flow("all", timeout=60.0).step("first", "work", count=1).step("then", "work", count="$first"))
    _, events = watch("all", {})
    steps = {document["step"]: document for kind, document in events if kind == "step"}
    assert {name: step["state"] for name, step in steps.items()} == {"first": "ok", "then": "ok"}
    assert steps["then"]["flow"] == "all"
    assert events[-1][0] == "result"


@pytest.mark.parametrize(
    ("name", "payload", "headers", "problem"),
    [
        ("refuse", None, {}, {"status": 422, "outcome": "rejected", "code": "never"}),
        ("nope", None, {}, {"status": 404, "outcome": "not_found"}),
        ("work", "x", {}, {"status": 400, "outcome": "invalid_payload"}),
        ("formless", None, {}, {"status": 500, "outcome": "crashed"}),
    ],
)
def test_how_a_call_ends_otherwise_is_the_last_event(watch, name, payload, headers, problem):
    """With what a response without events would have."""
    answer, events = watch(name, payload, **headers)
    assert answer.status_code == 200
    assert [kind for kind, _ in events] == ["problem"]
    assert problem.items() <= events[0][1].items()


def test_a_problem_says_itself_when_to_come_again():
    """Where there are no headers to say it."""
    problem = of_error(ResourceExhausted("busy", "its queue is full", 1.2))
    assert (problem.document["retry_after"], problem.headers["retry-after"]) == (1.2, "2")


def test_what_never_became_a_call_is_no_stream(watch):
    """It is refused as ever."""
    answer, _ = watch("work", 1, **{"x-timeout": "soon"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


# --- As a server calls it ---------------------------------------------------------------------------------------------


def visited(host, name, receive, send, **bounds):
    """Make one request of the application, with a client of our own."""
    headers = [(b"accept", b"text/event-stream")]
    scope = {"type": "http", "method": "POST", "path": f"/v1/functions/{name}", "headers": headers}
    return asgi(host, bounds=Bounds(**bounds))(scope, receive, send)


@pytest.fixture
def waiting(host):
    """Register a function that waits until it is cancelled; give when it has begun, and when it has ended."""
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        current_call().progress(1)
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    host.register("wait", wait)
    return begun, ended


async def empty():
    return {"type": "http.request", "body": b"", "more_body": False}


def test_each_report_is_told_while_the_function_goes_on(host):
    """The function goes on when its client has read the one before: each comes by itself, however many there are."""
    read = threading.Semaphore(0)

    def paced() -> str:
        for number in range(5):
            current_call().progress(number, 5)
            assert read.acquire(timeout=30)
        return "done"

    host.register("paced", paced)
    told = []

    async def send(message):
        for kind, document in events_of(message.get("body", b"").decode()):
            told.append(document["done"] if kind == "progress" else document)
            read.release()

    messages = [empty()]

    async def receive():
        return await (messages.pop() if messages else asyncio.Event().wait())

    asyncio.run(asyncio.wait_for(visited(host, "paced", receive, send), 60))
    assert told == [0, 1, 2, 3, 4, "done"]


def test_silence_is_broken(host, waiting):
    """By comments, which clients leave out."""
    sent = []
    beats = asyncio.Event()

    async def send(message):
        sent.append(message.get("body", b""))
        told = next((at for at, body in enumerate(sent) if b"event: progress" in body), len(sent))
        if sent[told:].count(b":\n\n") == 3:
            beats.set()

    messages = [empty()]

    async def receive():
        if messages:
            return await messages.pop()
        await beats.wait()
        return {"type": "http.disconnect"}

    asyncio.run(visited(host, "wait", receive, send, heartbeat=0.01))
    begun, ended = waiting
    assert begun.wait(20)
    assert ended.wait(20)


def test_a_client_that_goes_away_cancels_its_call(host, waiting):
    """As without events."""
    begun, ended = waiting
    messages = [empty()]

    async def receive():
        if messages:
            return await messages.pop()
        while not begun.is_set():  # noqa: ASYNC110  # an event of another loop
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(_message):
        pass

    asyncio.run(visited(host, "wait", receive, send))
    assert ended.wait(20)


def test_a_client_that_never_reads_is_given_up(host):
    """Its call is cancelled, and what was said meanwhile is not kept."""
    ended = threading.Event()

    async def talk() -> None:
        try:
            while True:
                current_call().progress(1, 2, "x" * 1_000)
                await asyncio.sleep(0)
        finally:
            ended.set()

    host.register("talk", talk)
    sent = []

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    messages = [empty()]

    async def receive():
        if messages:
            return await messages.pop()
        return await asyncio.Event().wait()

    asyncio.run(visited(host, "talk", receive, send, patience=0.05))
    assert ended.wait(20)
    assert len(sent) == 2


def test_events_come_through_a_server_while_the_call_runs(host):
    """And not when it has ended."""
    go = threading.Event()

    def wait() -> str:
        current_call().progress(1, 2)
        assert go.wait(20)
        return "done"

    host.register("wait", wait)
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    try:
        with httpx.stream("POST", f"{door.address}/v1/functions/wait", headers=WATCHES, timeout=30) as answer:
            text = ""
            for part in answer.iter_text():
                text += part
                if "progress" in text:
                    go.set()
        assert list(events_of(text)) == [
            ("progress", {"function": "wait", "done": 1, "total": 2, "text": ""}),
            ("result", "done"),
        ]
    finally:
        host.run_at_home(door.close(0.0), 20.0)
