"""Where a host keeps what must outlive an instance of a plugin."""

from jackfield.store.memory import MemoryStore

__all__ = ["MemoryStore"]
