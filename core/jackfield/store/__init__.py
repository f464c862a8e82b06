"""Where a host keeps what must outlive an instance of a plugin, and, with a store that lasts, the process."""

from jackfield.store.checking import check_store
from jackfield.store.identity import HostIdentity, claim_host_id
from jackfield.store.keeping import keep_lease
from jackfield.store.memory import MemoryStore

__all__ = ["HostIdentity", "MemoryStore", "check_store", "claim_host_id", "keep_lease"]
