"""Discovery: entry points → candidates, from metadata alone; `load` imports one, or says why it cannot."""

from jackfield.plugins.discovery.catalogue import Candidate, Catalogue, Disabled, Explanation, Shadowed
from jackfield.plugins.discovery.entries import FUNCTIONS, GROUPS, HOOKS, PLUGINS, PROVIDERS
from jackfield.plugins.discovery.importing import load
from jackfield.plugins.discovery.scan import scan
from jackfield.plugins.discovery.switches import Switches

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
