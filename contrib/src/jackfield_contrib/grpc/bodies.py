"""Payloads and results: JSON or MessagePack, as a call says."""

from typing import Any, Final

import msgspec

from jackfield import to_json
from jackfield.errors import FunctionCrashed
from jackfield.wire.crossing import pack, unpack
from jackfield_contrib.grpc.functions_pb2 import ENCODING_JSON, ENCODING_MESSAGEPACK
from jackfield_contrib.http.problems import Refused

_json: Final = msgspec.json.Decoder().decode
_JSON: Final[int] = ENCODING_JSON
_MESSAGEPACK: Final[int] = ENCODING_MESSAGEPACK


def read(payload: bytes, encoding: int) -> Any:
    """Read a payload; None when it is empty.

    Raises:
        Refused: when it is not what its encoding says.
    """
    if not payload:
        return None
    try:
        if encoding == _JSON:
            return _json(payload)
        if encoding == _MESSAGEPACK:
            return unpack(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        what = "JSON" if encoding == _JSON else "MessagePack"
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"the payload is no {what}: {reason}") from None
    raise Refused(400, f"there is no encoding {encoding}: 0 is JSON, 1 MessagePack")


def write(result: Any, encoding: int, name: str) -> bytes:
    """Write a result.

    Raises:
        FunctionCrashed: when it has no form: the function is at fault, and where is for its author alone.
    """
    try:
        return pack(result) if encoding == _MESSAGEPACK else to_json(result)
    except TypeError as error:
        raise FunctionCrashed(name, "TypeError", "its result has no form that can be sent") from error
