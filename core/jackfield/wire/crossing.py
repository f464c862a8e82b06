"""What crosses to another process: plain data in MessagePack, in which dates, decimals and the like stay what they are.

MessagePack has numbers, text, bytes, lists and tables. What Python has besides is an extension whose body is text:

    code  type               text
    1     decimal.Decimal    as `str` writes it
    2     uuid.UUID          32 hexadecimal digits
    3     datetime.datetime  ISO 8601
    4     datetime.date      ISO 8601
    5     datetime.time      ISO 8601
    6     datetime.timedelta days, seconds and microseconds
    7     int                of more than 64 bits, hexadecimal

A set and a tuple arrive as a list, a record as a table: what they are made into again is up to who has their types.
"""

import datetime as dt
import decimal
import re
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from jackfield.wire.values import PARTS, Format, NoForm, name_of, plain, text_of

Ext = msgspec.msgpack.Ext


def pack(value: Any) -> bytes:
    """Write a value for another process.

    Args:
        value: what `jackfield.to_json` can write, and bytes, dates, decimals and the like as themselves.

    Returns:
        MessagePack.

    Raises:
        TypeError: with the path of what has no form.

    Examples:
        >>> unpack(pack({"total": decimal.Decimal("9.90"), "on": dt.date(2026, 11, 26)}))
        {'total': Decimal('9.90'), 'on': datetime.date(2026, 11, 26)}
    """
    made = value if type(value) in _FORM.quick or type(value) is bytes else plain(value, _FORM, _refuse)
    try:
        return _encode(made)
    except (ValueError, TypeError, OverflowError):  # a lone surrogate, a large integer
        return _encode(plain(made, _FORM, _refuse, careful=True))


def unpack(data: Any) -> Any:
    """Read what `pack` wrote.

    Args:
        data: bytes, or a `msgspec.Raw`.

    Raises:
        ValueError: if it is nothing that `pack` writes, or is made of more lists and tables than that does.
    """
    check_parts(data)
    try:
        return _decode(data)
    except (decimal.InvalidOperation, OverflowError, RecursionError) as error:
        raise ValueError(f"not what another process of jackfield writes: {type(error).__name__}") from None


def check_parts(data: Any) -> None:
    """Look whether MessagePack is made of more lists and tables than `pack` writes, without making them.

    An empty table is one byte here, and seventy in memory: 128 MiB of them would end the process that reads them.

    Args:
        data: bytes, or what has them.

    Raises:
        ValueError: if it is.
    """
    if memoryview(data).nbytes <= _MOST:
        return
    raw = bytes(data)
    # Most values are done with by this; floats and bytes have bytes that look as if a list began.
    if len(raw) - len(raw.translate(None, _LEADS)) > _MOST and _has_more(raw):
        raise ValueError(f"it is made of more than {PARTS:,} lists and tables")


def _has_more(raw: bytes) -> bool:
    """Tell whether there are too many lists and tables; what is no MessagePack is left to who decodes it."""
    at, parts = 0, 0
    while at < len(raw):
        lead = raw[at]
        if lead in _LEADS:
            parts += 1
            if parts > _MOST:
                return True
            at += _HEADS.get(lead, 1)
        elif lead in _FIXED:
            at += _FIXED[lead]
        elif lead in _SIZED:
            width, more = _SIZED[lead]
            at += 1 + width + more + int.from_bytes(raw[at + 1 : at + 1 + width], "big")
        else:
            numbers = _NUMBERS.match(raw, at)
            if numbers is None:
                return False
            at = numbers.end()
    return False


def shown(value: Any) -> Any:
    """Copy a value into plain data that can be written, whatever it is: what has no form is shown as its `repr`."""
    return plain(value, _FORM, text_of, careful=True)


def _refuse(leaf: Any, path: str, reason: str) -> Any:
    raise TypeError(f"{path}: {name_of(leaf)} {reason}, so it cannot go to another process")


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Ext(7, f"{value:x}".encode())
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="backslashreplace").decode()
    return value


def _key(key: Any) -> Any:
    if isinstance(key, int) and not isinstance(key, bool) and not -(2**63) <= key < 2**64:
        raise NoForm("has more than 64 bits")
    return key if key is None or isinstance(key, bool) else _scalar(key)


_WRITERS: Final[Mapping[type, Callable[[Any], Any]]] = MappingProxyType(
    {
        decimal.Decimal: lambda value: Ext(1, str(value).encode()),
        uuid.UUID: lambda value: Ext(2, value.hex.encode()),
        dt.datetime: lambda value: Ext(3, value.isoformat().encode()),
        dt.date: lambda value: Ext(4, value.isoformat().encode()),
        dt.time: lambda value: Ext(5, value.isoformat().encode()),
        dt.timedelta: lambda value: Ext(6, f"{value.days} {value.seconds} {value.microseconds}".encode()),
        Ext: lambda value: value,
    }
)
_READERS: Final[Mapping[int, Callable[[str], Any]]] = MappingProxyType(
    {
        1: decimal.Decimal,
        2: lambda text: uuid.UUID(hex=text),
        3: dt.datetime.fromisoformat,
        4: dt.date.fromisoformat,
        5: dt.time.fromisoformat,
        6: lambda text: dt.timedelta(*map(int, text.split(" ", 2))),
        7: lambda text: int(text, 16),
    }
)
_FORM: Final = Format(_scalar, _key, exact=_WRITERS)
_encode_into: Final = msgspec.msgpack.Encoder().encode_into


def _encode(value: Any) -> bytes:
    buffer = bytearray()  # msgspec's own `encode` ends the process where there is no memory for what it makes
    _encode_into(value, buffer)
    return bytes(buffer)


def extension(code: int, data: memoryview) -> Any:
    """Read an extension; as the `ext_hook` of whoever decodes what `pack` or `shown` made, as part of something else.

    Raises:
        ValueError: if it is none of these, or not what its code says.
    """
    read = _READERS.get(code)
    if read is None:
        raise ValueError(f"extension {code} is none of jackfield's")
    return read(bytes(data).decode())


# What MessagePack begins with: lists and tables, and how long that is; texts, bytes and extensions, of which the length
# follows in so many bytes, and the code of an extension; texts and extensions of fixed length; all else, in a row.
_LEADS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_HEADS: Final = {0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5}
_SIZED: Final = {
    **{0xC4 + step: (1 << step, 0) for step in range(3)},
    **{0xC7 + step: (1 << step, 1) for step in range(3)},
    **{0xD9 + step: (1 << step, 0) for step in range(3)},
}
_FIXED: Final = {**{0xA0 + size: 1 + size for size in range(32)}, **{0xD4 + step: 2 + (1 << step) for step in range(5)}}
_NUMBERS: Final = re.compile(
    rb"(?:[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]|[\xcc\xd0].|[\xcd\xd1].{2}|[\xca\xce\xd2].{4}|[\xcb\xcf\xd3].{8})++",
    re.DOTALL,
)
_MOST: Final = PARTS + 10_000  # what is around a value in a message, too

_decode: Final = msgspec.msgpack.Decoder(ext_hook=extension).decode
