"""Metrics as text, in the form that whoever asks understands best."""

import gzip
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

_FAST: Final = 1  # level of compression: text of this kind shrinks to a tenth with it already


def render(registry: CollectorRegistry, query: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str], bytes]:
    r"""Render what a registry has, as OpenMetrics or as the classic text form.

    Every collector of the registry is asked, in this thread: this may take a while.

    Args:
        registry: whose metrics.
        query: of the address, as in `name[]=up&name[]=down`: only these series.
        headers: of the request, their names in lower case; `accept` and `accept-encoding` count.

    Returns:
        The content type, further headers, and the text.

    Examples:
        >>> from prometheus_client import Gauge
        >>> registry = CollectorRegistry()
        >>> Gauge("answer", "To everything.", registry=registry).set(42)
        >>> render(registry, "", {})
        ('text/plain; version=0.0.4; charset=utf-8', {...}, b'...answer 42.0\n')
    """
    encoder, content_type = choose_encoder(headers.get("accept", ""))
    names = parse_qs(query).get("name[]")
    text: bytes = encoder(registry.restricted_registry(names) if names else registry)
    if gzip_accepted(headers.get("accept-encoding", "")):
        return content_type, {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}, gzip.compress(text, _FAST)
    return content_type, {"Vary": "Accept-Encoding"}, text
