"""The page that shows what can be called: the same for everybody, from this host alone, wherever it is mounted."""

import asyncio
import gzip
import re
import shutil
import subprocess
import tempfile
from hashlib import sha256
from importlib.resources import files

import httpx
import pytest
from starlette.applications import Starlette

from jackfield import Host
from jackfield.config import HttpDoorConfig
from jackfield_contrib.http import asgi, page
from jackfield_contrib.http.door import HttpDoor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def host():
    with Host(observers=()) as made:
        made.register("math.add", add)
        yield made


@pytest.fixture
def ask(host):
    def request(path, *, method="GET", app=None, **headers):
        async def once():
            transport = httpx.ASGITransport(app or asgi(host))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(once())

    return request


def test_all_that_the_page_refers_to_is_here_and_relative(ask):
    """So that it works below any path, and asks nobody else."""
    answer = ask("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    referred = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(referred) >= 6
    for each in referred:
        assert not each.startswith(("/", "http"))
        assert ask(f"/{each}").status_code == 200
    assert "<script>" not in answer.text
    assert "style=" not in answer.text


@pytest.mark.parametrize("path", sorted(page.PATHS - {"/docs/"}))
def test_each_part_says_what_a_browser_may_do_with_it(ask, path):
    """Run what comes from here, and nothing else; be in no frame."""
    answer = ask(path)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ask(path, method="HEAD").content == b""
    assert ask(path, method="POST").status_code == 405
    assert ask(path, **{"if-none-match": answer.headers["etag"]}).status_code == 304


def test_what_is_large_is_packed_for_those_who_unpack(ask):
    """The same comes out."""
    packed = ask("/docs/swagger-ui.js")
    assert packed.headers["content-encoding"] == "gzip"
    plain = ask("/docs/swagger-ui.js", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, mtime=0))


@pytest.mark.parametrize("path", ["/docs/page.html", "/docs/swagger-ui/LICENSE", "/docs/../app.py", "/docs/%2e%2e/x"])
def test_nothing_else_is_read(ask, path):
    """Paths are looked up, and never followed."""
    assert ask(path).status_code == 404


def test_below_the_page_one_is_sent_to_it(ask):
    """There its parts would not be found."""
    answer = ask("/docs/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../docs")


def test_it_mounts(ask, host):
    """In another application, below a path."""
    outer = Starlette()
    outer.mount("/fn", asgi(host))
    assert ask("/fn/docs", app=outer).status_code == 200
    assert ask("/fn/docs/page.js", app=outer).status_code == 200


def test_it_is_open_and_what_it_shows_is_not(tmp_path, ask):
    """It names nothing; a key is asked for by the page, and goes with what it asks for."""
    file = tmp_path / "jackfield.toml"
    file.write_text("[tenants.t]\n")
    with Host.from_config(file, observers=()) as closed:
        closed.register("secret.add", add)
        app = asgi(closed)
        assert ask("/docs", app=app).status_code == 200
        assert ask("/openapi.json", app=app).status_code == 401
        assert all(b"secret.add" not in ask(path, app=app).content for path in page.PATHS)


def test_what_is_not_ours_is_as_it_was_published():
    """With its licences."""
    folder = files(page.__name__).joinpath("swagger-ui")
    sums = dict(reversed(line.split()) for line in folder.joinpath("SHA256SUMS").read_text().splitlines())
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt"} <= sums.keys()
    assert {each.name for each in folder.iterdir()} == {*sums, "SHA256SUMS", "README.md"}
    for name, digest in sums.items():
        assert sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest, name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED in a browser: there is no chromium on this machine")
def test_a_browser_shows_the_functions(host):
    """By the scripts, which its policy lets run."""
    door = HttpDoor(host, HttpDoorConfig(port=0))
    host.run_at_home(door.open(), 20.0)
    try:
        with tempfile.TemporaryDirectory(prefix="jf-") as profile:
            command = [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                "--virtual-time-budget=30000", "--dump-dom", f"{door.address}/docs",
            ]  # fmt: skip
            shown = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False).stdout
    finally:
        host.run_at_home(door.close(0.0), 20.0)
    assert "Add two numbers." in shown
    assert 'class="opblock opblock-post"' in shown
