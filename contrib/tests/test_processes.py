"""Several processes of `pluginctl serve` at one HTTP door: real processes, sockets and signals."""

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import trustme

from jackfield.identity import digest_of, new_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the processes hand sockets to one another"),
]

PATIENCE = 60.0
PLUGINCTL = [sys.executable, "-m", "jackfield"]
PLUGIN = """
import asyncio, gc, os
from jackfield import function

WORD = "old"

@function
async def pid() -> int:
    return os.getpid()

@function
async def word() -> str:
    return WORD

@function
async def garbage() -> list[int]:
    return list(gc.get_threshold())

@function
async def wait(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()
"""
FILE = """
[[plugin]]
name = "calc"
path = "./calc.py"
[store]
url = "sqlite:jackfield.db"
[doors.http]
port = 0
processes = 2
"""


class Served:
    """A `pluginctl serve` in a folder of its own."""

    def __init__(self, folder, control, text=FILE, *more):
        self.folder, self.control = folder, control
        (folder / "calc.py").write_text(PLUGIN)
        (folder / "jackfield.toml").write_text(text)
        environ = {**os.environ, "JACKFIELD_CONTROL": str(control), "NO_COLOR": "1"}
        environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self.environ = environ
        command = [*PLUGINCTL, "serve", "jackfield.toml", *more]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.said = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)

    def until(self, condition, what):
        """Wait for something, and give it."""
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end, (what, self.said[-10:])
            time.sleep(0.05)
        return found

    def serves(self):
        """Wait until it serves, and give the address."""
        self.until(lambda: self.process.poll() is not None or any("serving " in line for line in self.said), "serving")
        line = next(line for line in self.said if line.startswith("serving "))
        self.url = re.search(r", http (\S+)", line)[1]
        return self

    def ctl(self, *arguments):
        done = subprocess.run(
            [*PLUGINCTL, *arguments], env=self.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def status(self):
        return json.loads(self.ctl("status", "--json"))

    def pids(self):
        """Give the processes that serve, by number."""
        return {each["number"]: each["pid"] for each in self.status()["processes"] if each["state"] == "serving"}

    def total(self, name, label=""):
        """Add up the samples of a metric."""
        lines = httpx.get(f"{self.url}/metrics", timeout=PATIENCE).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{") and label in line)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self._reading.join(PATIENCE)
            self.process.stderr.close()


@pytest.fixture
def certificates(tmp_path):
    """Give the files of a certificate, its key, and who has signed it."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    files = [tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem")]
    made.cert_chain_pems[0].write_to_path(files[0])
    made.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    return files


@pytest.fixture
def serve(tmp_path, socket_path):
    """Serve a file, and end that."""
    made = []

    def served(text=FILE, *more):
        made.append(Served(tmp_path, socket_path, text, *more))
        return made[-1]

    yield served
    for each in made:
        each.end()


def call(client, name, payload=None):
    answer = (
        client.post(f"/v1/functions/calc.{name}", json=payload)
        if payload is not None
        else client.post(f"/v1/functions/calc.{name}")
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_calls_are_spread_evenly_and_counted_exactly(serve):
    """Connections go to the processes in turn; each one's /metrics has all calls, and no call twice."""
    served = serve().serves()
    pids = served.pids()
    assert len(pids) == 2
    answered = []
    for _ in range(10):
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            answered += [call(client, "pid") for _ in range(3)]
    assert {pid: answered.count(pid) for pid in answered} == dict.fromkeys(pids.values(), 15)
    ok = 'function="calc.pid",outcome="ok"'
    served.until(lambda: served.total("jackfield_calls_total", ok) == 30, "all calls in the metrics")
    seen = [served.total("jackfield_calls_total", ok) for _ in range(4)]  # of both processes
    assert seen == [30.0] * 4
    served.until(lambda: served.total("jackfield_processes", 'state="serving"') == 2, "both in the metrics")
    shown = served.ctl("status")
    assert all(re.search(rf"^{number} +{pid} +serving", shown, re.MULTILINE) for number, pid in pids.items())
    assert served.end() == 0


def test_each_looks_for_garbage_as_seldom_as_one_process_would(serve):
    """Calls are served there, and it is them whom that would stop."""
    said = []
    for text in (FILE, FILE.replace("processes = 2", "processes = 1")):
        served = serve(text).serves()
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            said.append(call(client, "garbage"))
        assert served.end() == 0
    assert said[0] == said[1]


def test_a_process_that_is_killed_is_replaced_and_takes_nothing_else_along(serve):
    """The connections of the others go on, new ones find somebody, and what it had counted stays."""
    served = serve().serves()
    before = served.pids()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=served.url, timeout=PATIENCE)) for _ in range(6)]
        owners = {client: call(client, "pid") for client in clients}
        ok = 'function="calc.pid",outcome="ok"'
        served.until(lambda: served.total("jackfield_calls_total", ok) == 6, "six calls")
        victim = before[1]
        os.kill(victim, signal.SIGKILL)
        for client, owner in owners.items():
            if owner != victim:
                assert [call(client, "pid") for _ in range(20)] == [owner] * 20
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            assert call(client, "pid") != victim
        after = served.until(lambda: (now := served.pids()) and len(now) == 2 and now, "a new process")
        assert after[2] == before[2]
        assert after[1] != victim
    counted = 6 + 20 * 3 + 1
    served.until(lambda: served.total("jackfield_calls_total", ok) == counted, "all calls")
    assert served.total("jackfield_process_deaths_total", 'cause="SIGKILL"') == 1
    assert served.status()["processes"][0]["restarts"] == 1
    assert httpx.get(f"{served.url}/readyz", timeout=PATIENCE).status_code == 200
    assert any("SIGKILL; another takes its place" in line for line in served.said)


