"""Keys and values of a store: what may be one, checked the same way by every adapter.

A key is a path: segments joined by "/", as in `hosts/blue-1/state/billing`. A prefix is such a path with a "/" behind
it, for all that is below; or "" for everything; or a key, for that one. Since a prefix ends where a segment does,
`state/bill/` never reaches what stands under `state/billing/`.
"""

from typing import Final

KEY_LIMIT: Final = 1024
"""The most bytes that a key may have in UTF-8."""

VALUE_LIMIT: Final = 1_048_576
"""The most bytes that one value may have."""

_FIX: Final = "a key is a path of printable segments, as in 'hosts/blue-1/state/billing'"


def check_key(key: str) -> None:
    """Refuse what cannot be a key.

    Args:
        key: the proposed key.

    Raises:
        ValueError: if it is empty or too long, or a segment is empty, "." or "..", or not printable.

    Examples:
        >>> check_key("state//billing")
        Traceback (most recent call last):
        ...
        ValueError: 'state//billing' is no key: a segment is empty: a key is a path of printable segments, ...
    """
    reason = _fault(key)
    if reason:
        raise ValueError(f"{ascii(key)[:80]} is no key: {reason}: {_FIX}")


def check_prefix(prefix: str) -> None:
    """Refuse what cannot be a prefix.

    Args:
        prefix: "" for everything, a path that ends in "/" for what is below it, or one key.

    Raises:
        ValueError: if it is none of these.
    """
    reason = _fault(prefix[:-1] if prefix[-1:] == "/" else prefix) if prefix != "" else ""
    if reason:
        raise ValueError(f"{ascii(prefix)[:80]} is no prefix: {reason}: {_FIX}, and a prefix may have a '/' behind it")


def check_value(key: str, value: bytes) -> None:
    """Refuse what cannot be a value.

    Args:
        key: where it is to stand, for the error.
        value: the proposed value.

    Raises:
        TypeError: if it is not bytes.
        ValueError: if it is too large.
    """
    if not isinstance(value, bytes):
        raise TypeError(f"{key}: a value is bytes, not {type(value).__qualname__}")
    if len(value) > VALUE_LIMIT:
        raise ValueError(f"{key}: {len(value):,} bytes are more than the {VALUE_LIMIT:,} that a value may have")


def within(key: str, prefix: str) -> bool:
    """Tell whether a prefix covers a key; both are good ones.

    Args:
        key: the key.
        prefix: the prefix.

    Examples:
        >>> within("state/billing", "state/"), within("state/billing", "state/bill"), within("state", "state")
        (True, False, True)
    """
    return key == prefix or not prefix or (prefix.endswith("/") and key.startswith(prefix))


def _fault(path: object) -> str:
    if not isinstance(path, str) or not path:
        return "it is empty, or no text"
    if not path.isprintable():  # lone surrogates are not, either: what is left can be encoded
        return "it has characters that are not printable"
    size = len(path.encode())
    if size > KEY_LIMIT:
        return f"it has {size:,} bytes, {KEY_LIMIT:,} are allowed"
    segments = path.split("/")
    if "" in segments:
        return "a segment is empty"
    if "." in segments or ".." in segments:
        return "a segment is '.' or '..'"
    return ""
