"""Whose a request is, and what of it counts."""

from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from jackfield import Host, Submission
from jackfield.config.doors_check import is_loopback
from jackfield.errors import Unavailable
from jackfield.model.entrance import Entrance
from jackfield_contrib.http.pages import is_foreign, is_renamed
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.identity import Authenticate, Identity, Memory, retraced

__all__ = ["Access", "Authenticate"]

_CREDENTIAL: Final = b"authorization"
_TRACE: Final = b"traceparent"
_NONE: Final[Mapping[str, Any]] = {}
_PAGE: Final = "a page of another site asks, and nothing that it has says whose it is: give tenants keys, and send one"
_NO_STORE: Final = "this host has no store that lasts: whoever runs it adds [store] to its configuration, with a url"
_UNKNOWN: Final = (
    "this host serves its tenants alone: a request has the key or token of one, as in `Authorization: Bearer KEY`"
)


class Access:
    """Tells whose requests are, and refuses those of nobody once there are tenants.

    Args:
        host: whose tenants.
        authenticate: tells the tenant by a request's headers, or None; by default what the host's configuration says.
        strangers: whether others than this machine can come; then those of nobody are refused without tenants, too,
            as after an apply that took them all away.
        near: whether this machine's browsers reach it under loopback's own addresses; then what pages of others ask is
            refused without tenants.
    """

    def __init__(
        self, host: Host, authenticate: Authenticate | None = None, *, strangers: bool = False, near: bool = False
    ) -> None:
        self._strangers, self._near = strangers, near
        self._host: Host = host
        self._authenticate: Authenticate = authenticate or Identity(host)
        self._identity = self._authenticate if isinstance(self._authenticate, Identity) else None

    @property
    def closed(self) -> bool:
        """Whether calls without a tenant are refused: there are tenants, or should be."""
        return self._strangers or self._host.snapshot.permissions.pickers is not None

    def tenant(self, headers: dict[bytes, bytes], scope: Mapping[str, Any], memory: Memory | None = None) -> str | None:
        """Tell whose a request is; None in a host without tenants.

        Args:
            headers: of the request, by name; what does not count of a stranger's is changed there.
            scope: of ASGI.
            memory: of the connection, if that is kept.

        Raises:
            Refused: when it is nobody's, and there are tenants; or when a page of another site would be somebody by
                where it is asked from alone.
        """
        if not self.closed:
            self.keep_out_pages(headers)
            return None
        if _CREDENTIAL not in headers and is_foreign(headers):  # a browser shows its certificate to whoever asks
            raise Refused(403, _PAGE)
        if _is_ambiguous(headers, scope):
            headers[_CREDENTIAL] = b""  # none of them counts
        tenant = self._authenticate(headers) if self._identity is None else self._identity(headers, memory)
        if tenant is None:
            # The same for whatever is wrong: who tries keys learns nothing.
            raise Refused(401, _UNKNOWN, {"www-authenticate": "Bearer"})
        if (trace := headers.get(_TRACE)) is not None and tenant not in self._host.snapshot.permissions.traced:
            headers[_TRACE] = retraced(trace)
        return tenant

    def keep_out_pages(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what a page of another site has a browser of this machine ask, where that alone would be enough.

        Raises:
            Refused: if it is that.
        """
        if self._near and (is_foreign(headers) or is_renamed(headers)):
            raise Refused(403, _PAGE)

    def may_watch(self, headers: dict[bytes, bytes], scope: Mapping[str, Any]) -> bool:
        """Tell whether metrics are for whoever asks: everybody without tenants, else this machine and operators."""
        if not self.closed or _is_on_this_machine(scope):
            return True
        return self.tenant(headers, scope) in self._host.snapshot.permissions.operators

    def owner(self, tenant: str | None) -> str | None:
        """Tell whose submitted calls are there for a tenant: its own; None: everybody's, for operators."""
        return None if tenant in self._host.snapshot.permissions.operators else tenant

    def accepts(self) -> None:
        """Refuse calls for later where none would outlive the host.

        Raises:
            Unavailable: if the host has no store that lasts.
        """
        if not self._host.durable_calls.lasts:
            raise Unavailable("submitted calls", _NO_STORE, "store", ran=False)

    def submission(self, identifier: str, tenant: str | None) -> Submission:
        """Find a submitted call.

        Raises:
            Refused: if there is none, or not for this tenant, which is the same to it.
        """
        owner = self.owner(tenant)
        with suppress(LookupError):
            handle = self._host.submitted(identifier)
            if owner is None or owner == handle.tenant:
                return handle
        raise Refused(404, "there is no such call, or it is not kept any more")


def entrance_of(scope: Mapping[str, Any], path: str) -> Entrance:
    """Tell where a request has come in.

    Args:
        scope: of ASGI.
        path: within the application.
    """
    client = scope.get("client")
    tls = (scope.get("extensions") or _NONE).get("tls") or _NONE
    subject = tls.get("client_cert_name") or ""
    return Entrance("http", client[0] if client else "", subject, f"{scope['method']} {path}", perf_counter())


def _is_ambiguous(headers: Mapping[bytes, bytes], scope: Mapping[str, Any]) -> bool:
    """Tell whether a request has two credentials: whoever is in front of the door may have looked at the other one."""
    lines = scope["headers"]
    return len(lines) != len(headers) and sum(name == _CREDENTIAL for name, _ in lines) > 1


def _is_on_this_machine(scope: Mapping[str, Any]) -> bool:
    """Tell whether a client is on this machine; through a Unix socket a proxy may pass on anybody."""
    client = scope.get("client")
    return client is not None and is_loopback(client[0])
