"""Subjects of certificates, as RFC 4514 writes distinguished names, in one form for each."""

import re
from collections.abc import Iterable
from typing import Final

_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+", re.ASCII)
_PAIR: Final = re.compile(r"\\(?:([0-9A-Fa-f]{2})|([\\\"+,;<>=# ]))")
_SPECIAL: Final = re.compile(r'([\\"+,;<>])')
_SHORT: Final = {
    "COMMONNAME": "CN", "COUNTRYNAME": "C", "STATEORPROVINCENAME": "ST", "LOCALITYNAME": "L",
    "ORGANIZATIONNAME": "O", "ORGANIZATIONALUNITNAME": "OU", "STREETADDRESS": "STREET", "DOMAINCOMPONENT": "DC",
    "USERID": "UID",
}  # fmt: skip

Name = tuple[tuple[str, str], ...]
"""Types and values of one part of a subject; nearly always there is one."""


def canonical(subject: str) -> str:
    r"""Bring a subject to the form in which equal ones are equal texts.

    Args:
        subject: as `openssl x509 -noout -subject -nameopt RFC2253` prints it: the common name first.

    Raises:
        ValueError: if it is none, with what is wrong.

    Examples:
        >>> canonical("cn=billing, o=Acme\\, Inc.")
        'CN=billing,O=Acme\\, Inc.'
    """
    return written(_parts(subject))


def written(parts: Iterable[Name]) -> str:
    """Write the parts of a subject, the most specific one first, as RFC 4514 does."""
    return ",".join("+".join(sorted(f"{_typed(kind)}={_escaped(value)}" for kind, value in part)) for part in parts)


def _typed(kind: str) -> str:
    upper = kind.upper()
    return _SHORT.get(upper, upper)


def _escaped(value: str) -> str:
    text = _SPECIAL.sub(r"\\\1", value).replace("\0", "\\00")
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and not text.endswith("\\ ") else text


def _parts(subject: str) -> Iterable[Name]:
    if not subject.strip():
        raise ValueError("it is empty")
    for part in _split(subject, ",;"):
        yield tuple(_pair(pair) for pair in _split(part, "+"))


def _split(text: str, at: str) -> Iterable[str]:
    """Split where one of some signs is not escaped."""
    begun, place = 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] in at:
            yield text[begun:place]
            begun = place + 1
        place += 1
    yield text[begun:]


def _pair(text: str) -> tuple[str, str]:
    kind, equals, value = text.lstrip(" ").partition("=")
    kind = kind.rstrip(" ")
    if not equals or not _TYPE.fullmatch(kind):
        raise ValueError(f"{text.strip()[:60]!r} is not as in CN=billing")
    return kind, _value(value)


def _value(text: str) -> str:
    """Undo the escapes of a value; spaces around it are not part of it, unless they are escaped."""
    text = text.lstrip(" ")
    end = len(text)
    while end and text[end - 1] == " " and not (end > 1 and text[end - 2] == "\\"):
        end -= 1
    found, place = bytearray(), 0
    text = text[:end]
    while place < len(text):
        if text[place] != "\\":
            found += text[place].encode()
            place += 1
            continue
        pair = _PAIR.match(text, place)
        if pair is None:
            raise ValueError(f"{text[:60]!r} has a backslash that escapes nothing")
        found += bytes.fromhex(pair[1]) if pair[1] else pair[2].encode()
        place = pair.end()
    if not found:
        raise ValueError("a part of it has no value")
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{text[:60]!r} is not UTF-8 text") from None
