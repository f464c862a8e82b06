"""Contracts: what a callable takes, gives and needs, learned before its first call.

The parts: `specification` (callable → `FunctionSpec`), `compatibility` (how two of them differ), `comparison` (whether
one JSON Schema takes what another describes), `reading` (what a JSON Schema says), `schemas` and `widening` (what of
that counts against a fit, and against an upgrade), `shapes` (types as data), `payload` (plain data → what a function
takes).
"""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.contract.compatibility import changes, fits
    from jackfield.contract.payload.codec import codec_of
    from jackfield.contract.specification import specify

_HOMES: Final = {
    "changes": "jackfield.contract.compatibility",
    "codec_of": "jackfield.contract.payload.codec",
    "fits": "jackfield.contract.compatibility",
    "specify": "jackfield.contract.specification",
}

__all__ = ["changes", "codec_of", "fits", "specify"]

__getattr__ = imported_from(_HOMES, __name__)  # a host does not need them before its first function
