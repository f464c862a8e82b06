"""What is wrong at one key, and how a key is written."""

import json
import re
from collections.abc import Collection

import attrs

from jackfield.model.names import close_names

KeyPath = tuple[str | int, ...]
"""Where in the document: table keys, and 0-based places in arrays."""

PLACEHOLDER = "placeholder__"
"""Stands where a text is missing or wrong, and is good as any: the rest can still be checked."""

DIGEST_PLACEHOLDER = "sha256:" + "0" * 64
"""The same where the digest of a key is wrong."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SHOWN = 60


@attrs.frozen
class Problem:
    """One thing that is wrong with the document, not yet located in the text.

    Attributes:
        path: the key it is about.
        reason: what is wrong, as a clause.
        fix: what to do about it, as a clause.
    """

    path: KeyPath
    reason: str
    fix: str = ""


def key_text(path: KeyPath) -> str:
    """Write a path as an operator would.

    Examples:
        >>> key_text(("plugin", 2, "functions", "text.slugify"))
        'plugin[2].functions."text.slugify"'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if len(part) <= _SHOWN else part[:_SHOWN] + "…"
            bare = shown if _BARE_KEY.fullmatch(shown) else json.dumps(shown, ensure_ascii=not shown.isprintable())
            text += f".{bare}" if text else bare
    return text


def quoted(value: str) -> str:
    """Show a value that came from the file: short, and without control characters."""
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return repr(shown) if shown.isprintable() else ascii(shown)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Suggest known names that resemble an unknown one, or list the known ones when there are few; else "".

    Examples:
        >>> did_you_mean("timeut", ["timeout", "version"])
        "did you mean 'timeout'?"
    """
    if close := close_names(name, known):
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"known here: {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""  # noqa: PLR2004  # fits on a line
