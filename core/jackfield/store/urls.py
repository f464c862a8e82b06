"""From the URL of a configuration to a store."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points

from jackfield.config.adapters import ADAPTERS
from jackfield.ports import Store
from jackfield.store.checking import check_store


def store_of(url: str) -> Callable[[], Store] | None:
    """Tell how to open the store of a URL.

    Args:
        url: `sqlite:` and an absolute file, or what an installed adapter takes, by its scheme; such a store is read
            through a cache, since it may be slow or away.

    Returns:
        What opens it; None for `memory:`, which needs no opening.

    Raises:
        LookupError: if nothing that is installed has a store for it.

    Examples:
        >>> store_of("memory:") is None
        True
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return None
    if scheme == "sqlite":
        from jackfield.store.sqlite import SQLiteStore  # noqa: PLC0415  # for those who have one

        return partial(SQLiteStore, rest)
    for point in entry_points(group=ADAPTERS, name=f"store:{scheme}"):
        return lambda: _cached(check_store(point.load()(url)))
    raise LookupError(f"nothing that is installed has a store for {scheme!r}")


def _cached(store: Store) -> Store:
    """Put a cache before a store that may be slow or away, unless its adapter has done so."""
    from jackfield.store.caching import CachingStore  # noqa: PLC0415  # as above

    return store if isinstance(store, CachingStore) else CachingStore(store)
