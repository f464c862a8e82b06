"""The client on the wire: what it sends, whom it trusts, and what it makes of a door that is not there, or odd."""

import inspect
import ssl
import subprocess
import sys
from pathlib import Path

import attrs
import grpc
import msgspec
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from serving import Scripted, answer, open_door

from jackfield import Host, errors, to_json
from jackfield.errors import (
    OUTCOMES,
    Fault,
    FunctionCrashed,
    JackfieldError,
    Outcome,
    PayloadError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from jackfield_contrib.client import AsyncClient, Client
from jackfield_contrib.client.statuses import problem
from jackfield_contrib.grpc import statuses as grpc_statuses
from jackfield_contrib.http.problems import of_error
from jackfield_contrib.problems import NOT_TOLD, error_of

PROBLEM = "application/problem+json"
DONE = answer(body=msgspec.msgpack.encode("done"))


def call(*script, **more):
    """Call a function of a server that answers so; give the result or the error, and what came there."""
    with Scripted(*script) as server:
        with Client(server.url, **more) as client:
            try:
                found = client.call("f", {"a": 1}, timeout=60.0)
            except JackfieldError as error:
                found = error
        return found, server.requests


# --- Errors, every one ------------------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    str: text,
    int: st.integers(0, 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int | None: st.none() | st.integers(0, 2**53),
    str | None: st.none() | text,
    bool | None: st.none() | st.booleans(),
    float | None: st.none() | st.floats(0, 1e6),
    tuple[str, ...]: st.lists(text, max_size=3).map(tuple),
    Fault | None: st.none() | st.builds(Fault, text, text, text, text),
    tuple[Fault, ...]: st.lists(st.builds(Fault, text, text, text, text), max_size=2).map(tuple),
}
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, JackfieldError) and attrs.has(kind)
]


def made(kind):
    fields = {
        field.name: st.dictionaries(text, plain, max_size=3) if field.name == "details" else FIELDS[field.type]
        for field in attrs.fields(kind)
        if field.init
    }
    return st.builds(kind, **fields)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_every_error_that_a_call_can_end_with_is_itself_again_on_the_other_side(kind, data):
    """But for what a function's own exception says, and the faults of files and plugins: these are a crash."""
    error = data.draw(made(kind))
    document = msgspec.json.decode(to_json(of_error(error).document))
    status = Status.FromString(grpc_statuses.of_error(error).SerializeToString())
    for again in (error_of(document, "f"), error_of(problem(status), "f")):
        itself(again, error, kind)


def itself(again, error, kind):
    assert again.outcome is error.outcome
    if kind is FunctionCrashed:
        said = {"message": "its log record says why", "remote_stack": ""}
        assert (type(again), attrs.asdict(again)) == (kind, {**attrs.asdict(error), **said})
    elif error.outcome is Outcome.CRASHED:
        assert type(again) is FunctionCrashed
        assert (again.function, again.error_type) == ("f", NOT_TOLD)
    else:
        assert type(again) is kind
        assert attrs.asdict(again) == attrs.asdict(error)
        assert str(again) == str(error)


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from(["error", "function", "details", "retry_after", "outcome", "fault"]) | text, plain)
)
def test_whatever_a_document_says_an_error_of_ours_comes_of_it(document):
    """A door of another version, or of somebody else."""
    assert isinstance(error_of({"outcome": "rejected", **document}, "f"), JackfieldError)
    for name in ("Rejected", "Unavailable", "FunctionNotFound", "JackfieldError", "Fault", "Exception"):
        error = error_of({"outcome": "rejected", **document, "error": name}, "f")
        assert isinstance(error, JackfieldError)
        assert isinstance(str(error), str)


@pytest.mark.parametrize(
    ("said", "kind", "fields"),
    [
        (answer(401, b'{"detail": "who are you"}', PROBLEM), PermissionDenied, {"reason": "who are you"}),
        (answer(413, b'{"detail": "too much"}', PROBLEM), PayloadError, {"got": "too much"}),
        (answer(429, b"slow down", "text/plain", Retry_After=7), ResourceExhausted, {"retry_after": 7.0}),
        (answer(502, b"<html>bad gateway</html>", "text/html"), Unavailable, {"cause": "unreachable", "ran": None}),
        (answer(404, b"nginx", "text/plain"), Unavailable, {"cause": "protocol", "ran": False}),
        (answer(302, Location="http://evil.example/"), Unavailable, {"cause": "protocol", "ran": False}),
        (answer(200, b"<html>", "text/html"), Unavailable, {"cause": "protocol", "ran": None}),
        (answer(200, b"\xc1", "application/msgpack"), Unavailable, {"cause": "protocol", "ran": None}),
        (answer(200, b"[" * 100_000, "application/json"), Unavailable, {"cause": "protocol", "ran": None}),
        (answer(500, b"\xff\xff", "text/plain"), Unavailable, {"cause": "protocol", "ran": None}),
        (answer(503, b"[1]", PROBLEM), Unavailable, {"cause": "unreachable", "ran": None}),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Unavailable, {"cause": "protocol", "ran": None}),
    ],
)
def test_what_is_no_answer_of_a_door_is_told_as_what_it_is(said, kind, fields):
    """And never taken for a result."""
    found, requests = call(said)
    assert type(found) is kind
    assert {name: getattr(found, name) for name in fields} == fields
    assert len(requests) == 1


