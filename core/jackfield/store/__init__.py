"""Where a host keeps what must outlive an instance of a plugin, and, with a store that lasts, the process."""

from typing import TYPE_CHECKING, Final

from jackfield.lazy import imported_from

if TYPE_CHECKING:
    from jackfield.store.caching import CachingStats, CachingStore
    from jackfield.store.checking import check_store
    from jackfield.store.identity import HostIdentity, claim_host_id
    from jackfield.store.keeping import keep_lease
    from jackfield.store.memory import MemoryStore
    from jackfield.store.sqlite import SQLiteStore
    from jackfield.store.updating import update

_HOMES: Final = {
    "CachingStats": "jackfield.store.caching",
    "CachingStore": "jackfield.store.caching",
    "HostIdentity": "jackfield.store.identity",
    "MemoryStore": "jackfield.store.memory",
    "SQLiteStore": "jackfield.store.sqlite",
    "check_store": "jackfield.store.checking",
    "claim_host_id": "jackfield.store.identity",
    "keep_lease": "jackfield.store.keeping",
    "update": "jackfield.store.updating",
}

__all__ = [
    "CachingStats",
    "CachingStore",
    "HostIdentity",
    "MemoryStore",
    "SQLiteStore",
    "check_store",
    "claim_host_id",
    "keep_lease",
    "update",
]

__getattr__ = imported_from(_HOMES, __name__)  # a host claims no id before it has a state to keep
