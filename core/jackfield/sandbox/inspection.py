"""What the kernel says of a guest: how it is confined, and what is in its memory. For people; read when they ask."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

_MAPS: Final = 30  # of one process are told; a process maps some hundreds
_NAME: Final = 255  # characters; a guest names files and parts of its memory as it likes
_KIB: Final = 1024
_SUMMED: Final = {"Size": "size", "Rss": "resident", "Pss": "proportional", "Swap": "swapped"}
_OWN: Final = ("Private_Clean", "Private_Dirty")
_FILTERED: Final = "2"
_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def inspect(pid: int, proc: Path = Path("/proc")) -> dict[str, Any] | None:
    """Tell how a process is confined and what it has mapped; no address and no content of its memory.

    Args:
        pid: which.
        proc: where the kernel tells of processes.

    Returns:
        `confined`, which is whether the system calls are filtered and no privileges can be gained; `namespaces` that
        are its own; `threads`; `memory` in bytes, as sums and by what is mapped. None when it is gone, or this system
        does not say.
    """
    own = proc / str(pid)
    try:
        status = _status((own / "status").read_text("utf-8", "replace"))
        maps = _maps((own / "smaps").read_text("utf-8", "replace"))
    except (OSError, ValueError):
        return None
    filtered, bound = status.get("Seccomp") == _FILTERED, status.get("NoNewPrivs") == "1"
    return {
        "confined": filtered and bound,
        "seccomp": filtered,
        "no_new_privileges": bound,
        "capabilities": status.get("CapEff", "0").strip("0") != "",
        "namespaces": _namespaces(own, proc / "self"),
        "threads": int(status.get("Threads", "0")),
        "memory": _together(maps),
    }


def _status(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _namespaces(process: Path, here: Path) -> list[str]:
    found = []
    for name in _NAMESPACES:
        try:
            if (process / "ns" / name).readlink() != (here / "ns" / name).readlink():
                found.append(name)
        except OSError:
            continue
    return found


def _maps(text: str) -> dict[str, Counter[str]]:
    """Add up what each mapped thing has in memory; the lines of one follow a line with its address and its name."""
    maps: dict[str, Counter[str]] = {}
    sums: Counter[str] = Counter()
    for line in text.splitlines():
        first, *rest = line.split(maxsplit=5)
        if not first.endswith(":"):
            name = rest[4][:_NAME] if len(rest) > 4 else "[anonymous]"  # noqa: PLR2004  # mode, offset, device, inode
            sums = maps.setdefault(name, Counter())
        elif (key := first[:-1]) in _SUMMED:
            sums[_SUMMED[key]] += int(rest[0]) * _KIB
        elif key in _OWN:
            sums["private"] += int(rest[0]) * _KIB
    return maps


def _together(maps: dict[str, Counter[str]]) -> dict[str, Any]:
    keys = (*_SUMMED.values(), "private")
    largest = sorted(maps, key=lambda name: maps[name]["resident"], reverse=True)
    rows = [{"name": name, **{key: maps[name][key] for key in keys}} for name in largest[:_MAPS]]
    rest: Counter[str] = sum((maps[name] for name in largest[_MAPS:]), Counter())
    if rest:
        rows.append({"name": f"({len(largest) - _MAPS} others)", **{key: rest[key] for key in keys}})
    return {**{key: sum(each[key] for each in maps.values()) for key in keys}, "maps": rows}
