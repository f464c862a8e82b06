"""The same calls in the process of the test and in a sandboxed worker, against a real DICT server on the loopback."""

import socketserver
import threading
from importlib.resources import files

import jackfield_sample_words
import pytest

from jackfield import FunctionCrashed, Host, PluginState, Rejected
from jackfield.config import load_config
from jackfield.manifests.read import parse_manifest
from jackfield.sandbox.port import Tier
from jackfield.sandbox.probing import probe
from jackfield.testing import assert_conforms

NAME = "jackfield-sample-words"
needs_workers = pytest.mark.skipif(not probe(Tier.SELF).available, reason="there is no sandbox here")
BREAD = "bread\r\n  A food made of flour.\r\n..and water\r\n."
PAYLOADS = {
    "words.define": ["bread", "brot", "two words", "QUIT\r\n", ""],
    "words.distinct": ["", "to be or not to be", "Grüße aus Köln " * 1_000],
    "words.health": [None],
    "words.shutdown": [None],
}


class Dictionary(socketserver.StreamRequestHandler):
    """One conversation."""

    def handle(self):
        self.wfile.write(b"220 a dictionary\r\n")
        for line in self.rfile:
            if line.strip() == b"DEFINE * bread":
                text = f'150 1 definitions\r\n151 "bread" test "Test"\r\n{BREAD}\r\n250 ok\r\n'
            else:
                text = "221 bye\r\n" if line.strip() == b"QUIT" else "552 no match\r\n"
            self.wfile.write(text.encode())
            if text.startswith("221"):
                return


class Server(socketserver.ThreadingTCPServer):
    """Of any number of them at once."""

    allow_reuse_address = daemon_threads = True


@pytest.fixture
def dictionary():
    """Serve at the address that the manifest names; where another one is there, there is nothing to test."""
    try:
        server = Server(jackfield_sample_words.SERVER, Dictionary)
    except OSError as error:
        pytest.skip(f"port {jackfield_sample_words.SERVER[1]} is taken: {error}")
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture(params=["in process", pytest.param("in a worker", marks=needs_workers)])
def make_host(request, tmp_path):
    """Make hosts of the plugin, which runs here or in workers; further lines are of its [plugin.worker]."""

    def make(allow='allow = ["all"]'):
        apart = f'executor = "worker"\n[plugin.worker]\n{allow}\n' if request.param == "in a worker" else ""
        (tmp_path / "jackfield.toml").write_text(f'[[plugin]]\nname = "words"\npath = "{NAME}"\n{apart}')
        return Host.from_config(load_config(tmp_path / "jackfield.toml"), observers=())

    make.apart = request.param == "in a worker"
    return make


@needs_workers
@pytest.mark.usefixtures("dictionary")
def test_it_does_in_a_worker_what_it_does_in_process():
    """Results, refusals, and what a deadline that has passed comes to."""
    found = assert_conforms(NAME, PAYLOADS, examples=3)
    assert found.functions == ("words.define", "words.distinct", "words.health", "words.shutdown")


@pytest.mark.usefixtures("dictionary")
def test_a_word_is_defined(make_host):
    with make_host() as host:
        assert host.faults == ()
        assert host.call("words.define", "bread") == ["bread\n  A food made of flour.\n.and water"]
        with pytest.raises(Rejected) as caught:
            host.call("words.define", "brot")
        assert caught.value.code == "unknown_word"


def test_without_a_server_its_other_functions_serve(make_host):
    with make_host() as host:
        with pytest.raises(FunctionCrashed) as caught:
            host.call("words.define", "bread")
        assert caught.value.error_type.rpartition(".")[2] == "ConnectionRefusedError"
        assert host.call("words.distinct", "to be or not to be") == ["be", "not", "or", "to"]


def test_it_is_asked_how_it_is(make_host):
    """By the function that the manifest names, where it runs in workers."""
    with make_host() as host:
        assert host.plugins["words"].state is PluginState.RUNNING
        assert host.health("words")["words"].healthy


@pytest.mark.usefixtures("dictionary")
def test_what_nobody_allows_it_has_not(make_host):
    """The manifest is a request: without `allow` there is a fault that names the line, and no network."""
    if not make_host.apart:
        pytest.skip("in process nothing holds it")
    with make_host(allow="") as host:
        assert [fault.stage for fault in host.faults] == ["grants"]
        assert 'allow = ["network:outbound:127.0.0.1:2628"]' in host.faults[0].fix
        with pytest.raises(FunctionCrashed) as caught:
            host.call("words.define", "bread")
        assert caught.value.error_type.rpartition(".")[2] == "PermissionError"
        assert host.call("words.distinct", "b a") == ["a", "b"]


def test_the_manifest_is_shipped_and_sound():
    file = files(jackfield_sample_words) / "plugin-manifest.yaml"
    manifest = parse_manifest(file.read_bytes(), file)
    assert manifest.disagreements(NAME, "0.1.0", manifest.functions) == ()
    assert manifest.is_idempotent("words.define")
    assert not manifest.is_idempotent("words.shutdown")
