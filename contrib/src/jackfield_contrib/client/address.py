"""Where a host is, as a URL says it, and whether a key may be sent there."""

from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from jackfield.config.doors_check import is_loopback

_FORMS: Final = "http://HOST:PORT, https://HOST:PORT or http+unix:///PATH/OF/SOCKET"


@attrs.frozen
class Address:
    """Where a door listens.

    Attributes:
        url: for people; it never holds a secret.
        base: what paths are appended to.
        socket: the Unix socket, or None.
    """

    url: str
    base: str
    socket: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Args:
            url: `http://HOST:PORT` or `https://HOST:PORT`, with the path below which the door is mounted if there is
                one; `http+unix:///PATH`, or `unix:/PATH` as `pluginctl status` writes it.

        Raises:
            TypeError: if it is no text.
            ValueError: if it is none of these.

        Examples:
            >>> Address.parse("http://127.0.0.1:8080/fn/").base
            'http://127.0.0.1:8080/fn'
            >>> Address.parse("unix:/run/jackfield.sock").socket
            '/run/jackfield.sock'
        """
        if not isinstance(url, str):
            raise TypeError(f"the URL of a host is a str, not {type(url).__name__}")
        try:
            parts = urlsplit(url)
            scheme, host, _port = parts.scheme, parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"this is no URL of a host ({error}): it is {_FORMS}") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL holds no name and no password: give the key as key=")
        if parts.query or parts.fragment:
            raise ValueError(f"a URL of a host has no query and no fragment: it is {_FORMS}")
        if scheme in ("http+unix", "unix"):
            return cls._unix(parts)
        if scheme not in ("http", "https") or not host:
            raise ValueError(f"this is no URL of a host: {ascii(url)[:80]}: it is {_FORMS}")
        base = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        return cls(base, base)

    @classmethod
    def _unix(cls, parts: SplitResult) -> Self:
        # `http+unix://%2Frun%2Fs.sock/prefix`, as others write it, can say where the door is mounted.
        path, below = (unquote(parts.netloc), parts.path) if parts.netloc else (unquote(parts.path), "")
        if not path.startswith("/"):
            raise ValueError("a Unix socket is named by its whole path: http+unix:///run/jackfield/http.sock")
        return cls(f"http+unix://{path}", f"http://jackfield{below.rstrip('/')}", path)

    @property
    def private(self) -> bool:
        """Whether nobody beyond this machine can read what is sent there, and nobody else can answer."""
        parts = urlsplit(self.base)
        return self.socket is not None or parts.scheme == "https" or is_loopback(parts.hostname or "")


def checked_key(key: str | None, address: Address, *, insecure: bool) -> str | None:
    """Check that a key can be sent, and may be.

    Raises:
        TypeError: if it is no text.
        ValueError: if it cannot be a key, or would be readable on its way. The key is not part of what is said.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("a key is printable ASCII without spaces")
    if not address.private and not insecure:
        raise ValueError(
            f"{address.url} is beyond this machine, and all who are between could read the key: use https://, or say"
            " insecure=True, which is --insecure of pluginctl"
        )
    return key