def test_a_reload_reaches_all_and_loses_no_call(serve):
    """When the verb has returned no process answers with the old code; calls meanwhile all go well."""
    served = serve().serves()
    over = threading.Event()

    def work():
        words = []
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            while not over.is_set():
                words.append(call(client, "word"))
        return words

    with ThreadPoolExecutor(4) as threads:
        busy = [threads.submit(work) for _ in range(4)]
        try:
            (served.folder / "calc.py").write_text(PLUGIN.replace('"old"', '"new"'))
            served.ctl("reload", "calc")
            for _ in range(4):
                with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
                    assert call(client, "word") == "new"
        finally:
            over.set()
        for each in busy:
            assert set(each.result(PATIENCE)) <= {"old", "new"}


def test_what_is_desired_holds_in_all(serve):
    """A plugin that is stopped through the control socket is stopped everywhere when the verb returns."""
    served = serve().serves()

    def statuses():
        found = []
        for _ in range(4):
            with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
                found.append(client.post("/v1/functions/calc.pid").status_code)
        return set(found)

    served.ctl("stop", "calc")
    assert statuses() == {503}
    served.ctl("start", "calc")
    assert statuses() == {200}
    before = served.pids()
    os.kill(before[1], signal.SIGKILL)
    served.ctl("stop", "calc")  # the one that takes its place finds it so
    served.until(lambda: len(served.pids()) == 2, "a new process")
    assert statuses() == {503}


def test_sigterm_lets_all_calls_end(serve):
    """Under load: clients that keep their connections, and clients that make new ones."""
    served = serve(FILE, "--drain", "30").serves()
    begun = threading.Semaphore(0)
    failures = []

    def work(keeps):
        with contextlib.suppress(httpx.ConnectError):  # nobody listens any more
            while True:
                with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
                    for _ in range(50 if keeps else 1):
                        begun.release()
                        try:
                            answer = client.post("/v1/functions/calc.wait", json=0.02)
                        except httpx.ConnectError:
                            raise
                        except httpx.HTTPError as error:
                            failures.append(repr(error))
                            return
                        if answer.status_code != 200:
                            failures.append(answer.text)

    with ThreadPoolExecutor(9) as threads:
        workers = [threads.submit(work, number % 2) for number in range(8)]
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            long = threads.submit(call, client, "wait", 1.5)
            for _ in range(100):
                assert begun.acquire(timeout=PATIENCE)
            served.process.send_signal(signal.SIGTERM)
            assert long.result(PATIENCE) > 0
        for each in workers:
            each.result(PATIENCE)
    assert served.process.wait(PATIENCE) == 0, served.said[-5:]
    assert failures == []


def test_quotas_go_where_they_are_asked_for(serve):
    """A tenant whose connections are all at one process has its whole quota there, after a moment, and no more."""
    key = new_key()
    tenants = f'[tenants.acme]\nkeys = ["{digest_of(key)}"]\nconcurrency = 5\n'
    served = serve(FILE + tenants).serves()
    headers = {"Authorization": f"Bearer {key}"}
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        made = {}
        for _ in range(12):
            client = httpx.Client(base_url=served.url, headers=headers, timeout=PATIENCE)
            made.setdefault(call(stack.enter_context(client), "pid"), []).append(client)
        clients = next(iter(made.values()))
        assert len(clients) == 6

        def at_once():
            waits = [threads.submit(client.post, "/v1/functions/calc.wait", json=1.0) for client in clients]
            return sorted(each.result(PATIENCE).status_code for each in waits)

        served.until(lambda: at_once() == [200] * 5 + [429], "the whole quota in one process")
        shown = served.status()["admission"]["tenants"]
        assert [(each["name"], each["refused"].keys()) for each in shown] == [("acme", {"concurrency"})]


def test_only_one_process_follows_the_schedules(serve):
    """The one that keeps the others; runs may be anybody's."""
    schedule = '[[schedule]]\nname = "often"\nfunction = "calc.word"\ncron = "* * * * *"\n'
    served = serve(schedule + FILE).serves()
    assert [each["name"] for each in json.loads(served.ctl("schedule", "list", "--json"))] == ["often"]
    for number in served.pids():
        told = served.ctl("schedule", "list", "--json", "--control", f"{served.control}.{number}")
        assert json.loads(told) == []


