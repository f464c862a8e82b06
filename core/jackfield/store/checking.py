"""Refusing what is no store before a host relies on it: most often one of the port of version 0.1."""

from typing import cast

from jackfield.ports import Store, missing_members


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
    missing = [f"{name}()" for name in missing_members(store, Store)]
    if missing:
        raise TypeError(
            f"store={type(store).__qualname__} cannot be used: it has no method {', '.join(missing)} of"
            " jackfield.ports.Store, which is async since 0.2: docs/how-to/stores.md shows how to move an old store"
        )
    return cast(Store, store)
