"""Refusing what is no store before a host relies on it: most often one of the port of version 0.1."""

from typing import Final

from jackfield.ports import Store

_METHODS: Final = ("get", "put", "delete", "range", "watch", "lease", "close")


def check_store(store: object) -> Store:
    """Make sure that an object has what the port asks for.

    Args:
        store: what somebody gave a host.

    Returns:
        The same object.

    Raises:
        TypeError: naming the methods that are missing.

    Examples:
        >>> check_store({})
        Traceback (most recent call last):
        ...
        TypeError: store=dict cannot be used: it has no method put(), delete(), range(), watch(), lease(), close() ...
    """
    missing = [f"{name}()" for name in _METHODS if not callable(getattr(store, name, None))]
    if missing or not isinstance(store, Store):
        raise TypeError(
            f"store={type(store).__qualname__} cannot be used: it has no method {', '.join(missing)} of"
            " jackfield.ports.Store, which is async since 0.2: docs/how-to/stores.md shows how to move an old store"
        )
    return store
