"""A real server on the loopback interface that answers as PyPI does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

RELEASES = {"humanize": "4.17.0", "attrs": "26.1.0", "python-slugify": "8.0.4"}


class Index(ThreadingHTTPServer):
    """Answers `/pypi/<project>/json`; `slow` answers once `wake` is set, `broken` with 503, `busy` with 429."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []  # (path, headers) of each request
        self.asked = threading.Event()
        self.wake = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        project = self.path.removeprefix("/pypi/").removesuffix("/json")
        if project == "slow":
            self.server.asked.set()
            self.server.wake.wait(30)
        status = {"broken": 503, "busy": 429}.get(project, 200 if project in RELEASES else 404)
        info = {"name": project, "version": RELEASES.get(project), "summary": None, "yanked": False}
        body = json.dumps({"info": info, "urls": []} if status == 200 else {"message": "no"}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Keep the tests' output clean."""


@pytest.fixture
def index(monkeypatch):
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("JACKFIELD_SAMPLE_PYPI", server.url)
        yield server
        server.wake.set()
        server.shutdown()
        thread.join()
