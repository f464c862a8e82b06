"""Contracts: what a callable takes, gives and needs, learned before its first call.

The parts: `specification` (callable → `FunctionSpec`), `compatibility` (how two of them differ), `widening` (whether
one may take the place of the other), `shapes` (types as
data), `payload` (plain data → what a function takes).
"""

from jackfield.contract.compatibility import changes, fits
from jackfield.contract.specification import specify

__all__ = ["changes", "fits", "specify"]
