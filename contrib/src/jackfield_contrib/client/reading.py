"""The body of an answer, of which there may be only so much: whoever answers may be anybody."""

from typing import Final

import aiohttp

from jackfield.errors import Unavailable

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of an answer, in memory at once."""


async def whole(response: aiohttp.ClientResponse, url: str) -> bytes:
    """Read the body of an answer.

    Args:
        response: the answer.
        url: who has answered.

    Raises:
        Unavailable: when it is larger than any may be, or has no end.
    """
    length = response.content_length
    if length is not None and length <= LARGEST:  # nearly all say so
        return await response.read()
    parts, size = [], 0 if length is None else length
    while size <= LARGEST and (part := await response.content.readany()):
        parts.append(part)
        size += len(part)
    if size > LARGEST:
        raise Unavailable(url, f"it answers with more than {LARGEST:,} bytes", "protocol", ran=None)
    return b"".join(parts)