def test_json_is_read_where_something_between_has_made_it_that():
    """A number is a number."""
    assert call(answer(body=b'{"a": 1}', kind="application/json; charset=utf-8"))[0] == {"a": 1}


# --- Another try ------------------------------------------------------------------------------------------------------


def problem_of(error):
    found = of_error(error)
    return answer(found.status, to_json(found.document), PROBLEM)


def test_what_has_not_run_is_tried_again_and_nothing_else():
    """A lost connection may have been lost after the function ran."""
    stopped = problem_of(Unavailable("text", "it restarts", "stopped", ran=False))
    found, requests = call(stopped, stopped, DONE)
    assert (found, len(requests)) == ("done", 3)
    found, requests = call(stopped)
    assert (found.what, found.cause, len(requests)) == ("text", "stopped", 3)
    found, requests = call(problem_of(Unavailable("text", "killed", "killed", ran=None)), DONE)
    assert (found.cause, len(requests)) == ("killed", 1)
    found, requests = call(None, DONE)
    assert (found.cause, found.ran, len(requests)) == ("unreachable", None, 1)
    found, requests = call(problem_of(ResourceExhausted("f", "full", 2.5)), DONE)
    assert (found.retry_after, len(requests)) == (2.5, 1)


def test_what_does_no_harm_twice_is_asked_twice():
    """A submitted call with a key, and whatever only looks."""
    accepted = answer(202, msgspec.msgpack.encode({"id": "1", "function": "f", "status": "accepted"}))
    with Scripted(None, accepted) as server, Client(server.url) as client:
        assert client.submit("f", key="k").id == "1"
        assert [b"Idempotency-Key: k" in request for request in server.requests] == [True, True]
    with Scripted(None, answer(body=msgspec.msgpack.encode([]))) as server, Client(server.url) as client:
        assert client.functions() == []
    with Scripted(None, accepted) as server, Client(server.url) as client:
        with pytest.raises(Unavailable) as lost:
            client.submit("f")
        assert (lost.value.ran, len(server.requests)) == (None, 1)


def test_where_nobody_listens_nothing_can_have_run():
    """And the error says where that was."""
    with Scripted(DONE) as server:
        url = server.url
    with Client(url) as client, pytest.raises(Unavailable, match="does it run, and is the URL right") as caught:
        client.call("f", timeout=60.0)
    assert (caught.value.what, caught.value.cause, caught.value.ran) == (url, "unreachable", False)


def test_an_answer_that_ends_too_early_is_a_lost_connection():
    """Half a result is none."""
    found, _ = call(DONE[:-2])
    assert (type(found), found.cause, found.ran) == (Unavailable, "unreachable", None)


# --- What is sent, and to whom ----------------------------------------------------------------------------------------


def test_a_request_says_what_the_call_needs_and_no_more():
    """MessagePack there and back, the key, the time that is left."""
    _, (request,) = call(DONE, key="s3cr3t")
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in lines)}
    assert line == b"POST /v1/functions/f HTTP/1.1"
    assert 0 < float(headers.pop(b"x-timeout")) <= 60.0
    headers.pop(b"host")
    headers.pop(b"connection", None)
    assert headers == {
        b"accept": b"application/msgpack",
        b"authorization": b"Bearer s3cr3t",
        b"content-type": b"application/msgpack",
        b"content-length": b"4",
    }
    assert msgspec.msgpack.decode(body) == {"a": 1}


