"""Behind nginx, the real one, with the configuration that the page shows."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from jackfield import Host, current_call
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http.door import HttpDoor

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "behind-nginx.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="NOT TESTED behind nginx: there is none on this machine"),
]

AROUND = """
daemon off;
{user}
error_log {folder}/error.log;
pid {folder}/pid;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {shown}
}}
"""


def shown_on_the_page():
    """Give the configuration, without its certificate, and with what is shown for below a path."""
    whole, below = re.findall(r"^```nginx\n# [^\n]*\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for line in whole.splitlines() if "ssl_certificate" not in line]
    text = (
        "\n".join(lines)
        .replace("listen 443 ssl;", "listen unix:{front};")
        .replace("/run/jackfield/http.sock", "{back}")
    )
    return text.replace("    location / {", f"{below}\n    location / {{", 1)


@pytest.fixture
def host(tmp_path):
    (tmp_path / "jackfield.toml").write_text('[store]\nurl = "sqlite:kept.db"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as made:
        made.register("add", lambda a, b: a + b)
        yield made


@pytest.fixture
def front(host):
    """Run nginx in front of a door; give a client of it."""
    with tempfile.TemporaryDirectory(prefix="jf-") as made:
        folder = Path(made)
        door = HttpDoor(host, HttpDoorConfig(uds=str(folder / "back")))
        host.run_at_home(door.open(), 20.0)
        shown = shown_on_the_page().replace("{front}", str(folder / "front")).replace("{back}", str(folder / "back"))
        user = "user root root;" if os.geteuid() == 0 else ""  # else its workers are others', who may not look into it
        file = folder / "nginx.conf"
        file.write_text(AROUND.format(folder=folder, shown=shown, user=user))
        command = [NGINX, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                until((folder / "front").exists, process)
                transport = httpx.HTTPTransport(uds=str(folder / "front"))
                with httpx.Client(transport=transport, base_url="http://functions.example.com", timeout=60) as client:
                    yield client
            finally:
                process.terminate()
                process.wait(60)
                host.run_at_home(door.close(0.0), 20.0)


def until(condition, process=None):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        assert process is None or process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)


def test_calls_come_through(front):
    """With their answers, whatever they are."""
    answer = front.post("/v1/functions/add", json={"a": 1, "b": 2})
    assert (answer.status_code, answer.json()) == (200, 3)
    assert front.post("/v1/functions/nope").json()["outcome"] == "not_found"
    assert front.get("/readyz").json() == {"status": "ok"}
    assert front.get("/metrics").status_code == 404


def test_it_works_below_a_path(front):
    """The page, what it refers to, calls, and where an answer points to."""
    assert front.get("/fn/docs").status_code == 200
    assert front.get("/fn/docs/page.js").status_code == 200
    assert front.get("/fn/openapi.json").json()["servers"] == [{"url": "."}]
    assert front.post("/fn/v1/functions/add", json={"a": 1, "b": 2}).json() == 3
    assert front.get("/fn/docs/").headers["location"] == "../docs"
    location = front.post("/fn/v1/submit/add", json={"a": 1, "b": 2}).headers["location"]
    assert location.startswith("/fn/v1/calls/")
    assert front.get(location, headers={"prefer": "wait=10"}).json()["result"] == 3


def test_events_come_while_the_call_runs(front, host):
    """nginx keeps none of them back."""
    go = threading.Event()

    def wait() -> str:
        current_call().progress(1, 2)
        assert go.wait(60)
        return "done"

    host.register("wait", wait)
    with front.stream("POST", "/v1/functions/wait", headers={"accept": "text/event-stream"}) as answer:
        text = ""
        for part in answer.iter_text():
            text += part
            if "progress" in text:
                go.set()
    assert text.endswith('event: result\ndata: "done"\n\n')


def test_a_client_that_goes_away_cancels_its_call(front, host):
    """nginx closes its connection to the door."""
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        import asyncio  # noqa: PLC0415  # of this function alone

        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    host.register("wait", wait)
    with pytest.raises(httpx.ReadTimeout):
        front.post("/v1/functions/wait", timeout=httpx.Timeout(60, read=1.0))
    assert begun.wait(60)
    assert ended.wait(60)


def test_a_body_that_is_too_large_does_not_reach_the_door(front):
    """As many bytes as the door itself would take."""
    assert front.post("/v1/functions/add", content=b" " * (17 << 20)).status_code == 413
    near = json.dumps({"a": 1, "b": 2}).ljust(16_000_000)
    assert front.post("/v1/functions/add", content=near, headers={"content-type": "application/json"}).json() == 3


def test_many_requests_share_the_connections_to_the_door(front):
    """Which nginx keeps: answers do not get mixed up."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda number: front.post("/v1/functions/add", json={"a": number, "b": 1}).json(), range(200)
        )
        assert list(answers) == [number + 1 for number in range(200)]
