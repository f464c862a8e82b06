"""TLS of the door: certificates that may change while it is open, and those of clients."""

import ssl
from typing import Any, Final, Self

from jackfield.config import HttpDoorConfig
from jackfield.log import host_log
from jackfield_contrib.identity.certificates import stamps, subject_of

_VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}  # as the TLS extension of ASGI has them


class Renewed(ssl.SSLContext):
    """A server's context that is made anew for the next handshake when one of its files has changed.

    Each handshake looks at them, which costs a `stat` each; no connection that there is notices. What cannot be used,
    as while one of two files is written and the other is not yet, is told of once, and the last good ones stay.

    Args:
        settings: name the files.

    Raises:
        OSError: if they cannot be used.
    """

    def __new__(cls, _settings: HttpDoorConfig) -> Self:
        """Make what is only the place of the one that is used."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, settings: HttpDoorConfig) -> None:
        self._settings = settings
        self._seen = self._stamps()
        self._current = _context(settings)

    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        """Begin a connection with what the files say now; event loops begin theirs here."""
        seen = self._stamps()
        if seen != self._seen:
            self._seen = seen
            try:
                self._current = _context(self._settings)
            except OSError as error:
                host_log("ERROR", f"the changed certificate of the door cannot be used, the one before is: {error}")
            else:
                host_log("INFO", "the door has taken over its changed certificate")
        return self._current.wrap_bio(*arguments, **more)

    def _stamps(self) -> tuple[object, ...]:
        settings = self._settings
        return stamps((settings.tls_cert, settings.tls_key, settings.client_ca))


def _context(settings: HttpDoorConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert settings.tls_cert is not None  # noqa: S101  # whoever has read the configuration has seen to it
    # A key with a passphrase is an error: OpenSSL would ask the terminal for one.
    context.load_cert_chain(settings.tls_cert, settings.tls_key, password=b"")
    if settings.client_ca is not None:
        context.load_verify_locations(settings.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL  # those who have none may have a key; probes have neither
        # A session that is resumed is not verified again: not against another authority, and not by the clock.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_of(said: ssl.SSLObject) -> dict[str, Any]:
    """Tell of a client's certificate, as an extension of ASGI's scope; nothing when it has none.

    Args:
        said: what a connection says of its TLS.
    """
    if not said.getpeercert():
        return {}
    der = said.getpeercert(binary_form=True)
    extension = {
        "server_cert": None,
        "client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)],
        "client_cert_name": subject_of(said.getpeercert()),
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(said.version() or ""),
        "cipher_suite": None,
    }
    return {"tls": extension}
