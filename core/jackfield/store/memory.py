"""The store that lives as long as its process: the default, and the fake that ships with the port."""

import threading
from typing import Final

from jackfield.ports import Stored

LIMIT: Final = 1_048_576
"""The most bytes that one value may have."""


class MemoryStore:
    """Keeps values in a dict.

    Examples:
        >>> store = MemoryStore()
        >>> first = store.put("state/billing", b"1", expected=0)
        >>> store.put("state/billing", b"2", expected=first) > first, store.put("state/billing", b"3", expected=first)
        (True, 0)
        >>> store.get("state/billing").value
        b'2'
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = 0
        self._values: dict[str, Stored] = {}

    def get(self, key: str, /) -> Stored | None:
        """Read a value, or None."""
        return self._values.get(key)

    def put(self, key: str, value: bytes, /, *, expected: int | None = None) -> int:
        """Write a value; arguments and errors as for `ports.Store.put`."""
        if len(value) > LIMIT:
            raise ValueError(f"{key}: {len(value):,} bytes are more than the {LIMIT:,} that a value may have")
        with self._lock:
            there = self._values.get(key)
            if expected is not None and expected != (there.revision if there is not None else 0):
                return 0
            self._revision += 1
            self._values[key] = Stored(bytes(value), self._revision)
            return self._revision

    def delete(self, key: str, /) -> bool:
        """Forget a key; tells whether it was there."""
        with self._lock:
            return self._values.pop(key, None) is not None

    def keys(self, prefix: str = "", /) -> tuple[str, ...]:
        """List the keys that begin with a prefix, sorted."""
        with self._lock:
            return tuple(sorted(key for key in self._values if key.startswith(prefix)))
