"""The draws of tenants: where each one stands on the scale that shares are cut from. For those who split calls."""

from hashlib import blake2b
from typing import Final
from weakref import WeakValueDictionary

from jackfield.model.call import DRAW

_REMEMBERED: Final = 16_384
"""How many tenants of a salt are remembered."""


class Draws(dict[str, int]):
    """The draws of the tenants of one salt, worked out when they first call.

    Args:
        salt: the function or plugin.
    """

    __slots__ = ("__weakref__", "_salt")

    def __init__(self, salt: str) -> None:
        self._salt = salt

    def __missing__(self, tenant: str) -> int:
        """Work a tenant's draw out; it is kept if there is room."""
        drawn = bucket(self._salt, tenant)
        if len(self) < _REMEMBERED:  # tenants are whatever callers say: the others are worked out each time
            self[tenant] = drawn
        return drawn


# One for each salt, and not for each route: the history keeps the routes of many revisions, and a plugin has many
# functions. It goes with the last route that has it.
_by_salt: Final[WeakValueDictionary[str, Draws]] = WeakValueDictionary()


def draws_of(salt: str) -> Draws:
    """Give the draws of a salt, the same to all that ask while anybody has them.

    Args:
        salt: the function or plugin.
    """
    return _by_salt.setdefault(salt, Draws(salt))


def bucket(salt: str, tenant: str) -> int:
    """Hash a tenant to a number from 0 to 2**30 - 1 that depends on nothing but the two names.

    Python's own `hash` differs between processes.

    Args:
        salt: the function or plugin.
        tenant: the tenant.

    Examples:
        >>> bucket("risk.score", "t-8823") == bucket("risk.score", "t-8823") != bucket("risk.limit", "t-8823")
        True
    """
    digest = blake2b(f"{salt}\0{tenant}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - DRAW)
