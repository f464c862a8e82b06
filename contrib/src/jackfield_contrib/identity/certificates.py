"""Certificates of doors and of their clients, as the `ssl` module takes and shows them."""

from collections.abc import Mapping
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
