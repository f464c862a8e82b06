"""One discovery in a fresh process: ``discovery_once.py WAY FOLDER``; prints JSON.

The ways: `stevedore`, `jackfield-cold` and `jackfield-index` find; `stevedore-load` and `jackfield-start` load it
all, too.
"""

import json
import sys
from collections.abc import Callable
from time import perf_counter

GROUP = "jackfield.functions"
PREFIX = "bench.run"


def stevedore() -> Callable[[], int]:
    """Have stevedore list the names of the group."""
    from stevedore.named import NamedExtensionManager  # noqa: PLC0415  # each process imports only what it measures

    def find() -> int:
        entries = NamedExtensionManager(GROUP, names=[]).list_entry_points()
        return sum(entry.name.startswith(PREFIX) for entry in entries)

    return find


def jackfield(*, index: bool) -> Callable[[], int]:
    """Have jackfield scan all groups."""
    from jackfield.plugins.discovery import scan  # noqa: PLC0415  # each process imports only what it measures

    def find() -> int:
        return sum(candidate.name.startswith(PREFIX) for candidate in scan(cache=index).candidates)

    return find


def stevedore_load() -> Callable[[], int]:
    """Have stevedore load the whole group."""
    from stevedore import ExtensionManager  # noqa: PLC0415  # each process imports only what it measures

    def load() -> int:
        return sum(name.startswith(PREFIX) for name in ExtensionManager(GROUP).names())

    return load


def jackfield_start() -> Callable[[], int]:
    """Have a host discover everything and start it."""
    from jackfield import Host  # noqa: PLC0415  # each process imports only what it measures

    def start() -> int:
        host = Host.discover()
        host.start()
        return sum(name.startswith(PREFIX) for name in host.snapshot.functions)

    return start


WAYS: dict[str, Callable[[], Callable[[], int]]] = {
    "stevedore": stevedore,
    "jackfield-cold": lambda: jackfield(index=False),
    "jackfield-index": lambda: jackfield(index=True),
    "stevedore-load": stevedore_load,
    "jackfield-start": jackfield_start,
}


def main() -> None:
    """Time one discovery."""
    way, folder = sys.argv[1:]
    find = WAYS[way]()
    sys.path.insert(0, folder)
    start = perf_counter()
    found = find()
    seconds = perf_counter() - start
    json.dump({"seconds": seconds, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
