"""Who calls: what every door asks about a request."""

from jackfield_contrib.identity.bearer import Authenticate, Identity
from jackfield_contrib.identity.traces import retraced

__all__ = ["Authenticate", "Identity", "retraced"]
