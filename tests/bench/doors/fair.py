"""What tenants get while others flood."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import servers
from clients import Answer, Tenant, percentile
from harness import Effort
from load import wrk
from results import Check, Section, Table

_WORK = "/v1/functions/add.work"
_BODY = b"0.005"
_NAMES = ("vip", "ordinary", "flood", "one", "two", "three")
_SHARES = {
    "vip": "weight = 4.0\nseats = 4",
    "ordinary": "",
    "flood": "",
    "one": "",
    "two": "weight = 2.0",
    "three": "weight = 3.0",
}
_VIP, _ORDINARY = 0.012, 0.037  # seconds that the 99th percentile may be above that of a quiet host
_CLOSE = 0.05  # as far a share may be from what is due
_PRESSURE = 128


def fairness(effort: Effort) -> Section:
    """A flood of a thousand calls for each one of the others; then three tenants that all want everything."""
    seconds = 2.0 if effort.quick else 20.0
    with tempfile.TemporaryDirectory() as folder, servers.jackfield(Path(folder), tenants=_tenants()) as server:
        quiet = asyncio.run(_steady(server.url, seconds))
        with ThreadPoolExecutor(1) as beside:  # the flood has a process of its own: it must not be what is slow
            key = {"Authorization": "Bearer flood"}
            loading = beside.submit(wrk, f"{server.url}{_WORK}", _BODY.decode(), key, seconds + 3.0, 512)
            time.sleep(2.0)
            loud = asyncio.run(_steady(server.url, seconds))
            flood = loading.result()
        shares = asyncio.run(_contest(server.url, seconds))
    rows: list[tuple[str | float, ...]] = []
    for name in ("vip", "ordinary"):
        for what, answers in (("quiet", quiet[name]), ("flood", loud[name])):
            times = (_ms(percentile(answers, part)) for part in (0.5, 0.99))
            rows.append((f"{name}, {what}", len(answers), *times, _bad(answers)))
    rows.append(("flood", round(flood.rate * (seconds + 3.0)), _ms(flood.p50), _ms(flood.p99), flood.bad))
    due, whole = {"one": 1 / 6, "two": 2 / 6, "three": 3 / 6}, sum(shares.values())
    rows += [
        (f"{name}, due {due[name]:.3f}", count, f"share {count / whole:.3f}", "", 0) for name, count in shares.items()
    ]
    later = {name: percentile(loud[name], 0.99) - percentile(quiet[name], 0.99) for name in ("vip", "ordinary")}
    checks = [
        Check(f"VIP: p99 is {later['vip'] * 1e3:+.1f} ms (+ 12)", int(later["vip"] > _VIP), 1),
        Check(f"ordinary: p99 is {later['ordinary'] * 1e3:+.1f} ms (+ 37)", int(later["ordinary"] > _ORDINARY), 1),
        Check("calls of those who do not flood that were refused", sum(map(_bad, loud.values())), len(loud["vip"])),
        Check(
            "shares that are not within 5 % of what is due",
            sum(abs(count / whole / due[name] - 1) > _CLOSE for name, count in shares.items()),
            len(shares),
        ),
    ]
    return Section(
        "Fair shares, saturated",
        "Calls that take 5 ms. VIP and ordinary call 20 times a second each; the flood keeps 512 connections busy. Then"
        f" three tenants with weights 1, 2, 3 and {_PRESSURE} calls at once each.",
        [],
        checks=checks,
        table=Table(("tenant", "calls", "p50, ms", "p99, ms", "not 200"), rows),
    )


def _tenants() -> str:
    return "\n".join(f"[tenants.{name}]\n{servers.keys(name)}\n{_SHARES[name]}" for name in _NAMES)


async def _steady(url: str, seconds: float) -> dict[str, list[Answer]]:
    return await _together({name: Tenant(url, name).pace(20.0, seconds, _WORK, _BODY) for name in ("vip", "ordinary")})


async def _contest(url: str, seconds: float) -> dict[str, int]:
    ends = time.perf_counter() + seconds
    found = await _together(
        {
            name: Tenant(url, name).press(_PRESSURE, lambda: time.perf_counter() > ends, _WORK, _BODY)
            for name in ("one", "two", "three")
        }
    )
    return {name: sum(each.status == 200 for each in answers) for name, answers in found.items()}


async def _together(calls: dict[str, Awaitable[Any]]) -> dict[str, Any]:
    return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))


def _bad(answers: list[Answer]) -> int:
    return sum(each.status != 200 for each in answers)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)
