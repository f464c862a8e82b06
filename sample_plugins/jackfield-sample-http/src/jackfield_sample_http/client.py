"""The HTTP client, and one GET with everything that a call brings along: its deadline, its trace, its outcomes."""

import os
from collections.abc import AsyncIterator

import httpx
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from jackfield import Unavailable, check_deadline, provides, remaining

PATIENCE = 10.0  # seconds without a sign of life, for calls that have no deadline of their own

_tracer = trace.get_tracer("jackfield-sample-http")


@provides(name="pypi")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Open one pool of connections, shared by all calls, and close it when the host stops.

    Yields:
        A client of the index that `JACKFIELD_SAMPLE_PYPI` names, else of pypi.org.
    """
    index = os.environ.get("JACKFIELD_SAMPLE_PYPI") or "https://pypi.org"
    async with httpx.AsyncClient(base_url=index, headers={"accept": "application/json"}) as opened:
        yield opened


async def get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Get one resource within the deadline of the current call, in a client span that the server can join.

    Args:
        client: the client.
        path: below the client's base URL.

    Returns:
        The response, whatever its status below 500 (429 excepted).

    Raises:
        DeadlineExceeded: when the time is up.
        Unavailable: when the server cannot be reached, breaks off, is overloaded or fails.
    """
    left = remaining()
    request = client.build_request("GET", path, timeout=PATIENCE if left is None else left)
    url = request.url
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "server.address": url.host,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "url.full": str(url),
    }
    # No exception is recorded here: the host that runs the function logs it, once.
    with _tracer.start_as_current_span(
        "GET", kind=SpanKind.CLIENT, attributes=attributes, record_exception=False
    ) as span:
        propagate.inject(request.headers)  # traceparent, and whatever else the process propagates
        try:
            response = await client.send(request)
        except httpx.TransportError as error:
            span.set_attribute("error.type", type(error).__name__)
            if isinstance(error, httpx.TimeoutException):
                check_deadline()  # raises when the time was up; else it was the server's silence
            raise Unavailable(str(client.base_url), f"{type(error).__name__}: {error}") from error
        status = response.status_code
        span.set_attribute("http.response.status_code", status)
        if response.is_error:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        if response.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS:
            raise Unavailable(str(client.base_url), f"it answered {status} {response.reason_phrase}")
        return response
