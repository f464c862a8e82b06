"""The tenant that a request is of, by what it carries as `Authorization: Bearer …`."""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from jackfield import Host
from jackfield.identity import Audit, holder

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
        self._host, self._audit = host, Audit()

    def __call__(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Tell the tenant; None when the request has no good credential, of which there is a record."""
        try:
            return self._tenant(headers.get(b"authorization"))
        except _NotGood as refused:
            self._audit.refused(refused.reason)
            return None

    def _tenant(self, said: bytes | None) -> str:
        if said is None:
            raise _NotGood("it has none")
        scheme, _, token = said.partition(b" ")
        if scheme.lower() != _SCHEME or len(said) > _LIMIT:
            raise _NotGood("it is no bearer token" if len(said) <= _LIMIT else f"it has more than {_LIMIT:,} bytes")
        tenant = holder(self._host.snapshot.permissions.keys, token.strip())
        if tenant is None:
            raise _NotGood("nobody has this key")
        return tenant


@attrs.frozen
class _NotGood(Exception):
    reason: str
