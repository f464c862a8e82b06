"""Behaviour through a host, against a real server on the loopback interface."""

import asyncio
import socket

import httpx
import pytest
from jackfield_sample_http import Release, outdated, release
from jackfield_sample_http.client import client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jackfield import DeadlineExceeded, FunctionCrashed, Host, Rejected, Unavailable


@pytest.fixture
def host(index):  # noqa: ARG001  # the client that the host makes needs its address
    host = Host()
    host.provide(client)
    host.register("pypi.release", release)
    host.register("pypi.outdated", outdated)
    with host:
        yield host


@pytest.fixture(scope="session")
def exporter():
    """Collect the spans of this process; the SDK lets a tracer provider be set once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_a_release_is_found_from_a_plain_thread(host):
    """`call` of an async function waits for it."""
    assert host.call("pypi.release", "humanize") == Release("humanize", "4.17.0")


def test_a_release_is_found_from_an_event_loop(index):
    """The same function serves `acall`, on the host's home loop."""

    async def main():
        host = Host()
        host.provide(client)
        host.register("pypi.release", release)
        async with host:
            return await host.acall("pypi.release", "Python_Slugify", timeout=10)

    assert asyncio.run(main()).version == "8.0.4"
    assert index.seen[0][0] == "/pypi/python-slugify/json"


def test_it_is_an_ordinary_coroutine(index):
    """No host is needed to run the function."""

    async def main():
        async with httpx.AsyncClient(base_url=index.url) as own:
            return await release("attrs", client=own)

    assert asyncio.run(main()).version == "26.1.0"


def test_only_newer_releases_are_outdated(host):
    """Versions are compared as versions, and unknown projects are left out."""
    installed = {"humanize": "4.9.0", "attrs": "26.1", "nobody-has-this": "1"}
    assert host.call("pypi.outdated", installed) == {"humanize": Release("humanize", "4.17.0")}


@pytest.mark.parametrize("name", ["../../simple", "", "a b"])
def test_a_bad_name_is_rejected_before_anything_is_sent(host, index, name):
    """No name can lead the request elsewhere."""
    with pytest.raises(Rejected) as caught:
        host.call("pypi.release", name)
    assert caught.value.code == "bad_name"
    assert index.seen == []


def test_an_unknown_project_is_rejected(host):
    """A 404 is an answer, not a fault."""
    with pytest.raises(Rejected) as caught:
        host.call("pypi.release", "nobody-has-this")
    assert (caught.value.code, caught.value.details) == ("unknown_project", {"project": "nobody-has-this"})


def test_a_bad_version_is_rejected(host):
    """What cannot be compared is refused with its reason."""
    with pytest.raises(Rejected, match="not-a-version") as caught:
        host.call("pypi.outdated", {"attrs": "not-a-version"})
    assert caught.value.code == "bad_version"


@pytest.mark.parametrize(("project", "status"), [("broken", "503"), ("busy", "429")])
def test_a_failing_server_is_unavailable(host, index, project, status):
    """The function says that the service is at fault; to the host's caller that is the cause of a crash."""
    with pytest.raises(FunctionCrashed, match=status) as caught:
        host.call("pypi.release", project)
    assert caught.value.error_type == "jackfield.Unavailable"
    assert isinstance(caught.value.__cause__, Unavailable)
    assert caught.value.__cause__.what == index.url


def test_a_refused_connection_is_unavailable(monkeypatch):
    """The cause says that the service is down, and which, however many requests found out."""
    with socket.socket() as unused:  # bound and never listening: connections are refused, and nobody else gets the port
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("JACKFIELD_SAMPLE_PYPI", address)
        host = Host()
        host.provide(client)
        host.register("pypi.release", release)
        host.register("pypi.outdated", outdated)
        with host:
            for name, payload in [("pypi.release", "attrs"), ("pypi.outdated", {"attrs": "1", "humanize": "1"})]:
                with pytest.raises(FunctionCrashed, match="ConnectError") as caught:
                    host.call(name, payload)
                assert isinstance(caught.value.__cause__, Unavailable)
                assert caught.value.__cause__.what == address


def test_the_deadline_ends_a_slow_request(host):
    """A server that does not answer cannot hold the caller."""
    with pytest.raises(DeadlineExceeded):
        host.call("pypi.release", "slow", timeout=0.2)


def test_a_cancelled_call_leaves_no_request_running(index):
    """When `outdated` ends, so has every request that it started."""

    async def main():
        host = Host()
        host.provide(client)
        host.register("pypi.outdated", outdated)
        async with host:
            await host.acall("pypi.outdated", {})  # makes the client, which a task of its own keeps open for the host
            before = asyncio.all_tasks()
            call = asyncio.create_task(host.acall("pypi.outdated", {"slow": "1", "attrs": "1"}, timeout=60))
            assert await asyncio.to_thread(index.asked.wait, 30)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            return asyncio.all_tasks() - before

    assert asyncio.run(main()) == set()


def test_the_trace_goes_on(exporter, host, index):
    """The request is a client span below the call, and the server is told of it."""
    exporter.clear()
    with pytest.raises(Rejected):
        host.call("pypi.release", "nobody-has-this")
    spans = {span.kind: span for span in exporter.get_finished_spans()}
    request, call = spans[trace.SpanKind.CLIENT], spans[trace.SpanKind.INTERNAL]
    assert request.parent.span_id == call.context.span_id
    assert request.attributes["http.response.status_code"] == 404
    assert request.attributes["error.type"] == "404"
    _, trace_id, parent_id, _ = index.seen[0][1]["traceparent"].split("-")
    assert int(trace_id, 16) == call.context.trace_id
    assert int(parent_id, 16) == request.context.span_id


def test_installation_is_enough(index):
    """Installed means found: functions and the client's provider."""
    with Host.discover() as host:
        assert host.call("pypi.release", "attrs").version == "26.1.0"
    assert len(index.seen) == 1
