"""What tenants get while others flood."""

import asyncio
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import attrs
import servers
from clients import Answer, Tenant, percentile
from harness import Effort
from load import Load, wrk
from results import Check, Section, Table

_NAMES = ("vip", "ordinary", "flood", "greedy", "one", "two", "three")
_SHARES = {
    "vip": "weight = 4.0\nseats = 4",
    "ordinary": "",
    "flood": "",
    "greedy": "concurrency = 20",
    "one": "",
    "two": "weight = 2.0",
    "three": "weight = 3.0",
}
_VIP, _ORDINARY = 0.012, 0.037  # seconds that the 99th percentile may be above that of a quiet host
_CLOSE = 0.05  # as far a share may be from what is due
_FLOOD, _PRESSURE = 512, 128  # connections


@attrs.frozen
class _Work:
    """What is called.

    Attributes:
        what: it is.
        path: of the function.
        body: of each call.
        flood: who floods.
    """

    what: str
    path: str
    body: str
    flood: str


_SLEEP = _Work("5 ms in a thread", "/v1/functions/add.work", "0.005", "flood")
_LOOP = _Work("async, on the loop", "/v1/functions/add.later", '{"a": 1, "b": 2}', "flood")
_REFUSED = _Work("5 ms, the flood is refused", "/v1/functions/add.work", "0.005", "greedy")
_BARE = _Work("5 ms, bare uvicorn", "/", "0.005", "flood")


def fairness(effort: Effort) -> Section:
    """A flood of hundreds of calls for each one of the others; then three tenants that all want everything."""
    seconds = 2.0 if effort.quick else 20.0
    rows: list[tuple[str | float, ...]] = []
    checks: list[Check] = []
    with servers.uvicorn("sleeping") as rival:
        rows += _rows(_BARE, ("ordinary",), *_flooded(rival.url, _BARE, ("ordinary",), seconds))
    with tempfile.TemporaryDirectory() as folder, servers.jackfield(Path(folder), tenants=_tenants()) as server:
        for work in (_SLEEP, _LOOP, _REFUSED):
            found = _flooded(server.url, work, ("vip", "ordinary"), seconds)
            rows += _rows(work, ("vip", "ordinary"), *found)
            checks += _late(work, *found[:2])
        for work in (_SLEEP, _LOOP):
            calls, due = _contest(server.url, work, seconds), {"one": 1 / 6, "two": 2 / 6, "three": 3 / 6}
            shares = {name: count / sum(calls.values()) for name, count in calls.items()}
            rows += [
                (work.what, name, f"due {due[name]:.3f}", f"got {share:.3f}", "", "", 0)
                for name, share in shares.items()
            ]
            far = sum(abs(share / due[name] - 1) > _CLOSE for name, share in shares.items())
            checks.append(Check(f"{work.what}: shares that are not within 5 % of what is due", far, len(shares)))
    return Section(
        "Fair shares, saturated",
        f"VIP and ordinary call 20 times a second each; the flood keeps {_FLOOD} connections busy. Then three tenants"
        f" with weights 1, 2, 3 keep {_PRESSURE} each.",
        [],
        checks=checks,
        table=Table(("work", "tenant", "when", "calls", "p50, ms", "p99, ms", "not 200"), rows),
    )


_Steady = dict[str, list[Answer]]


def _flooded(url: str, work: _Work, names: tuple[str, ...], seconds: float) -> tuple[_Steady, _Steady, Load]:
    """Call at a steady pace, first alone and then beside a flood."""
    asyncio.run(_steady(url, work, names, 1.0))
    quiet = asyncio.run(_steady(url, work, names, seconds))
    with _pressing(url, work, {work.flood: _FLOOD}, seconds + 3.0) as loading:
        time.sleep(2.0)
        loud = asyncio.run(_steady(url, work, names, seconds))
        return quiet, loud, loading[work.flood]()


async def _steady(url: str, work: _Work, names: tuple[str, ...], seconds: float) -> _Steady:
    calls = (Tenant(url, name).pace(20.0, seconds, work.path, work.body.encode()) for name in names)
    return dict(zip(names, await asyncio.gather(*calls), strict=True))


def _contest(url: str, work: _Work, seconds: float) -> dict[str, float]:
    """Have tenants press that all want more than there is; give how many calls of each had their turn meanwhile."""
    with _pressing(url, work, dict.fromkeys(("one", "two", "three"), _PRESSURE), seconds + 4.0) as loading:
        time.sleep(2.0)  # until all of them do
        before = _admitted(url)
        time.sleep(seconds)
        after = _admitted(url)
    return {name: after[name] - before[name] for name in loading}


def _admitted(url: str) -> dict[str, float]:
    """Ask the host how many calls of each tenant have had their turn."""
    with urlopen(f"{url}/metrics", timeout=30.0) as answer:  # noqa: S310  # it is http
        said = answer.read().decode()
    found = re.findall(r'^scheduler_admission_admitted_total\{tenant="(\w+)"\} (\S+)$', said, re.MULTILINE)
    return {name: float(number) for name, number in found}


@contextmanager
def _pressing(url: str, work: _Work, whose: dict[str, int], seconds: float) -> Iterator[dict[str, Callable[[], Load]]]:
    """Keep connections busy from processes of their own, which must not be what is slow; give what waits for each."""
    with ThreadPoolExecutor(len(whose)) as beside:
        yield {
            name: beside.submit(
                wrk, f"{url}{work.path}", work.body, {"Authorization": f"Bearer {name}"}, seconds, connections
            ).result
            for name, connections in whose.items()
        }


def _rows(
    work: _Work, names: tuple[str, ...], quiet: _Steady, loud: _Steady, flood: Load
) -> list[tuple[str | float, ...]]:
    rows: list[tuple[str | float, ...]] = []
    for name in names:
        for when, answers in (("quiet", quiet[name]), ("flood", loud[name])):
            times = (_ms(percentile(answers, part)) for part in (0.5, 0.99))
            rows.append((work.what, name, when, len(answers), *times, _bad(answers)))
    rows.append((work.what, "the flood", "flood", f"{flood.rate:.0f}/s", _ms(flood.p50), _ms(flood.p99), flood.bad))
    return rows


def _late(work: _Work, quiet: _Steady, loud: _Steady) -> list[Check]:
    checks = []
    for name, bar in (("vip", _VIP), ("ordinary", _ORDINARY)):
        later = percentile(loud[name], 0.99) - percentile(quiet[name], 0.99)
        checks.append(
            Check(f"{work.what}: p99 of {name} is {later * 1e3:+.1f} ms (+ {bar * 1e3:.0f})", int(later > bar), 1)
        )
    refused = sum(map(_bad, loud.values()))
    checks.append(
        Check(f"{work.what}: calls of those who do not flood that were refused", refused, sum(map(len, loud.values())))
    )
    return checks


def _tenants() -> str:
    return "\n".join(f"[tenants.{name}]\n{servers.keys(name)}\n{_SHARES[name]}" for name in _NAMES)


def _bad(answers: list[Answer]) -> int:
    return sum(each.status != 200 for each in answers)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)
