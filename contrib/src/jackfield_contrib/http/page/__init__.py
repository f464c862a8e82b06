"""The page that shows what can be called: Swagger UI, which is here, over the OpenAPI document beside it.

The page itself is the same for everybody and names nothing, so it is open; what it shows is the document, which is of
the reader's own functions. All that it refers to is relative, so it works wherever it is mounted and whatever is in
front of it, and it loads nothing from anywhere else.
"""

import asyncio
import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import attrs

from jackfield_contrib.http.exchange import Exchange

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_FILES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "/docs": ("page.html", "text/html; charset=utf-8"),
        "/docs/page.js": ("page.js", _SCRIPT),
        "/docs/page.css": ("page.css", _STYLE),
        "/docs/favicon.png": ("swagger-ui/favicon-32x32.png", "image/png"),
        "/docs/swagger-ui.js": ("swagger-ui/swagger-ui-bundle.js", _SCRIPT),
        "/docs/swagger-ui.css": ("swagger-ui/swagger-ui.css", _STYLE),
    }
)
_ASIDE: Final = "/docs/"  # where what the page refers to would not be found

PATHS: Final = frozenset({*_FILES, _ASIDE})
"""What is answered here."""


@attrs.frozen
class _File:
    kind: str
    body: bytes
    packed: bytes
    tag: str


async def answer(path: str, exchange: Exchange) -> None:
    """Answer a request for the page or a part of it.

    Args:
        path: one of `PATHS`.
        exchange: the request.
    """
    if path == _ASIDE:
        await exchange.raw(308, "text/plain", b"", {"location": "../docs"})
        return
    file = await asyncio.to_thread(_read, path)
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": _POLICY,
        "cross-origin-opener-policy": "same-origin",
        "etag": file.tag,
        "referrer-policy": "no-referrer",
        "vary": "accept-encoding",
    }
    if exchange.headers.get(b"if-none-match", b"").decode("latin-1") == file.tag:
        await exchange.raw(304, file.kind, b"", headers)
    elif b"gzip" in exchange.headers.get(b"accept-encoding", b""):
        await exchange.raw(200, file.kind, file.packed, {**headers, "content-encoding": "gzip"})
    else:
        await exchange.raw(200, file.kind, file.body, headers)


@cache
def _read(path: str) -> _File:
    name, kind = _FILES[path]
    body = files(__name__).joinpath(name).read_bytes()
    return _File(kind, body, gzip.compress(body, mtime=0), f'"{sha256(body).hexdigest()[:32]}"')
