"""Certificates of doors and of their clients, as the `ssl` module takes and shows them."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from jackfield.config import GrpcDoorConfig, HttpDoorConfig
from jackfield.model.subject import written


def unusable(settings: HttpDoorConfig | GrpcDoorConfig, error: OSError) -> str:
    """Say that the files of a door cannot be used: OpenSSL names none of them.

    Examples:
        >>> unusable(HttpDoorConfig(tls_cert="c.pem", tls_key="k.pem"), OSError("key values mismatch"))
        'c.pem and k.pem cannot be used: key values mismatch: they are PEM, and of one another; a key has no passphrase'
    """
    files = [file for file in (settings.tls_cert, settings.tls_key, settings.client_ca) if file is not None]
    reason = error.strerror or str(error)
    fix = "they are PEM, and of one another; a key has no passphrase"
    return f"{', '.join(files[:-1])} and {files[-1]} cannot be used: {reason}: {fix}"


def stamps(files: Iterable[str | None]) -> tuple[object, ...]:
    """Give what differs when one of some files does, or whether it may be read; asked for each connection.

    Args:
        files: their paths; None for one that there is not.
    """
    return tuple(_stamp(file) for file in files if file is not None)


def _stamp(file: str) -> object:
    try:
        found = os.stat(file)  # noqa: PTH116  # for each connection
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def subject_of(certificate: Mapping[str, Any] | None) -> str:
    """Give the subject of a verified certificate in the form that configurations are compared in.

    Args:
        certificate: what `SSLSocket.getpeercert()` gives; it is empty, or None, where there is none.

    Returns:
        The distinguished name as RFC 4514 writes it; "" where there is none.

    Examples:
        >>> subject_of({"subject": ((("organizationName", "Acme"),), (("commonName", "billing"),))})
        'CN=billing,O=Acme'
    """
    parts = (certificate or {}).get("subject", ())
    return written(reversed(parts))
