"""Whose an RPC is, and what of its metadata enters the calls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import attrs

from jackfield import Host, Submission
from jackfield.model.entrance import Entrance, entrance
from jackfield.model.headers import Headers
from jackfield_contrib.grpc.functions_pb2 import Call
from jackfield_contrib.http import access as http
from jackfield_contrib.http.exchange import SECRET
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.identity import Authenticate, retraced

Context = Any  # of an RPC: what grpcio gives has no type that could be named
Metadata = Sequence[tuple[str, str | bytes]]

_TRACE: Final = "traceparent"
_SUBJECT: Final = "x509_subject"  # as grpcio calls that of a client's certificate
_OF_THE_HOP: Final = frozenset({"content-type", "host", "te", "user-agent"})
_SECRET: Final = frozenset(name.decode() for name in SECRET)


@attrs.frozen
class Asker:
    """Who asks, and with what.

    Attributes:
        tenant: whom calls are for, or None.
        headers: of the RPC, which enter its calls; None when there are none.
        traced: whether it says which of its traces are recorded.
    """

    tenant: str | None = None
    headers: Mapping[str, str] | None = None
    traced: bool = True

    def headers_of(self, call: Call, most: int) -> Headers:
        """Give the headers of a call: its own, then those of the RPC.

        Args:
            call: what came. The version that it names is one of them: only there is seen whether it may name any.
            most: bytes that its own may have.

        Raises:
            Refused: when they have more.
        """
        own = {**call.headers, "x-version": call.version} if call.version else call.headers
        if sum(len(name) + len(value) for name, value in own.items()) > most:
            raise Refused(431, f"the headers of a call have at most {most:,} bytes")
        return Headers({**(self.headers or {}), **_entering(((k.lower(), v) for k, v in own.items()), self.traced)})


class Access:
    """Tells whose RPCs are, and refuses those of nobody once there are tenants.

    Args:
        host: whose tenants.
        authenticate: tells the tenant by metadata, or None; by default what the host's configuration says.
        strangers: whether others than this machine can come; then those of nobody are refused without tenants, too.
    """

    def __init__(self, host: Host, authenticate: Authenticate | None, *, strangers: bool) -> None:
        self._host: Host = host
        self._access = http.Access(host, authenticate, strangers=strangers)

    def asker(self, context: Context, what: str, since: float = 0.0) -> Asker:
        """Tell whose an RPC is.

        Args:
            context: of the RPC.
            what: it asks for.
            since: when its call came, by `perf_counter`; 0 for a session, whose calls come at any time.

        Raises:
            Refused: when it is nobody's, and there are tenants.
            Unavailable: while nobody can tell.
        """
        metadata: Metadata = context.invocation_metadata()
        subject = b"".join(context.auth_context().get(_SUBJECT, ())).decode("utf-8", "replace")
        entrance.set(Entrance("grpc", _client(context.peer()), subject, what, since))
        if not self._access.closed:
            return Asker(None, _entering(metadata) or None)
        lines = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in metadata]
        tenant = self._access.tenant(dict(lines), {"headers": lines})
        traced = tenant in self._host.snapshot.permissions.traced
        return Asker(tenant, _entering(metadata, traced) or None, traced)

    def accepts(self) -> None:
        """Refuse calls for later where none would outlive the host; as for HTTP."""
        self._access.accepts()

    def submission(self, identifier: str, tenant: str | None) -> Submission:
        """Find a submitted call; as for HTTP."""
        return self._access.submission(identifier, tenant)

    def owner(self, tenant: str | None) -> str | None:
        """Tell whose submitted calls are there for a tenant; as for HTTP."""
        return self._access.owner(tenant)


def _client(peer: str) -> str:
    """Give the address of `ipv4:127.0.0.1:9090` and `ipv6:%5B::1%5D:9090`; others have none."""
    family, _, where = peer.partition(":")
    return unquote(where).rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""


def _entering(metadata: Iterable[tuple[str, str | bytes]], traced: bool = True) -> dict[str, str]:
    """Give what enters a call: nothing that holds a secret, is binary, or is about the connection."""
    kept = {
        name: value
        for name, value in metadata
        if isinstance(value, str)
        and name not in _SECRET
        and name not in _OF_THE_HOP
        and not name.startswith(("grpc-", ":"))
    }
    if not traced and _TRACE in kept:
        kept[_TRACE] = retraced(kept[_TRACE].encode()).decode()
    return kept
