"""Environments: requirement → lock with hashes → a read-only folder in the user's cache, checked when it is opened.

`Environments(settings).get("demo-ocr==2.0")` gives an `Environment`. Nothing of it is imported here: what it advertises
is read from `Environment.paths` with `scan`, and it runs in workers, started with `-I -S` and these paths. See decision
0040.
"""

from jackfield.environments.environments import Environments
from jackfield.environments.values import (
    Distribution,
    Environment,
    EnvironmentSettings,
    Kept,
    Phase,
    Progress,
    Request,
    Step,
    bytes_of,
)

__all__ = [
    "Distribution",
    "Environment",
    "EnvironmentSettings",
    "Environments",
    "Kept",
    "Phase",
    "Progress",
    "Request",
    "Step",
    "bytes_of",
]
