"""How many calls a second pass a door, against the same work by hand."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path

import servers
import sessions
from harness import Effort, Series
from load import Load, h2load, wrk
from results import Row, Section, Table

_BODY = '{"a":1,"b":2}'
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
_METADATA = {"authorization": f"Bearer {servers.KEY}", "grpc-timeout": "5S"}
_APART = """
from jackfield import function

@function
def add(a: int, b: int) -> int:
    return a + b
"""
_WORKERS = """
[[plugin]]
name = "apart"
path = "./apart.py"
executor = "worker"
[plugin.worker]
min = 2
max = 2
"""
_CALL = {"Authorization": f"Bearer {servers.KEY}", "X-Timeout": "5.0", "traceparent": _TRACE}


def http(effort: Effort) -> Section:
    """One call a request: with a key, a deadline, metrics, and a trace that is not sampled."""
    with _served() as (server, stack):
        bare = stack.enter_context(servers.uvicorn("bare"))
        pool = stack.enter_context(servers.uvicorn("bare_pool"))
        fastapi = stack.enter_context(servers.uvicorn("fastapi", "--factory"))
        functions = f"{server.url}/v1/functions/add"
        found = _in_turns(
            effort,
            {
                "an async function": lambda seconds: wrk(f"{functions}.later", _BODY, _CALL, seconds),
                "a sync function, inline": lambda seconds: wrk(f"{functions}.inline", _BODY, _CALL, seconds),
                "a sync function, in the pool": lambda seconds: wrk(f"{functions}.pooled", _BODY, _CALL, seconds),
                "bare uvicorn": lambda seconds: wrk(bare.url, _BODY, {}, seconds),
                "bare uvicorn with run_in_executor": lambda seconds: wrk(pool.url, _BODY, {}, seconds),
                "FastAPI": lambda seconds: wrk(f"{fastapi.url}/add", _BODY, {}, seconds),
            },
        )
    pairs = [
        ("an async function", "bare uvicorn", 2.0),
        ("a sync function, inline", "bare uvicorn", 2.0),
        ("a sync function, in the pool", "bare uvicorn with run_in_executor", 1 / 0.7),
        ("an async function", "FastAPI", 1.0),
    ]
    rows = [Row(what, rival, _times(found[what]), _times(found[rival]), bar) for what, rival, bar in pairs]
    return Section(
        "HTTP, one call a request",
        "wrk with 64 connections. jackfield's calls have a key, a deadline, metrics, 2,800 other functions, and a trace"
        " that is not sampled; the rivals have none of that. uvloop and httptools everywhere.",
        rows,
        table=_table(found),
    )


def workers(effort: Effort) -> Section:
    """One call a request, whose function is in sandboxed processes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "apart.py").write_text(_APART, "utf-8")
        with servers.jackfield(Path(folder), more=_WORKERS) as server:
            functions = f"{server.url}/v1/functions"
            found = _in_turns(
                effort,
                {
                    "in a worker": lambda seconds: wrk(f"{functions}/apart.add", _BODY, _CALL, seconds),
                    "in the pool": lambda seconds: wrk(f"{functions}/add.pooled", _BODY, _CALL, seconds),
                    "in a worker, by gRPC": lambda seconds: sessions.session(server.grpc, "apart.add", seconds),
                },
            )
    return Section(
        "Through workers", "A sync function in two processes; wrk with 64 connections.", [], table=_table(found)
    )


def batch(effort: Effort) -> Section:
    """A hundred calls a request."""
    one = '{"function":"add.later","payload":{"a":1,"b":2}}'
    body = f"[{','.join([one] * 100)}]"
    with _served() as (server, _):
        url = f"{server.url}/v1/calls:batch"
        found = _in_turns(effort, {"a batch of 100": lambda seconds: wrk(url, body, _CALL, seconds, 16)})
    calls = [Load(each.rate * 100, each.p50, each.p99, each.bad) for each in found["a batch of 100"]]
    return Section("HTTP, 100 calls a request", "wrk with 16 connections.", [], table=_table({"its calls": calls}))


def grpc(effort: Effort) -> Section:
    """One call a message, and sessions that carry many in one."""
    with _served() as (server, _):
        found = _in_turns(
            effort,
            {
                "Invoke": lambda seconds: sessions.unary(server.grpc, seconds),
                "Invoke, by h2load": lambda seconds: h2load(server.grpc, sessions.frame(), _METADATA, seconds),
                "Session, an async function": lambda seconds: sessions.session(server.grpc, "add.later", seconds),
                "Session, 2,800 functions": lambda seconds: sessions.session(server.grpc, "many", seconds),
                "the client, an async function": lambda seconds: sessions.client(server.grpc, "add.later", seconds),
                "the client, 2,800 functions": lambda seconds: sessions.client(server.grpc, "many", seconds),
            },
        )
    bar = Series(tuple(1 / 17_000 for _ in found["Invoke"]))
    rows = [
        Row(what, "17,000 a second", _times(found[what]), bar, 1.0) for what in found if not what.startswith("Invoke")
    ]
    about = "128 calls under way at once. `Session` is a stream by hand, `the client` is `AsyncClient`, a task a call."
    return Section("gRPC, from Python", about, rows, table=_table(found))


def admission(effort: Effort) -> Section:
    """What fair shares cost a call at the door while there is room for all."""
    alike = f"[tenants.bench]\n{servers.keys(servers.KEY)}\n"
    shared = f"{alike}weight = 2.0\nconcurrency = 1000\nrate = 1000000.0\n"
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                servers.jackfield(Path(stack.enter_context(tempfile.TemporaryDirectory())), tenants=said)
            )
            for said in (shared, alike)
        )
        found = _in_turns(
            effort,
            {
                what: lambda seconds, server=server: wrk(
                    f"{server.url}/v1/functions/add.later", _BODY, _CALL, seconds, 8
                )
                for what, server in (("with shares", first), ("without", second))
            },
        )
    row = Row("a call with shares", "one without", _times(found["with shares"]), _times(found["without"]), 1.05)
    return Section("Admission with room for all", "wrk with 8 connections.", [row], table=_table(found))


@contextmanager
def _served() -> Iterator[tuple[servers.Server, ExitStack]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield stack.enter_context(servers.jackfield(folder)), stack


def _in_turns(effort: Effort, candidates: dict[str, Callable[[float], Load]]) -> dict[str, list[Load]]:
    rounds, seconds = (1, 1.0) if effort.quick else (5, 4.0)
    for candidate in candidates.values():
        candidate(1.0 if effort.quick else 2.0)  # warm
    found: dict[str, list[Load]] = {what: [] for what in candidates}
    for turn in range(rounds):
        for what in list(candidates) if turn % 2 == 0 else list(candidates)[::-1]:
            found[what].append(candidates[what](seconds))
    return found


def _times(loads: list[Load]) -> Series:
    return Series(tuple(1.0 / each.rate for each in loads))


def _table(found: dict[str, list[Load]]) -> Table:
    rows = []
    for what, loads in found.items():
        middle = sorted(loads, key=lambda each: each.rate)[len(loads) // 2]
        bad = sum(each.bad for each in loads)
        p99 = "" if isnan(middle.p99) else round(middle.p99 * 1e3, 2)
        rows.append((what, round(middle.rate), round(middle.p50 * 1e3, 2), p99, bad))
    return Table(("what", "calls a second", "p50, ms", "p99, ms", "not 2xx"), rows)
