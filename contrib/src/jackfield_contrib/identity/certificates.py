"""Certificates of clients, as the `ssl` module shows them once it has verified them."""

from collections.abc import Mapping
from typing import Any

from jackfield.model.subject import written


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
