"""Through the door: another process serves over HTTP, and two tenants share it, as their keys and weights say."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit
from urllib.request import urlopen

from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table
from shown import console, pluginctl

from jackfield_contrib.client import AsyncClient, Client

QUOTE = """
from jackfield import Caller, function, inject

@function
def price(origin: str, destination: str, *, caller: Caller = inject()) -> int:
    miles = caller.call("flights.distance", {"origin": origin, "destination": destination})
    return round(40 + miles * 0.11)
"""
CONFIGURATION = """
discover = true

[[plugin]]
name = "quote"
path = "./quote.py"
{executor}
[doors.http]
port = 0

[tenants.gold]
weight = {weight}
keys = ["{gold}"]

[tenants.free]
permissions = ["quote.*", "flights.distance"]
keys = ["{free}"]
"""
WORKER = """executor = "worker"

[plugin.worker]
allow = ["calls:flights.distance"]
"""
WEIGHTS = {"gold": 3.0, "free": 1.0}  # that of a tenant of which the file says nothing is 1
FLIGHT = {"origin": "JFK", "destination": "LAX"}
BURST, AT_ONCE = 1_600, 80


def serve(folder: Path, *, sandboxed: bool) -> None:
    """Serve a host over HTTP, call it as two tenants and as a stranger, and show what is seen of it."""
    keys = {tenant: json.loads(_pluginctl("key", tenant, "--json")) for tenant in WEIGHTS}
    digests = {tenant: made["digest"] for tenant, made in keys.items()}
    executor = WORKER if sandboxed else ""
    text = CONFIGURATION.format(executor=executor, weight=WEIGHTS["gold"], **digests)
    console.print(Syntax(text.strip(), "toml", background_color="default"))
    (folder / "quote.py").write_text(QUOTE, "utf-8")
    (folder / "door.toml").write_text(text, "utf-8")
    socket_path = folder / "door.sock"
    with _serving(folder / "door.toml", socket_path) as url:
        gold, free = (keys[tenant]["key"] for tenant in WEIGHTS)
        console.print(f"\nanother process serves at {url}; so a program calls it:")
        with Client(url, key=gold, timeout=10.0) as client:
            console.print(f"  gold: {client.call('quote.price', FLIGHT)} dollars from New York to Los Angeles")
        console.print("and so does whatever speaks HTTP:")
        for mark, said in zip("→←", _post(url, free, "quote.price"), strict=True):
            for line in said.splitlines():
                console.print(f"  {mark} {line}".rstrip(), markup=False)
        console.print("who may not, and who is nobody:")
        _refused("free", _post(url, free, "flights.record")[1])
        _refused("a stranger", _post(url, "jf_of_a_stranger", "quote.price")[1])
        asyncio.run(_burst(url, {"gold": gold, "free": free}))
        console.print("\none of the calls that waited, from the door down: [cyan]pluginctl trace --slow[/]")
        pluginctl("trace", "--slow", "--tenant", "free", "--limit", "1", "--control", str(socket_path))
        console.print(f"\nand what is measured of them: [cyan]curl {url}/metrics[/]")
        _metrics(url)


@contextmanager
def _serving(file: Path, control: Path) -> Iterator[str]:
    """Run `pluginctl serve`; give the address of its door, and end it in order."""
    command = [sys.executable, "-m", "jackfield", "serve", str(file), "--control", str(control)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:  # noqa: S603  # our own command line
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if line.startswith("serving "):
                    break
            else:
                raise SystemExit(f"nothing is served: {''.join(said)}")
            yield json.loads(_pluginctl("status", "--json", "--control", str(control)))["doors"]["http"]
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
    if process.returncode:
        raise SystemExit(f"the host ended with {process.returncode}: {rest}")


def _pluginctl(*arguments: str) -> str:
    """Run the command line for what it prints."""
    command = [sys.executable, "-m", "jackfield", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout  # noqa: S603  # our own command line


def _post(url: str, key: str, function: str) -> tuple[str, str]:
    """Send a request as it is written; give it, with no more of the key than its beginning, and its answer."""
    at, body = urlsplit(url), json.dumps(FLIGHT)
    head = f"POST /v1/functions/{function} HTTP/1.1\nHost: {at.netloc}\nAuthorization: Bearer {key}\n"
    head += f"Content-Length: {len(body)}\nX-Timeout: 5\nConnection: close\n\n"
    with socket.create_connection((at.hostname, at.port), 10.0) as connection:
        connection.sendall((head.replace("\n", "\r\n") + body).encode("ascii"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return head.replace(key, f"{key[:9]}…") + body, answer.decode("utf-8")


def _refused(who: str, answer: str) -> None:
    """Show how a request was refused: the status, and what the problem document says of it."""
    head, _, body = answer.partition("\r\n\r\n")
    status = head.split("\r\n", 1)[0].partition(" ")[2]
    console.print(f"  {who}: [red]{status}[/]: {escape(json.loads(body)['detail'])}")


async def _burst(url: str, keys: dict[str, str]) -> None:
    """Have both tenants want all of the host, and count whose calls it makes."""
    made, began = Counter[str](), perf_counter()

    async def press(tenant: str, client: AsyncClient) -> None:
        while made.total() < BURST:
            await client.call("quote.price", FLIGHT)
            if made.total() < BURST:  # then those that wait are still done, but it is no contest any more
                made[tenant] += 1

    clients = {tenant: AsyncClient(url, key=key, timeout=30.0) for tenant, key in keys.items()}
    try:
        await asyncio.gather(*(press(*each) for each in clients.items() for _ in range(AT_ONCE)))
    finally:
        for client in clients.values():
            await client.aclose()
    console.print(f"both want all of it, with {AT_ONCE} calls at once each, {perf_counter() - began:.1f} s long:")
    table = Table("tenant", "weight", "calls", "share", "due", box=None)
    for tenant, weight in WEIGHTS.items():
        share, due = made[tenant] / made.total(), weight / sum(WEIGHTS.values())
        table.add_row(tenant, f"{weight:g}", f"{made[tenant]:,}", f"{share:.0%}", f"{due:.0%}")
    console.print(table)


def _metrics(url: str) -> None:
    """Show what a scrape of the door says of the tenants."""
    with urlopen(f"{url}/metrics", timeout=10.0) as answer:  # noqa: S310  # the door that we have opened
        lines = answer.read().decode("utf-8").splitlines()
    wanted = (
        'jackfield_calls_total{function="quote.price"',
        "scheduler_admission_admitted_total",
        "scheduler_admission_seconds_total",
    )
    for line in lines:
        if line.startswith(wanted) and not line.endswith(" 0.0"):
            console.print(f"  {line}", markup=False)
