"""`pluginctl serve` with tenants: keys that change under it, and no credential in anything that it has written."""

import json
import os
import signal
import subprocess
import sys
import threading
from time import monotonic, sleep, time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from jackfield.identity import digest_of, new_key

PLUGIN = """
from jackfield import current_call, function

@function
def who() -> str:
    return current_call().tenant

@function
def crash() -> None:
    raise ValueError("odd")
"""
FILE = """
[[plugin]]
name = "text"
path = "./text.py"
[store]
url = "sqlite:kept.db"
[doors.http]
port = 0
[observability.logs]
error_messages = true
messages = false
{tenants}
"""
PATIENCE = 60


class Served:
    """A host that serves, and all that it has written."""

    def __init__(self, folder, control, text, options=()):
        self.folder, self.control, self.file = folder, control, folder / "jackfield.toml"
        (folder / "text.py").write_text(PLUGIN)
        self.file.write_text(text)
        self.lines = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", "--control", str(control), *options],
            cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        said = self.wait_for("serving ")
        self.url = next((word for word in said.replace(",", " ").split() if word.startswith("http")), "")
        self.url = said.partition(", http ")[2].split()[0].rstrip(',"}')

    def _read(self):
        for line in self._process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def wait_for(self, text):
        until = monotonic() + PATIENCE
        with self._news:
            while not (found := [line for line in self.lines if text in line]):
                assert self._news.wait(until - monotonic()), self.lines
                assert self._process.poll() is None or text in "".join(self.lines), self.lines
        return found[-1]

    def reread(self, text):
        self.file.write_text(text)
        self._process.send_signal(signal.SIGHUP)

    def ask(self, *verb):
        return subprocess.run(
            [sys.executable, "-m", "jackfield", *verb, "--control", str(self.control)],
            cwd=self.folder, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout  # fmt: skip

    def end(self):
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stderr.close()


@pytest.fixture
def served(tmp_path, socket_path):
    """Serve a file."""
    hosts = []

    def serve(tenants, text=FILE, **more):
        hosts.append(Served(tmp_path, socket_path, text.format(tenants=tenants), **more))
        return hosts[-1]

    yield serve
    for host in hosts:
        host.end()


def made(folder, tenant):
    """Make a key as an operator does, and give it with what goes into the file."""
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "key", tenant, "--json"],
        cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    return found["key"], f"{found['table']}\n{found['line']}\n"


def call(host, key, name="text.who", **more):
    return httpx.post(
        f"{host.url}/v1/functions/{name}", headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE, **more
    )


@pytest.mark.slow
def test_a_key_is_good_from_a_reload_on_and_no_longer_after_the_next(served, tmp_path):
    """No restart, and no connection is lost."""
    old, line = made(tmp_path, "t-1")
    host = served(line)
    with httpx.Client(base_url=host.url, timeout=PATIENCE) as client:

        def status(key):
            return client.post("/v1/functions/text.who", headers={"authorization": f"Bearer {key}"}).status_code

        fresh, line = made(tmp_path, "t-1")
        assert (status(old), status(fresh)) == (200, 401)
        host.reread(FILE.format(tenants=line))
        until = monotonic() + PATIENCE
        while status(fresh) != 200:
            assert monotonic() < until
            sleep(0.05)
        assert status(old) == 401
    host.wait_for("SIGHUP: ")


@pytest.mark.slow
def test_no_credential_is_in_anything_that_a_host_has_written(served, tmp_path):
    """Its log, its state, its store, its metrics, its answers; nor in what its verbs print."""
    key, line = made(tmp_path, "t-1")
    wrong = new_key()
    issuer = OKPKey.generate_key("Ed25519", {"kid": "one"})
    (tmp_path / "jwks.json").write_text(json.dumps(KeySet([issuer]).as_dict(private=False)))
    auth = '[auth.jwt]\nissuer = "i"\naudience = "a"\nkeys = "jwks.json"\nalgorithms = ["Ed25519"]\n'
    good, stale = (
        jwt.encode(
            {"alg": "Ed25519", "kid": "one"},
            {"iss": "i", "aud": "a", "exp": int(time()) + seconds, "tenant": "t-1"},
            issuer, algorithms=["Ed25519"],
        )
        for seconds in (600, -600)
    )  # fmt: skip
    host = served(line + 'permissions = ["text.*"]\n' + auth)
    seen = []
    assert [call(host, given).status_code for given in (key, good, wrong, stale)] == [200, 200, 401, 401]
    for given in (key, wrong, good, stale):
        seen += [call(host, given, name).text for name in ("text.who", "text.crash", "other.thing")]
        seen.append(
            httpx.post(
                f"{host.url}/v1/submit/text.who",
                headers={"authorization": f"Bearer {given}", "x-api-key": given, "cookie": f"k={given}"},
            ).text
        )
    seen += [httpx.get(f"{host.url}{path}").text for path in ("/metrics", "/openapi.json", "/v1/functions", "/healthz")]
    for verb in ("status", "dump-state", "calls", "history", "diff"):
        seen.append(host.ask(verb, "--json"))
    assert host.end() == 0
    events = [json.loads(line) for line in host.lines if line.startswith("{")]
    denied = [row for row in events if row["event"] == "denied"]
    assert {(row["tenant"], row["func_name"], row["door"], row["level"]) for row in denied} == {
        ("t-1", "other.thing", "http", "WARNING")
    }
    assert {row["reason"] for row in events if row["event"] == "refused"} == {
        "nobody has this key", "it has none", "it has expired",
    }  # fmt: skip
    seen += host.lines
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for secret in (key, wrong, good, stale, good.rpartition(".")[2], stale.rpartition(".")[2]):
        assert not [text for text in seen if secret in text]
        assert not [content for content in written if secret.encode() in content]
        assert not [text for text in seen if digest_of(secret).removeprefix("sha256:") in text]


@pytest.mark.slow
def test_a_door_for_others_does_not_open_without_tenants(tmp_path, socket_path):
    """The line that is missing is named."""
    (tmp_path / "text.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(FILE.format(tenants="").replace("port = 0", 'host = "0.0.0.0"\nport = 0'))
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "serve", "jackfield.toml", "--control", str(socket_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "doors.http.host" in done.stderr
    assert "declare who may call under [tenants]" in done.stderr