SLOW = (
    PLUGIN
    + """
import time

class Calc:
    def start(self):
        for name in ("first", "second"):
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL))
                return
            except FileExistsError:
                pass
        while not os.path.exists("go"):
            if os.path.exists("end"):
                os._exit(3)
            time.sleep(0.05)
"""
)


@pytest.mark.parametrize("word", ["go", "end"])
def test_it_is_ready_when_all_serve(serve, tmp_path, socket_path, word):
    """Until then /readyz says so, in those that serve; where one ends instead of that, all end, and it says why."""
    door = f"{socket_path}.http"
    text = FILE.replace("./calc.py", "./slow.py:Calc").replace("port = 0", f'uds = "{door}"')
    (tmp_path / "slow.py").write_text(SLOW)
    served = serve(text)

    def ready():
        with httpx.Client(transport=httpx.HTTPTransport(uds=door), base_url="http://door", timeout=2.0) as client:
            try:
                return client.get("/readyz")
            except httpx.HTTPError:
                return None

    answer = served.until(lambda: (tmp_path / "second").exists() and ready(), "a process that serves")
    assert (answer.status_code, answer.json()["reason"]) == (503, "not all processes serve yet")
    (tmp_path / word).touch()
    if word == "go":
        served.serves()
        served.until(lambda: (answer := ready()) and answer.status_code == 200, "ready")
    else:
        assert served.process.wait(PATIENCE) == 1
        served.until(lambda: any("(exit 3) before it served" in line for line in served.said), "the reason")


def gone(pids):
    """Tell whether no process runs any more; one that nobody has collected does not."""
    for pid in pids.values():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return False
    return True


def test_when_it_is_killed_its_processes_end_too(serve, tmp_path, monkeypatch):
    """They see that nobody keeps them any more, and leave no files behind."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    served = serve().serves()
    pids = served.pids()
    assert [*(tmp_path / "tmp").glob("jackfield-metrics-*")]
    served.process.kill()
    served.process.wait()
    served.until(lambda: gone(pids), "the processes to end")
    assert not [*(tmp_path / "tmp").glob("jackfield-metrics-*")]


def test_a_second_signal_ends_all_at_once(serve, tmp_path, monkeypatch):
    """Whatever is under way; so does Ctrl-C, which a terminal sends to this process alone."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    served = serve(FILE, "--drain", "60").serves()
    pids = served.pids()
    with ThreadPoolExecutor(1) as threads, httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
        waiting = threads.submit(client.post, "/v1/functions/calc.wait", json=50.0)
        served.until(lambda: served.status()["calls"] == 1, "a call inside")
        served.process.send_signal(signal.SIGINT)
        served.until(lambda: any("SIGINT: ending within" in line for line in served.said), "the end to begin")
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(PATIENCE) == 130
        with pytest.raises(httpx.HTTPError):
            waiting.result(PATIENCE)
    served.until(lambda: gone(pids), "the processes to end")
    assert not [*(tmp_path / "tmp").glob("jackfield-metrics-*")]


def test_a_store_of_one_process_is_refused(serve):
    """With what helps; by the file and by the option alike."""
    alone = FILE.replace('[store]\nurl = "sqlite:jackfield.db"\n', "")
    served = serve(alone)
    assert served.process.wait(PATIENCE) == 1
    served.until(lambda: any("2 processes need a store" in line for line in served.said), "the reason")
    served = serve(alone.replace("processes = 2\n", ""), "--processes", "3")
    assert served.process.wait(PATIENCE) == 1
    served.until(lambda: any("3 processes need a store" in line for line in served.said), "the reason")


def test_the_option_counts_over_unix_sockets_and_tls(serve, socket_path, certificates):
    """`--processes` says how many; who listens is one, so that Unix sockets and TLS are as ever."""
    cert, key, authority = certificates
    door = f"{socket_path}.http"
    served = serve(FILE.replace("port = 0\nprocesses = 2", f'uds = "{door}"'), "--processes", "2").serves()
    assert served.url == f"unix:{door}"
    seen = set()
    for _ in range(4):
        with httpx.Client(transport=httpx.HTTPTransport(uds=door), base_url="http://door", timeout=PATIENCE) as client:
            seen.add(call(client, "pid"))
    assert len(seen) == 2
    assert served.end() == 0
    assert not Path(door).exists()
    tls = f'tls_cert = "{cert}"\ntls_key = "{key}"\n'
    served = serve(FILE + tls).serves()
    seen = set()
    for _ in range(4):
        trusts = ssl.create_default_context(cafile=authority)
        with httpx.Client(base_url=served.url, verify=trusts, timeout=PATIENCE) as client:
            seen.add(call(client, "pid"))
    assert len(seen) == 2
