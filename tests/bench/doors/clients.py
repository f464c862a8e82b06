"""Clients that call at a steady pace, whatever comes back: what a tenant sees while others flood."""

import asyncio
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import attrs


@attrs.frozen
class Answer:
    """What one call got.

    Attributes:
        status: of HTTP; 0 when the connection was lost.
        seconds: from when it was due to be sent.
    """

    status: int
    seconds: float


class Tenant:
    """Calls for one tenant over connections that are kept.

    Args:
        url: of the server.
        key: the tenant's.
    """

    def __init__(self, url: str, key: str) -> None:
        where = urlsplit(url)
        self._host, self._port, self._key = where.hostname or "", where.port or 80, key
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes, timeout: float = 30.0) -> int:
        """Post a body; give the status."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nX-Timeout: {timeout}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        kept = bool(self._idle)
        try:
            reader, writer = self._idle.pop() if kept else await asyncio.open_connection(self._host, self._port)
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.lower().split(b"\r\n")
            await reader.readexactly(next(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
        except (OSError, asyncio.IncompleteReadError) as error:
            if kept and not getattr(error, "partial", b""):  # it was idle for so long that the server has closed it
                return await self.post(path, body, timeout)
            return 0
        self._idle.append((reader, writer))
        return int(answer[9:12])

    async def pace(self, rate: float, seconds: float, path: str, body: bytes) -> list[Answer]:
        """Call so often a second, at random moments, without waiting for the answers."""
        answers: list[Answer] = []
        draw = random.Random(7)  # noqa: S311  # a load, and no secret

        async def one() -> None:
            since = time.perf_counter()
            answers.append(Answer(await self.post(path, body), time.perf_counter() - since))

        ends = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as calls:
            while time.perf_counter() < ends:
                calls.create_task(one())
                await asyncio.sleep(draw.expovariate(rate))
        return answers

    async def press(self, workers: int, until: Callable[[], bool], path: str, body: bytes) -> list[Answer]:
        """Call with so many at once, each again as soon as it has its answer."""
        answers: list[Answer] = []

        async def one() -> None:
            while not until():
                since = time.perf_counter()
                answers.append(Answer(await self.post(path, body), time.perf_counter() - since))
                if answers[-1].status != 200:
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as calls:
            for _ in range(workers):
                calls.create_task(one())
        return answers

    async def close(self) -> None:
        """Close its connections."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()


def percentile(answers: list[Answer], part: float) -> float:
    """Give the time within which that part of the calls had an answer."""
    times = sorted(each.seconds for each in answers)
    return times[min(len(times) - 1, int(len(times) * part))]
