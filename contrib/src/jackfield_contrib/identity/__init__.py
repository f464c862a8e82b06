"""Who calls: what every door asks about a request."""

from jackfield_contrib.identity.bearer import Authenticate, Identity, Memory
from jackfield_contrib.identity.traces import retraced

__all__ = ["Authenticate", "Identity", "Memory", "retraced"]