def test_the_current_trace_goes_on_there():
    """By the propagator that the process has; a header of the caller's own comes first."""
    span = NonRecordingSpan(SpanContext(0xA, 0xB, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        _, (request,) = call(DONE)
        assert f"traceparent: 00-{0xA:032x}-{0xB:016x}-01".encode() in request
        with Scripted(DONE) as server, Client(server.url) as client:
            client.call("f", headers={"traceparent": "00-1-1-00"})
            assert server.requests[0].count(b"traceparent") == 1
            assert b"traceparent: 00-1-1-00" in server.requests[0]


def test_a_name_is_a_name_whatever_is_in_it():
    """And cannot become another path."""
    with Scripted(DONE) as server, Client(server.url + "/fn/") as client:
        client.call("../v1/submit/a?b#c", timeout=60.0)
    assert server.requests[0].startswith(b"POST /fn/v1/functions/..%2Fv1%2Fsubmit%2Fa%3Fb%23c HTTP/1.1\r\n")


def test_a_key_is_in_nothing_that_is_shown(caplog):
    """Nor in what is logged, or raised."""
    caplog.set_level(0)
    found, _ = call(answer(500, b"no", "text/plain"), key="s3cr3t")
    with Client("http://127.0.0.1:9", key="s3cr3t") as client:
        shown = [repr(client), str(vars(client)), repr(found), str(found), caplog.text]
    assert not [each for each in shown if "s3cr3t" in each]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "more", "reason"),
    [
        ("http://gpu-1:8080", {"key": "s3cr3t"}, "insecure=True"),
        ("http://10.0.0.7", {"key": "s3cr3t"}, "insecure=True"),
        ("http://user:s3cr3t@127.0.0.1", {}, "give the key as key="),
        ("http://127.0.0.1/?key=s3cr3t", {}, "no query"),
        ("127.0.0.1:8080", {}, "it is http://"),
        ("ftp://127.0.0.1", {}, "it is http://"),
        ("http://", {}, "it is http://"),
        ("http://127.0.0.1:port", {}, "it is http://"),
        ("http+unix://run/s", {}, "whole path"),
        ("grpc://gpu-1:9090", {"key": "s3cr3t"}, "use grpcs://"),
        ("grpc://127.0.0.1", {}, "grpc://HOST:PORT"),
        ("grpc://127.0.0.1:9090/fn", {}, "nothing behind it"),
        ("grpcs://user:s3cr3t@127.0.0.1:9090", {}, "give the key as key="),
        ("http://127.0.0.1", {"key": ""}, "printable"),
        ("http://127.0.0.1", {"key": "s3cr3t\r\nX-Evil: 1"}, "printable"),
    ],
)
def test_what_would_not_reach_a_door_or_give_a_key_away_is_refused_at_once(kind, url, more, reason):
    """With what to write instead, and never the key."""
    with pytest.raises(ValueError, match=reason) as caught:
        kind(url, **more)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://gpu-1:8080", {}),
        ("http://gpu-1:8080", {"key": "k", "insecure": True}),
        ("https://gpu-1:8080", {"key": "k"}),
        ("http://[::1]:8080", {"key": "k"}),
        ("http://localhost", {"key": "k"}),
        ("http+unix:///run/s", {"key": "k"}),
        ("grpc://[::1]:9090", {"key": "k"}),
        ("grpcs://gpu-1:9090", {"key": "k"}),
    ],
)
def test_a_key_may_go_where_nobody_else_reads_it(url, more):
    """Or where somebody says that it may."""
    assert repr(Client(url, **more)) == f"Client('{url}')"


def test_statuses_are_those_of_the_outcome_table():
    """So that what has no document is read by its status."""
    assert {row.http for row in OUTCOMES.values()} >= {403, 404, 422, 429, 500, 503, 504}


@pytest.fixture
def certificate(tmp_path):
    """Make one that nobody has vouched for."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*made, *more], check=True, capture_output=True, timeout=60)
    return {"tls_cert": str(cert), "tls_key": str(key)}


TRUSTED = {
    "http": lambda cert: ssl.create_default_context(cafile=cert),
    "grpc": lambda cert: grpc.ssl_channel_credentials(Path(cert).read_bytes()),
}


@pytest.mark.parametrize("kind", TRUSTED)
def test_tls_is_as_it_is_said(certificate, kind):
    """A certificate that nobody has vouched for is refused, and so is what speaks no TLS; neither is tried again."""
    with Host(observers=()) as host:
        host.register("f", lambda: "done")
        with open_door(host, kind, **certificate) as door:
            assert door.address.startswith(f"{kind}s:")
            with Client(door.address, tls=TRUSTED[kind](certificate["tls_cert"])) as client:
                assert client.call("f", timeout=60.0) == "done"
            with (
                Client(door.address) as client,
                pytest.raises(Unavailable, match="not to be trusted") as caught,
            ):
                client.call("f", timeout=60.0)
            assert (caught.value.cause, caught.value.ran) == ("protocol", False)
        with open_door(host, kind) as door, Client(door.address.replace(f"{kind}:", f"{kind}s:")) as client:
            with pytest.raises(Unavailable, match="TLS") as caught:
                client.call("f", timeout=60.0)
            assert (caught.value.cause, caught.value.ran) == ("protocol", False)


@pytest.mark.parametrize(("scheme", "other"), [("https", "grpc"), ("grpcs", "http")])
def test_what_is_said_of_tls_is_for_what_is_spoken(certificate, scheme, other):
    """Neither library can read what is for the other."""
    with pytest.raises(TypeError, match="tls"):
        Client(f"{scheme}://127.0.0.1:1", tls=TRUSTED[other](certificate["tls_cert"]))


@pytest.mark.parametrize(
    ("url", "library", "extra"), [("http://127.0.0.1:1", "aiohttp", "client"), ("grpc://127.0.0.1:1", "grpc", "grpc")]
)
def test_what_is_not_installed_is_told_with_the_extra_that_brings_it(url, library, extra):
    """And only what this URL needs."""
    lines = [
        f"import sys; sys.modules[{library!r}] = None",
        "from jackfield.errors import Unavailable",
        "from jackfield_contrib.client import AsyncClient, Client",
        "try:",
        f"    Client({url!r})",
        "except Unavailable as error:",
        "    print(error)",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60
    )
    assert f"pip install 'jackfield-contrib[{extra}]'" in done.stdout, done.stderr
