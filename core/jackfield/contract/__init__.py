"""Contracts: what a callable takes, gives and needs, learned before its first call.

The parts: `marking` (`@function`), `specification` (callable → `FunctionSpec`), `compatibility` (how two of them
differ).
"""

from jackfield.contract.compatibility import changes, fits
from jackfield.contract.marking import function
from jackfield.contract.specification import specify

__all__ = ["changes", "fits", "function", "specify"]
