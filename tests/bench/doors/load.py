"""Load from outside: wrk over HTTP/1.1, h2load over HTTP/2."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import attrs

_WRK = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
{headers}
"""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@attrs.frozen
class Load:
    """What a load generator saw.

    Attributes:
        rate: answers a second.
        p50: seconds.
        p99: seconds.
        bad: answers that were no 2xx, or did not come.
    """

    rate: float
    p50: float
    p99: float
    bad: int


def missing() -> str:
    """Tell what is missing of this; "" if nothing is."""
    packages = {"wrk": "wrk", "h2load": "nghttp2-client"}
    lacking = [name for name in packages if shutil.which(name) is None]
    fix = " ".join(packages[name] for name in lacking)
    return f"{' and '.join(lacking)} not on this machine: `apt-get install {fix}`" if lacking else ""


def wrk(url: str, body: str, headers: dict[str, str], seconds: float, connections: int = 64) -> Load:
    """Post one body again and again."""
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(_WRK.format(body=body, headers=lines), "utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "30s"]
        done = subprocess.run([*command, "-s", str(script), url], capture_output=True, text=True, check=True)
    said = done.stdout
    bad = sum(int(each) for each in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    if (errors := re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)) is not None:
        bad += sum(map(int, errors.groups()))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise RuntimeError(f"wrk says nothing of its rate: {said}{done.stderr}")
    return Load(float(rate[1]), _time(said, "50%"), _time(said, "99%"), bad)


def h2load(address: str, body: bytes, headers: dict[str, str], seconds: float) -> Load:
    """Make the same unary call of gRPC again and again, over four connections with sixteen calls under way on each.

    Args:
        address: host and port.
        body: of each call: its message, with the length before it.
        headers: beside those of gRPC.
        seconds: how long.
    """
    said = {"content-type": "application/grpc", "te": "trailers", **headers}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.bin"
        file.write_bytes(body)
        command = ["h2load", "-c4", "-m16", "-t1", f"-D{max(1, round(seconds))}", f"-d{file}"]
        command += [f"-H{name}: {value}" for name, value in said.items()]
        command.append(f"http://{address}/jackfield.v1.Functions/Invoke")
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"finished in .*, ([\d.]+) req/s", told)
    bad = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", told)
    mean = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) ", told)
    if rate is None or bad is None or mean is None:
        raise RuntimeError(f"h2load says nothing of its rate: {told}")
    middle = float(mean[1]) * _UNITS[mean[2]]  # it tells the mean alone
    return Load(float(rate[1]), middle, float("nan"), sum(map(int, bad.groups())))


def _time(said: str, what: str) -> float:
    found = re.search(rf"{what}\s+([\d.]+)(us|ms|s|m)", said)
    return float(found[1]) * _UNITS[found[2]] if found is not None else float("nan")
