"""Contracts: what a callable takes, gives and needs, learned before its first call.

The parts: `specification` (callable → `FunctionSpec`), `compatibility` (how two of them differ), `schemas` (the same of
JSON Schemas), `shapes` (types as data), `payload` (plain data → what a function takes).
"""

from jackfield.contract.compatibility import breaks, changes, fits
from jackfield.contract.specification import specify

__all__ = ["breaks", "changes", "fits", "specify"]
