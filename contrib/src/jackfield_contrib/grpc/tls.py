"""The certificate of a door, read again when its files are others."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import grpc

from jackfield.config import GrpcDoorConfig
from jackfield.errors import Unavailable
from jackfield.log import host_log
from jackfield_contrib.identity.certificates import stamps, unusable


def credentials(settings: GrpcDoorConfig) -> grpc.ServerCredentials | None:
    """Give what a server needs for TLS; None where it has no certificate.

    Raises:
        Unavailable: when the files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    files = Files(settings.tls_cert, settings.tls_key, settings.client_ca)
    try:
        first = files.read()
    except OSError as error:  # ssl's errors are of these
        raise Unavailable("door grpc", unusable(settings, error)) from error
    asks = settings.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(first, files.changed, asks)  # type: ignore[arg-type]  # None is: no other


class Files:
    """The files of a certificate.

    Args:
        cert: the certificate with its chain.
        key: its private key.
        authority: who signs the certificates of clients, or None.
    """

    def __init__(self, cert: str, key: str, authority: str | None) -> None:
        self._cert, self._key, self._authority = cert, key, authority
        self._seen: tuple[object, ...] = ()
        self._loop = asyncio.get_running_loop()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read them.

        Raises:
            OSError: when they cannot be used.
        """
        self._seen = self._stamps()
        # grpcio says of what it cannot use only that it cannot, and of what it reads later nothing.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A key with a passphrase is an error: OpenSSL would ask the terminal for one.
        context.load_cert_chain(self._cert, self._key, password=b"")
        if self._authority is not None:
            context.load_verify_locations(self._authority)
        pair = Path(self._key).read_bytes(), Path(self._cert).read_bytes()
        authority = None if self._authority is None else Path(self._authority).read_bytes()
        return grpc.ssl_server_certificate_configuration([pair], authority)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Give what they are now, if that is something else; asked for each connection, by a thread of grpcio's."""
        if self._stamps() == self._seen:
            return None
        try:
            return self.read()
        except OSError as error:  # half of it is written: that is told of once, until one of them changes again
            told = f"door grpc: the certificate in {self._cert} cannot be used, the last one stays: {error}"
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(host_log, "ERROR", told)
            return None

    def _stamps(self) -> tuple[object, ...]:
        return stamps((self._cert, self._key, self._authority))
