"""What the tests of adapters share."""

import tempfile
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

import jackfield_contrib.grpc  # noqa: F401  # before any test imports grpcio: it says how that is in a fork


@pytest.fixture
def socket_path():
    """Where a Unix socket may lie: its path has to be short."""
    with tempfile.TemporaryDirectory(prefix="jf-") as folder:
        yield Path(folder) / "s"


@pytest.fixture
def receiver():
    """Make receivers of deliveries, which answer as they are told."""
    with ExitStack() as stack:
        yield lambda *answers: stack.enter_context(Receiver(*answers))


@attrs.frozen
class Request:
    """What was sent."""

    path: str
    headers: dict
    body: bytes


class Receiver:
    """A real server on loopback, which keeps what it gets.

    It answers by a list, whose last entry counts for all that follow: a status, headers and a body; or what writes to
    the connection; or None, and it goes away without a word.
    """

    def __init__(self, *answers):
        self.answers = list(answers) or [(204, {}, b"")]
        self.requests = []
        self.changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def wait(self, count, timeout=30.0):
        """Wait for so many requests."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, timeout), self.requests
            return self.requests[count - 1]

    def over(self, context):
        """Speak TLS."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(receiver):  # noqa: N805  # the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver.changed:
                    answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                    receiver.requests.append(Request(self.path, headers, body))
                    receiver.changed.notify_all()
                if answer is None:  # it goes away without a word
                    return
                status, more, content = answer
                if callable(content):
                    content(self)
                    return
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        return Handler
