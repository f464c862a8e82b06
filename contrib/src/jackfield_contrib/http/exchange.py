"""One request as it comes over ASGI, and its response: bodies, content types, headers, bounds."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Final

import msgspec

from jackfield import to_json
from jackfield.model.deadline import LONGEST
from jackfield.model.headers import Headers
from jackfield.wire.crossing import pack, unpack
from jackfield_contrib.http import problems
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.cycle import Cycle
from jackfield_contrib.http.presence import Gone, Receive
from jackfield_contrib.http.problems import Problem, Refused
from jackfield_contrib.identity import Memory

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = "application/json"
MESSAGEPACK: Final = "application/msgpack"
EVENTS: Final = "text/event-stream"

_JSON: Final = JSON.encode()
_MESSAGEPACKS: Final = frozenset({MESSAGEPACK.encode(), b"application/x-msgpack", b"application/vnd.msgpack"})
SECRET: Final = frozenset(
    {
        b"authorization", b"cookie", b"proxy-authorization", b"set-cookie", b"stripe-signature", b"webhook-signature",
        b"x-api-key", b"x-hub-signature", b"x-hub-signature-256",
    }
)  # fmt: skip
"""Headers that never enter a call."""

_OF_THE_HOP: Final = frozenset(
    {
        b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"expect", b"host",
        b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"x-timeout",
    }
)  # fmt: skip
"""Headers that are about the connection or the message, and say nothing to a function."""

_HELD_BACK: Final = SECRET | _OF_THE_HOP

_TYPES: Final = {kind: (b"content-type", kind.encode("ascii")) for kind in (JSON, MESSAGEPACK, problems.CONTENT_TYPE)}
_CLOSE: Final = {"connection": "close"}
_LATER: Final = {**_CLOSE, "retry-after": "1"}
_SMALL: Final = 65_536  # bytes of a body that has a place whatever else comes in
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_decode = msgspec.json.Decoder().decode


class _Receiving(threading.local):
    """What of bodies has come that are not whole yet: as many bytes as all that ask at once have sent."""

    size = 0


_receiving: Final = _Receiving()


class Exchange:
    """A request and where its response goes.

    Args:
        scope: of ASGI.
        receive: gives what the client sends.
        send: takes what it gets.
        bounds: of the request.

    Attributes:
        headers: name in lower case → value, both as bytes; of a name that comes several times all, joined by commas.
        tenant: whom it is of, or None.
        begun: whether a response has.
    """

    __slots__ = ("_bounds", "_cycle", "_scope", "_waited", "begun", "headers", "receive", "send", "tenant")

    def __init__(self, scope: Scope, receive: Receive, send: Send, bounds: Bounds) -> None:
        self._scope, self.receive, self.send, self._bounds = scope, receive, send, bounds
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        if len(self.headers) != len(scope["headers"]):
            self.headers = _joined(scope["headers"])
        self.tenant: str | None = None
        self.begun = False
        self._waited = 0.0
        cycle = getattr(receive, "__self__", None)  # of a connection of ours: much of it need not be waited for
        self._cycle = cycle if type(cycle) is Cycle else None

    @property
    def memory(self) -> Memory | None:
        """What the connection is remembered by, if that is kept."""
        return None if self._cycle is None else self._cycle.memory

    async def wait(self, turn: Awaitable[None]) -> None:
        """Wait for the turn of this request; that is part of the time that it has."""
        since = monotonic()
        await turn
        self._waited = monotonic() - since

    async def payload(self) -> Any:
        """Read the body as what its content type says; None when it is empty.

        Raises:
            Refused: when it is too large, too slow, of another type, or not what its type says.
            Gone: when the client has left.
        """
        return self.read(await self.body())

    def read(self, body: bytes) -> Any:
        """Read a body as what its content type says; None when it is empty.

        Raises:
            Refused: when it is of another type, or not what its type says.
        """
        if not body:
            return None
        kind = self.headers.get(b"content-type", b"")
        if kind != _JSON:  # nearly all have it so
            kind = kind.split(b";", 1)[0].strip().lower()
        try:
            if kind in (_JSON, b"") or kind.endswith(b"+json"):
                return _decode(body)
            if kind in _MESSAGEPACKS:
                return unpack(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            what = "JSON" if kind not in _MESSAGEPACKS else "MessagePack"
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise Refused(400, f"the body is no {what}: {reason}") from None
        came = ascii(kind.decode("latin-1"))[:80]
        fix = f"a body is {JSON} or {MESSAGEPACK}, and says so in its Content-Type; this one says {came}"
        raise Refused(415, f"{fix} (curl has --json for it)", {"accept": f"{JSON}, {MESSAGEPACK}"})

    async def body(self) -> bytes:
        """Give the body as it came.

        Raises:
            Refused: when it is too large, or too slow.
            Gone: when the client has left.
        """
        most = self._bounds.body
        if b"transfer-encoding" in self.headers or b"upgrade" in self.headers:
            self._refuse_two_ways()
        declared = self.headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            raise Refused(413, f"a body has at most {most:,} bytes")
        whole = self._cycle.taken() if self._cycle is not None else None
        if whole is None:
            return await self._parts(most)
        if len(whole) > most:
            raise Refused(413, f"a body has at most {most:,} bytes")
        return whole

    async def _parts(self, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._bounds.patience):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise Refused(413, f"a body has at most {most:,} bytes")
                    parts.append(part)
                    _receiving.size += len(part)
                    if not message.get("more_body"):
                        return b"".join(parts)
                    if _receiving.size > self._bounds.receiving and size > _SMALL:
                        raise Refused(503, "too much is coming in at once: try again in a moment", _LATER)
        except TimeoutError:
            raise Refused(408, f"the body has not come within {self._bounds.patience:g} s", _CLOSE) from None
        finally:
            _receiving.size -= sum(map(len, parts))

    def _refuse_two_ways(self) -> None:
        """Refuse a body of which it can be told in two ways where it ends, or whose it is."""
        headers = self.headers
        chunked, length = b"transfer-encoding" in headers, headers.get(b"content-length")
        if chunked and length is not None:  # RFC 9112, 6.1: it is smuggled
            raise Refused(400, "a body has a length or comes in chunks, and not both", _CLOSE)
        # The parser takes what follows for the other protocol, and leaves the body out.
        if b"upgrade" in headers.get(b"connection", b"").lower() and (chunked or length not in (None, b"0")):
            raise Refused(400, "no body is read of a request that would change the protocol: leave out Upgrade", _CLOSE)

    def timeout(self) -> float | None:
        """Read `X-Timeout`: seconds that the call may take, or None.

        Raises:
            Refused: when it is no positive number.
        """
        said = self.headers.get(b"x-timeout")
        if said is None:
            return None
        try:
            seconds = float(said)
        except ValueError:
            seconds = math.nan
        if not 0.0 < seconds <= LONGEST:
            shown = ascii(said.decode("latin-1"))[:50]
            raise Refused(400, f"X-Timeout is a positive number of seconds, of at most {LONGEST:,.0f}, not {shown}")
        return max(seconds - self._waited, 0.0) if self._waited else seconds

    def passed_on(self) -> Headers | None:
        """Give the headers that enter a call: none that holds a secret or is about the connection.

        Raises:
            Refused: when there are too many, or one is too long.
        """
        said = {name: value for name, value in self.headers.items() if name not in _HELD_BACK}
        if not said:
            return None
        if max(map(len, said.values())) > self._bounds.header:
            raise Refused(431, f"a header has at most {self._bounds.header:,} characters")
        if len(said) > self._bounds.headers:
            raise Refused(431, f"a request has at most {self._bounds.headers} headers")
        return Headers.in_lower_case({name.decode("latin-1"): value.decode("latin-1") for name, value in said.items()})

    @property
    def wants_messagepack(self) -> bool:
        """Whether the response is to be MessagePack: it is asked for, or nothing is and the request is."""
        wanted = self.headers.get(b"accept")
        if wanted is not None and b"msgpack" in wanted:
            return True
        return (wanted is None or b"*/*" in wanted) and b"msgpack" in self.headers.get(b"content-type", b"")

    @property
    def wants_events(self) -> bool:
        """Whether the client watches the call that it asks for."""
        return b"text/event-stream" in self.headers.get(b"accept", b"")

    def written(self, value: Any) -> msgspec.Raw:
        """Write what a function has given, as the client wants it.

        Raises:
            TypeError: with the path of what has no form.
        """
        return msgspec.Raw(pack(value) if self.wants_messagepack else to_json(value))

    async def result(
        self, written: bytes | msgspec.Raw, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send what `written` has given."""
        await self.raw(status, MESSAGEPACK if self.wants_messagepack else JSON, bytes(written), headers)

    @property
    def client(self) -> str:
        """Where the request comes from, as far as that is known."""
        client = self._scope.get("client")
        return "" if client is None else str(client[0])

    @property
    def query(self) -> str:
        """What follows the path, as it came."""
        found: bytes = self._scope.get("query_string", b"")
        return found.decode("latin-1")

    def below(self, path: str) -> str:
        """Give a path of the application as clients see it, wherever it is mounted."""
        root: str = self._scope.get("root_path", "")
        return root + path

    async def results(self, entries: list[dict[str, Any]], status: int = 200) -> None:
        """Send plain data in which results are what `written` has given."""
        if self.wants_messagepack:
            await self.raw(status, MESSAGEPACK, msgspec.msgpack.encode(entries))
        else:
            await self.raw(status, JSON, msgspec.json.encode(entries))

    async def problem(self, problem: Problem) -> None:
        """Send what went wrong."""
        await self.raw(problem.status, problems.CONTENT_TYPE, to_json(problem.document), problem.headers)

    async def raw(self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a response."""
        said = _TYPES.get(kind) or (b"content-type", kind.encode("latin-1"))
        lines = [said, (b"content-length", b"%d" % len(body)), _NO_SNIFFING]
        if headers:
            lines += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self.begun = True
        if self._cycle is not None and self._cycle.answer(status, lines, body):
            return
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self.send({"type": "http.response.body", "body": b"" if self._scope["method"] == "HEAD" else body})


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Join headers of one name, as RFC 9110, 5.3 has it: two of what may come once are nothing that anybody knows."""
    made: dict[bytes, bytes] = {}
    for name, value in headers:
        made[name] = made[name] + b", " + value if name in made else value
    return made
