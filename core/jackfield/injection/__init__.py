"""Dependency injection: marks, providers, the graph and its faults, generated bodies, and scopes."""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.injection.diagnosis import Diagnosis, Findings, diagnose, strangers

_DIAGNOSIS: Final = "jackfield.injection.diagnosis"
_HOMES: Final = {
    "Diagnosis": _DIAGNOSIS,
    "Findings": _DIAGNOSIS,
    "diagnose": _DIAGNOSIS,
    "strangers": _DIAGNOSIS,
}

__all__ = ["Diagnosis", "Findings", "diagnose", "strangers"]

__getattr__ = imported_from(_HOMES, __name__)  # before its first function a host has nothing to diagnose
