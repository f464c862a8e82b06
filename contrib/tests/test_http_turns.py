"""Whose request a door begins next when hundreds have come at once."""

import asyncio
import json

import pytest

from jackfield import Host
from jackfield_contrib.http import asgi

CONFIG = """
[[plugin]]
name = "work"
path = "./work.py"

[tenants.flood]
[tenants.gold]
weight = 3.0
[tenants.quiet]
"""

WORK = """
import time
from jackfield import function

@function
async def now() -> int:
    return 1

@function
async def hold(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""


@pytest.fixture
def host(tmp_path):
    """Make one that is to be started on the loop that requests come to, so that their functions run there."""
    (tmp_path / "work.py").write_text(WORK, "utf-8")
    (tmp_path / "jackfield.toml").write_text(CONFIG, "utf-8")
    return Host.from_config(tmp_path / "jackfield.toml", observers=())


@pytest.fixture
def door(host):
    known = {name.encode(): name for name in ("flood", "gold", "quiet")}
    return asgi(host, authenticate=lambda headers: known.get(headers.get(b"authorization", b"")))


async def started(host, visit):
    """Do something while a host runs on this loop."""
    async with host:
        return await visit()


class Visitors:
    """Make requests of an application in the running loop, and note in which order they are answered."""

    def __init__(self, door):
        self.door = door
        self.answered = []

    def come(self, who, number=1, path="/v1/functions/work.now", body=b"", **headers):
        return [asyncio.create_task(self._visit(who, path, body, headers)) for _ in range(number)]

    async def _visit(self, who, path, body, headers):
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "http.response.start":
                self.answered.append((who, message["status"]))

        lines = [(b"authorization", who.encode()), (b"content-length", b"%d" % len(body))]
        lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.door({"type": "http", "method": "POST", "path": path, "headers": lines}, receive, send)

    def place(self, who):
        return next(place for place, (each, _) in enumerate(self.answered) if each == who)


async def rounds(number):
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("who", ["flood", "a stranger"])
def test_who_asks_for_little_waits_for_nobody(host, door, who):
    """A request is among the next, however many of others came before it, with a key or without one."""

    async def visit():
        await asyncio.gather(*Visitors(door).come("quiet"))  # the first call has the function imported
        visitors = Visitors(door)
        many = visitors.come(who, 1000)
        await rounds(3)
        before = len(visitors.answered)
        await asyncio.gather(*many, *visitors.come("quiet"))
        assert before + 64 * 4 < 1000
        assert visitors.place("quiet") - before <= 64 * 4
        assert set(visitors.answered) == {("quiet", 200), (who, 200 if who == "flood" else 401)}

    asyncio.run(started(host, visit))


def test_turns_go_by_weight(host, door, tmp_path):
    """Among tenants that all want more than there is; an apply changes what they weigh."""

    async def visit():
        visitors = Visitors(door)
        await asyncio.gather(*visitors.come("flood", 400), *visitors.come("gold", 400))
        some = [who for who, _ in visitors.answered[40:440]]  # the first had come before there was anything to choose
        return some.count("gold") / some.count("flood")

    async def both():
        before = await visit()
        (tmp_path / "jackfield.toml").write_text(CONFIG.replace("weight = 3.0", "weight = 0.5"), "utf-8")
        await asyncio.to_thread(host.apply, tmp_path / "jackfield.toml")
        return before, await visit()

    assert asyncio.run(started(host, both)) == (pytest.approx(3.0, rel=0.1), pytest.approx(0.5, rel=0.1))


def test_the_wait_for_a_turn_is_part_of_the_time_that_a_call_has(host, door):
    """Its client has waited for as long."""

    async def visit():
        visitors = Visitors(door)
        long = visitors.come("flood", 30, "/v1/functions/work.hold", json.dumps(0.02).encode())
        await asyncio.gather(*long, *visitors.come("flood", x_timeout="0.02"))
        assert [status for _, status in visitors.answered].count(504) == 1

    asyncio.run(started(host, visit))


def test_who_leaves_while_it_waits_holds_up_nobody(host, door):
    """Its place is the next one's."""

    async def visit():
        visitors = Visitors(door)
        many = visitors.come("flood", 300)
        await rounds(2)
        for each in many[50:250]:
            each.cancel()
        await asyncio.gather(*many, return_exceptions=True)
        await asyncio.gather(*visitors.come("flood", 300))
        assert len(visitors.answered) >= 400

    asyncio.run(started(host, visit))


def test_an_application_may_run_on_one_loop_after_another(host, door):
    """What still waited on the first is forgotten."""

    async def leave():
        Visitors(door).come("flood", 300)
        await rounds(2)

    async def visit():
        visitors = Visitors(door)
        await asyncio.gather(*visitors.come("flood", 300))
        assert len(visitors.answered) == 300

    asyncio.run(started(host, leave))
    asyncio.run(started(host, visit))
