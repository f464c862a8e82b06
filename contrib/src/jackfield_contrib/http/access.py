"""Whose a request is."""

from collections.abc import Callable, Mapping
from typing import Final

from jackfield import Host
from jackfield_contrib.http.problems import Refused

Authenticate = Callable[[Mapping[bytes, bytes]], str | None]

_UNKNOWN: Final = "this host serves its tenants alone, and the request names none that it knows"


def nobody(_headers: Mapping[bytes, bytes]) -> None:
    """Know nobody: what is used before there are keys."""


class Access:
    """Tells whose requests are, and refuses those of nobody once there are tenants.

    Args:
        host: whose tenants.
        authenticate: tells the tenant by a request's headers, or None.
    """

    def __init__(self, host: Host, authenticate: Authenticate) -> None:
        self._host, self._authenticate = host, authenticate

    @property
    def closed(self) -> bool:
        """Whether there are tenants, and calls without one are refused."""
        return self._host.snapshot.permissions.pickers is not None

    def tenant(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Tell whose a request is; None in a host without tenants.

        Raises:
            Refused: when it is nobody's, and there are tenants.
        """
        if not self.closed:
            return None
        tenant = self._authenticate(headers)
        if tenant is None:
            raise Refused(401, _UNKNOWN, {"www-authenticate": "Bearer"})
        return tenant
