"""Discovery: entry points → candidates, from metadata alone; `load` imports one, or says why it cannot."""

from jackfield.discovery.catalogue import Candidate, Catalogue, Disabled, Explanation, Shadowed
from jackfield.discovery.entries import FUNCTIONS, GROUPS, HOOKS, PLUGINS, PROVIDERS
from jackfield.discovery.load import load
from jackfield.discovery.scan import scan
from jackfield.discovery.switches import Switches

__all__ = [
    "FUNCTIONS",
    "GROUPS",
    "HOOKS",
    "PLUGINS",
    "PROVIDERS",
    "Candidate",
    "Catalogue",
    "Disabled",
    "Explanation",
    "Shadowed",
    "Switches",
    "load",
    "scan",
]
