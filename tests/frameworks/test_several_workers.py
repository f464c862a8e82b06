"""uvicorn and gunicorn with several workers: one scrape has the calls of all, whatever becomes of a worker."""

import os
import signal

import pytest

from support.pages import PAGES, Page

FEW = ["--workers", "2"]  # of the page's four: the machine that tests has other things to do
GOOD = {"amount": 1000, "months": 12}


@pytest.fixture
def place(workplace, tmp_path):
    """The page on workers beside the application of the page on FastAPI, and the folder for the files."""
    Page(PAGES["docs/how-to/fastapi.md"], tmp_path).write()
    (tmp_path / "metrics").mkdir()
    return workplace("workers")


def started(place, site, command):
    """Start by the page's command on a port."""
    bind = ["--port", site.port] if command[0] == "uvicorn" else ["--bind", f"127.0.0.1:{site.port}"]
    process = place.start([*command, *bind, *FEW], PROMETHEUS_MULTIPROC_DIR=str(place.folder / "metrics"))
    place.until(lambda: site("/readyz")[0] == 200, "ready")
    return process


def calls(site):
    return site.total("jackfield_calls_total", 'function="loans.score"')


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_every_call_is_in_every_scrape(place, site, children, server):
    """A hundred calls over all workers; one of them is killed, another takes its place, and the sum only grows."""
    process = started(place, site, place.command(server, "app:app"))
    for _ in range(100):
        assert site("/call/loans.score", GOOD)[0] == 200
    place.until(lambda: calls(site) == 100, "a sum of 100")
    before = set(children(process.pid))
    victim = max(before)
    os.kill(victim, signal.SIGKILL)
    place.until(lambda: set(children(process.pid)) - before, "a new worker")
    seen = []

    def grown():
        seen.append(calls(site))
        return seen[-1] == 150

    done = [status for _ in range(50) for status in [_call(site)] if status == 200]
    assert len(done) == 50
    place.until(grown, "a sum of 150")
    assert seen == sorted(seen)
    assert min(seen) >= 100
    assert site.total("jackfield_calls_in_flight") == 0


def _call(site):
    """Call, once more if the connection was that of the worker that died."""
    try:
        return site("/call/loans.score", GOOD)[0]
    except OSError:
        return site("/call/loans.score", GOOD)[0]


def test_a_rolling_restart_takes_nothing_back(place, site, children):
    """gunicorn replaces all workers: what they had counted stays, what they were doing is over."""
    process = started(place, site, place.command("gunicorn", "app:app"))
    before = set(children(process.pid))
    for _ in range(20):
        site("/call/loans.score", GOOD)
    process.send_signal(signal.SIGHUP)
    place.until(lambda: len(now := set(children(process.pid))) == 2 and not now & before, "new workers")
    place.until(lambda: calls(site) == 20, "a sum of 20")
    assert _call(site) == 200
    place.until(lambda: calls(site) == 21, "a sum of 21")


def test_a_preloaded_application_starts_its_host_in_each_worker(place, site, children):
    """The page's WSGI application with the page's hooks; its counts are in the files of the client."""
    command = place.command("gunicorn", "--preload")
    process = place.start(
        [*command, "--bind", f"127.0.0.1:{site.port}", *FEW], PROMETHEUS_MULTIPROC_DIR=str(place.folder / "metrics")
    )
    place.until(lambda: site("/?hello") == (200, "HELLO"), "an answer")
    assert len(children(process.pid)) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    script = (
        "from prometheus_client import *; from prometheus_client.multiprocess import *;"
        "r = CollectorRegistry(); MultiProcessCollector(r); print(generate_latest(r).decode())"
    )
    (place.folder / "scrape.py").write_text(
        f"import os; os.environ['PROMETHEUS_MULTIPROC_DIR'] = 'metrics'\n{script}\n"
    )
    lines = place.run("scrape").splitlines()
    assert next(line for line in lines if 'function="text.shout",outcome="ok"' in line).endswith(" 1.0")
