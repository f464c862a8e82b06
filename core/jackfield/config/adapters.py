"""What installed packages bring for core to find, and never to import before it is used: doors, stores, a client."""

from importlib.metadata import entry_points
from typing import Any, Final

from jackfield.errors import Unavailable

ADAPTERS: Final = "jackfield.adapters"
"""The group of entry points in which installed packages advertise adapters, as in `store:etcd`."""


def load_adapter(name: str, what: str, fix: str) -> Any:
    """Import an adapter.

    Args:
        name: as it is advertised, as in `door:http`.
        what: it is, as in `door http`, for an error.
        fix: the command that installs it, and the library that it needs.

    Raises:
        Unavailable: when nothing that is installed has it, or it cannot be imported, as without its library.

    Examples:
        >>> load_adapter("door:fax", "door fax", "buy one")
        Traceback (most recent call last):
        jackfield.errors.Unavailable: door fax: nothing that is installed has it: buy one
    """
    for point in entry_points(group=ADAPTERS, name=name):
        try:
            return point.load()
        except ImportError as error:
            raise Unavailable(what, f"it cannot be imported: {error}: {fix}") from error
    raise Unavailable(what, f"nothing that is installed has it: {fix}")
