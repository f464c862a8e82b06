"""Definitions of words, from a DICT server (RFC 2229); and the words of a text, sorted in a temporary file."""

import re
import socket
import tempfile
from typing import Final

from jackfield import Rejected, function, remaining

__all__ = ["SERVER", "define", "distinct", "health", "shutdown"]

SERVER: Final = ("127.0.0.1", 2628)
"""Where definitions come from: the one address that the manifest asks for."""

_WORD: Final = re.compile(r"[\w'-]{1,64}")
_MOST: Final = 1_000_000  # bytes of an answer
_PATIENCE: Final = 5.0  # seconds, for a call without a deadline


@function(idempotent=True)
def define(word: str) -> list[str]:
    """Look a word up.

    Args:
        word: letters, digits, apostrophes and hyphens.

    Raises:
        Rejected: code `no_word` for what is none, `unknown_word` when the server has no definition.
        ConnectionError: when there is no server.
    """
    if not _WORD.fullmatch(word):  # a line break in it would be another command
        raise Rejected("a word has letters, digits, apostrophes and hyphens", code="no_word")
    left = remaining()
    with socket.create_connection(SERVER, timeout=_PATIENCE if left is None else left) as connection:
        connection.sendall(f"DEFINE * {word}\r\nQUIT\r\n".encode())
        with connection.makefile("rb") as answer:
            lines = answer.read(_MOST).decode("utf-8", "replace").splitlines()
    if any(line.startswith("552") for line in lines):
        raise Rejected(f"nobody knows {word!r}", code="unknown_word")
    return _definitions(lines)


def _definitions(lines: list[str]) -> list[str]:
    """Take the texts out of an answer: each comes behind a line 151 and ends with a full stop on a line of its own."""
    found: list[str] = []
    text: list[str] | None = None
    for line in lines:
        if text is None:
            text = [] if line.startswith("151") else None
        elif line == ".":
            found.append("\n".join(text))
            text = None
        else:
            text.append(line.removeprefix("."))  # a full stop at the beginning is sent twice
    return found


@function(idempotent=True)
def distinct(text: str) -> list[str]:
    """Give the words of a text, each once, in order: they go through a file, as more than fits into memory would."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        file.writelines(f"{word}\n" for word in _WORD.findall(text.lower()))
        file.seek(0)
        return sorted({line.rstrip("\n") for line in file})


def health() -> str:
    """Tell how it is; the manifest's `healthcheck`. It needs no server: without one, it can still do the rest."""
    return "ok"


def shutdown() -> None:
    """Nothing is kept between calls; the manifest's `graceful-shutdown`."""
