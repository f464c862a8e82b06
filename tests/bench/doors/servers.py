"""The servers that are benched, each a process of its own on a port of its own."""

import hashlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent
KEY = "jfk_bench_key"
_UP = 60.0  # seconds that a server may take to listen


@attrs.frozen
class Server:
    """A server that listens.

    Attributes:
        url: of HTTP.
        process: that it is.
        grpc: host and port of gRPC, "" without.
    """

    url: str
    process: subprocess.Popen[str]
    grpc: str = ""


@contextmanager
def uvicorn(application: str, *options: str) -> Iterator[Server]:
    """Serve one of the rivals by uvicorn as its users do: uvloop, httptools, no access log."""
    command = [sys.executable, "-m", "uvicorn", f"rivals:{application}", "--app-dir", str(HERE), "--port", "0"]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--lifespan", "off", *options]
    with tempfile.TemporaryDirectory() as folder, _running(command, Path(folder)) as (process, log):
        yield Server(_seen(process, log, r"running on (http://\S+)")[1], process)


@contextmanager
def jackfield(folder: Path, *, more: str = "", tenants: str | None = None) -> Iterator[Server]:
    """Serve the plugin by `pluginctl serve` with its doors, a tenant with a key, and metrics; 2,800 functions beside.

    Args:
        folder: where the configuration goes.
        more: of the configuration.
        tenants: what it says of them; by default one with a key.
    """
    (folder / "plugin.py").write_text((HERE / "plugin.py").read_text("utf-8"), "utf-8")
    many = "from jackfield import function\n" + "\n".join(
        f"@function\nasync def f{number}(a: int, b: int) -> int:\n    return a + b\n" for number in range(2_800)
    )
    (folder / "many.py").write_text(many, "utf-8")
    if tenants is None:
        tenants = f'[tenants.bench]\n{keys(KEY)}\npermissions = ["*"]\n'
    text = f"""
[[plugin]]
name = "add"
path = "./plugin.py"
[[plugin]]
name = "many"
path = "./many.py"
[doors.http]
port = 0
[doors.grpc]
port = 0
[observability.logs]
successes = false
{tenants}
{more}
"""
    file = folder / "jackfield.toml"
    file.write_text(text, "utf-8")
    command = [sys.executable, "-m", "jackfield", "serve", str(file), "--control", str(folder / "c.sock")]
    with _running(command, folder) as (process, log):
        found = _seen(process, log, r"http (http://[^\s,]+)")
        grpc = re.search(r"grpc grpc://([^\s,]+)", found.string)
        yield Server(found[1], process, grpc[1] if grpc else "")


def keys(*said: str) -> str:
    """Write the keys of a tenant, as its table has them."""
    digests = ", ".join(f'"sha256:{hashlib.sha256(key.encode()).hexdigest()}"' for key in said)
    return f"keys = [{digests}]"


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    path = folder / "server.log"
    with path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, text=True)
        try:
            yield process, path
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _seen(process: subprocess.Popen[str], log: Path, pattern: str) -> re.Match[str]:
    """Wait for what a server says when it listens."""
    ends = time.monotonic() + _UP
    while time.monotonic() < ends and process.poll() is None:
        if (found := re.search(pattern, log.read_text("utf-8"))) is not None:
            return found
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not listen: {log.read_text('utf-8')[-2000:]}")
