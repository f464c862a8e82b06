"""Requests that a web page makes: its browser sends them from where the page may not be trusted to ask.

Whatever page somebody on this machine looks at can have their browser send a request to a door on loopback, and to one
that knows them by a certificate. The browser says so in `Origin` and `Sec-Fetch-Site`, which no page can change.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from jackfield.config.doors_check import is_loopback

_ORIGIN = b"origin"
_SITE = b"sec-fetch-site"
_OWN = frozenset({b"same-origin", b"none"})  # of pages of the door itself; by hand, as an address that somebody types


def is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a page of another site asks.

    Args:
        headers: of the request, by name in lower case.
    """
    site = headers.get(_SITE)
    if site is not None:
        return site not in _OWN
    origin = headers.get(_ORIGIN)
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")


def is_renamed(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a page asks that reaches this machine by a name of its own, so that the browser takes both for one.

    Args:
        headers: of the request, by name in lower case.
    """
    if _SITE not in headers and _ORIGIN not in headers:
        return False
    try:
        name = urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname
    except ValueError:
        name = None
    return not is_loopback(name or "")
