"""Who calls at a door: keys, how a request has come in, and a record of whom was denied what."""

from jackfield.identity.audit import Audit
from jackfield.identity.keys import digest_of, holder, new_key

__all__ = ["Audit", "digest_of", "holder", "new_key"]
