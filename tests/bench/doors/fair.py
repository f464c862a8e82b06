"""What tenants get while others flood, and what a host loses in five rough minutes."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import servers
from clients import Answer, Tenant, percentile
from harness import Effort
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
        quiet = asyncio.run(_quiet(server.url, seconds))
        loud = asyncio.run(_flooded(server.url, seconds))
        shares = asyncio.run(_contest(server.url, seconds))
    rows: list[tuple[str | float, ...]] = []
    for name in ("vip", "ordinary"):
        for what, answers in (("quiet", quiet[name]), ("flood", loud[name])):
            rows.append(
                (
                    f"{name}, {what}",
                    len(answers),
                    *(_ms(percentile(answers, part)) for part in (0.5, 0.99)),
                    _bad(answers),
                )
            )
    rows.append(
        (
            "flood",
            len(loud["flood"]),
            *(_ms(percentile(loud["flood"], part)) for part in (0.5, 0.99)),
            _bad(loud["flood"]),
        )
    )
    due, whole = {"one": 1 / 6, "two": 2 / 6, "three": 3 / 6}, sum(shares.values())
    rows += [
        (f"{name}, due {due[name]:.3f}", count, f"share {count / whole:.3f}", "", 0) for name, count in shares.items()
    ]
    later = {name: percentile(loud[name], 0.99) - percentile(quiet[name], 0.99) for name in ("vip", "ordinary")}
    checks = [
        Check(
            f"VIP: p99 is {later['vip'] * 1e3:+.1f} ms (± 12)", int(abs(later["vip"]) > _VIP and later["vip"] > 0), 1
        ),
        Check(f"ordinary: p99 is {later['ordinary'] * 1e3:+.1f} ms (+ 37)", int(later["ordinary"] > _ORDINARY), 1),
        Check(
            "calls of those who do not flood that were refused",
            _bad(loud["vip"]) + _bad(loud["ordinary"]),
            len(loud["vip"]),
        ),
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


async def _quiet(url: str, seconds: float) -> dict[str, list[Answer]]:
    return await _together({name: Tenant(url, name).pace(20.0, seconds, _WORK, _BODY) for name in ("vip", "ordinary")})


async def _flooded(url: str, seconds: float) -> dict[str, list[Answer]]:
    ends = time.perf_counter() + seconds + 1.0
    flood = Tenant(url, "flood").press(512, lambda: time.perf_counter() > ends, _WORK, _BODY)
    task = asyncio.create_task(flood)
    await asyncio.sleep(1.0)  # the flood is there
    found = await _together({name: Tenant(url, name).pace(20.0, seconds, _WORK, _BODY) for name in ("vip", "ordinary")})
    return {**found, "flood": await task}


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
