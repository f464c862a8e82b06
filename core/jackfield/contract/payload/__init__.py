"""Payloads: plain data → what a function's parameters want, compiled once for each function.

msgspec does the work wherever it can express the whole annotation. What it refuses is looked at again piece by piece,
along the shapes of `contract.shapes`: that takes in the types that msgspec does not know, accepts instances of
subclasses inside containers, and otherwise says exactly what is wrong, and where.

The parts: `codec` (a function's payload), `conversion` (one value), which draws up a `plan`, lets msgspec take the
value or goes through it by `descent` to its `leaves`; `limits` (size and depth), `misfit` (what does not fit, in
words); `schema` (JSON Schema).
"""

from jackfield.contract.payload.codec import PayloadCodec, compile_payload
from jackfield.contract.payload.conversion import draw
from jackfield.contract.payload.limits import PAYLOAD_LIMIT
from jackfield.contract.payload.nodes import note_of
from jackfield.contract.payload.results import compile_result
from jackfield.contract.payload.schema import payload_schema, result_schema, type_schema

__all__ = [
    "PAYLOAD_LIMIT",
    "PayloadCodec",
    "compile_payload",
    "compile_result",
    "draw",
    "note_of",
    "payload_schema",
    "result_schema",
    "type_schema",
]
