"""Metadata of an RPC and headers of a call: what of them enters the call."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from jackfield_contrib.http.exchange import SECRET
from jackfield_contrib.http.problems import Refused

_OF_THE_HOP: Final = frozenset({"content-type", "host", "te", "user-agent"})
_SECRET: Final = frozenset(name.decode() for name in SECRET)


def by_name(metadata: Iterable[tuple[str, str | bytes]]) -> dict[bytes, bytes]:
    """Give metadata as HTTP's headers are: name in lower case → value; of a name that comes twice the last."""
    return {name.encode(): value.encode() if isinstance(value, str) else value for name, value in metadata}


def context_of(metadata: Iterable[tuple[str, str | bytes]], peer: str) -> dict[str, Any]:
    """Give what tells where an RPC comes from, as an ASGI scope does for a request.

    Args:
        metadata: of the RPC.
        peer: as grpcio names it: `ipv4:127.0.0.1:40000`, `ipv6:[::1]:40000` (escaped), `unix:`.
    """
    family, _, address = peer.partition(":")
    host = unquote(address).rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""
    lines = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in metadata]
    return {"client": (host, 0) if host else None, "headers": lines}


def passed_on(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Give the metadata that enters a call: none that holds a secret, is binary, or is about the connection."""
    return {
        name: value
        for name, value in metadata
        if isinstance(value, str)
        and name not in _SECRET
        and name not in _OF_THE_HOP
        and not name.startswith(("grpc-", ":"))
    }


def merged(around: Mapping[str, str], own: Mapping[str, str], most: int) -> dict[str, str]:
    """Add a call's own headers to those of its RPC.

    Args:
        around: those of the RPC.
        own: the call's, which come first.
        most: bytes that all of its own may have.

    Raises:
        Refused: when they have more.
    """
    if sum(len(name) + len(value) for name, value in own.items()) > most:
        raise Refused(431, f"the headers of a call have at most {most:,} bytes")
    mine = {name.lower(): value for name, value in own.items()}
    return {**around, **{name: value for name, value in mine.items() if name not in _SECRET}}
