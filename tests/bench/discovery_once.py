"""One discovery in a fresh process: ``discovery_once.py WAY FOLDER``; prints JSON.

The ways: `stevedore`, `jackfield-cold`, `jackfield-index`.
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


def main() -> None:
    """Time one discovery."""
    way, folder = sys.argv[1:]
    find = stevedore() if way == "stevedore" else jackfield(index=way == "jackfield-index")
    sys.path.insert(0, folder)
    start = perf_counter()
    found = find()
    seconds = perf_counter() - start
    json.dump({"seconds": seconds, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
