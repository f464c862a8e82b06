"""The tenant that a request is of, by what it carries as `Authorization: Bearer …`."""

from collections.abc import Callable, Mapping
from typing import Final

from jackfield import Host
from jackfield.identity import holder

Authenticate = Callable[[Mapping[bytes, bytes]], str | None]
"""Headers, or metadata, by name in lower case → the tenant, or None."""

_SCHEME: Final = b"bearer"
_LIMIT: Final = 8_192  # bytes of what can be a credential


class Identity:
    """Tells whose a request is by what the host's configuration says now, whenever it was applied.

    Args:
        host: whose tenants.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Tell the tenant; None when the request has no credential, or none that is good."""
        said = headers.get(b"authorization")
        if said is None or len(said) > _LIMIT:
            return None
        scheme, _, token = said.partition(b" ")
        if scheme.lower() != _SCHEME:
            return None
        return holder(self._host.snapshot.permissions.keys, token.strip())
