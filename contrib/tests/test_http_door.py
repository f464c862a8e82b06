"""The door: a real server on a real socket, as `pluginctl serve` opens it and as an embedder may."""

import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from jackfield import Host
from jackfield.config import HttpDoorConfig
from jackfield.errors import Unavailable
from jackfield.testing import no_leaks
from jackfield_contrib.http.door import HttpDoor

PLUGINCTL = [sys.executable, "-m", "jackfield"]
PLUGIN = """
import asyncio
from jackfield import function

@function
async def wait(seconds: float) -> str:
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return "done"
"""


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def host():
    with no_leaks(), Host(observers=()) as made:
        made.register("math.add", add)
        yield made


@pytest.fixture
def opened(host):
    """Open a door with some settings."""
    doors = []

    def open_door(**settings):
        door = HttpDoor(host, HttpDoorConfig(**{"port": 0, **settings}))
        host.run_at_home(door.open(), 20.0)
        doors.append(door)
        return door

    yield open_door
    for door in doors:
        host.run_at_home(door.close(0.0), 20.0)


def test_it_answers_where_it_says(opened):
    """On any free port."""
    door = opened()
    answer = httpx.post(f"{door.address}/v1/functions/math.add", json={"a": 1, "b": 2})
    assert (answer.status_code, answer.json()) == (200, 3)
    assert "server" not in answer.headers


def test_it_listens_on_a_unix_socket(opened, socket_path):
    """Which is gone when it has closed, and replaced when a dead process has left it."""
    path = socket_path
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    try:
        door = opened(uds=str(path))
        assert door.address == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.post("http://door/v1/functions/math.add", json={"a": 1, "b": 2}).json() == 3
        with pytest.raises(Unavailable, match="cannot listen on"):
            opened(uds=str(path))
    finally:
        path.unlink(missing_ok=True)


def test_a_port_that_is_taken_is_named(opened):
    """With what would help."""
    port = int(opened().address.rpartition(":")[2])
    with pytest.raises(
        Unavailable, match=r"^door http: cannot listen on 127.0.0.1:\d+: Address already in use: choose"
    ):
        opened(port=port)


def test_an_address_of_another_machine_is_told_as_that(tmp_path):
    """Another port would not help."""
    (tmp_path / "jackfield.toml").write_text("[tenants.t]\nkeys = []\n")
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        for name in ("192.0.2.1", "host.invalid"):
            with pytest.raises(Unavailable, match="choose another host"):
                host.run_at_home(HttpDoor(host, HttpDoorConfig(host=name, port=0)).open(), 60.0)


def test_closing_lets_what_is_under_way_end(host):
    """And new clients find nobody."""
    begun, go = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        assert go.wait(20)
        return "done"

    host.register("work", work)
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    answers = []
    client = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{door.address}/v1/functions/work", timeout=30))
    )
    client.start()
    assert begun.wait(20)
    closing = threading.Thread(target=lambda: host.run_at_home(door.close(20.0), 30.0))
    closing.start()
    go.set()
    client.join(30)
    closing.join(30)
    assert [answer.json() for answer in answers] == ["done"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(door.address)


def serving(folder, text, control):
    """Run `pluginctl serve`, and give the process and where its door is."""
    (folder / "waits.py").write_text(PLUGIN)
    (folder / "jackfield.toml").write_text(text)
    command = [*PLUGINCTL, "serve", "jackfield.toml", "--control", str(control)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "serving" in line:
            return process, line
    raise AssertionError(process.wait(20))


@pytest.mark.slow
def test_serve_opens_it_and_ends_when_its_calls_have(tmp_path, socket_path):
    """It shows itself in the first line, has the probes, and lets a call end after SIGTERM."""
    text = '[[plugin]]\nname = "waits"\npath = "./waits.py"\n[doors.http]\nport = 0\n'
    process, line = serving(tmp_path, text, socket_path)
    try:
        address = line.split("http http://")[1].split()[0].rstrip(',"}')
        url = f"http://{address}"
        assert f"metrics {url}/metrics" in line
        assert httpx.get(f"{url}/readyz", timeout=30).json() == {"status": "ok"}
        answers = []
        client = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/functions/waits.wait", json=1.0, timeout=60))
        )
        client.start()
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        client.join(60)
        assert [answer.json() for answer in answers] == ["done"]
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_serve_takes_webhooks_and_sends_results(tmp_path, socket_path, receiver, monkeypatch):
    """What comes in signed is submitted, what it comes to goes out signed; `pluginctl check` finds nothing wrong."""
    there, secret = receiver(), f"whsec_{b64encode(b'a secret of the test').decode()}"
    monkeypatch.setenv("HOOK_SECRET", secret)
    text = f"""
[[plugin]]
name = "waits"
path = "./waits.py"
[doors.http]
port = 0
[store]
url = "sqlite:calls.db"
[webhooks.in]
function = "waits.wait"
secret = "env:HOOK_SECRET"
[deliveries.out]
url = "{there.url}"
secret = "env:HOOK_SECRET"
functions = ["waits.*"]
private = true
"""
    process, line = serving(tmp_path, text, socket_path)
    try:
        address = line.split("http http://")[1].split()[0].rstrip(',"}')
        moment = datetime.now(UTC)
        signed = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", moment, "0.0"),
        }
        answer = httpx.post(f"http://{address}/v1/hooks/in", content=b"0.0", headers=signed, timeout=60)
        assert answer.status_code == 202
        told = there.wait(1, 60.0)
        assert Webhook(secret).verify(told.body, told.headers)["data"] == {
            "id": answer.json()["id"],
            "function": "waits.wait",
            "status": "succeeded",
            "result": "done",
        }
        assert (
            httpx.post(f"http://{address}/v1/hooks/in", content=b"1.0", headers=signed, timeout=60).status_code == 401
        )
        calls = subprocess.run(
            [*PLUGINCTL, "calls", "--function", "deliveries.*", "--control", str(socket_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "deliveries.out" in calls.stdout
        subprocess.run([*PLUGINCTL, "check", "jackfield.toml"], cwd=tmp_path, capture_output=True, check=True)
    finally:
        process.kill()
        process.communicate()
