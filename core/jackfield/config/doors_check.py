"""What can be wrong with the doors that a configuration names."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import attrs

from jackfield.config.adapters import ADAPTERS
from jackfield.config.doors import DoorsConfig, GrpcDoorConfig, HttpDoorConfig
from jackfield.config.model import StoreConfig
from jackfield.config.problems import KeyPath, Problem, quoted

_NAMES: Final = {"http": "HTTP", "grpc": "gRPC"}
_FILES: Final = ("tls_cert", "tls_key", "client_ca")


def is_loopback(host: str) -> bool:
    """Tell whether nobody beyond this machine can reach what listens on an address; a name is asked nobody about.

    Examples:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_doors(
    doors: DoorsConfig, folder: Path, store: StoreConfig, *, tenants: bool
) -> tuple[DoorsConfig, list[Problem]]:
    """Make the files of doors absolute, and look for what is wrong with them.

    Args:
        doors: the table.
        folder: that of the configuration file.
        store: what the host keeps things in.
        tenants: whether there are any.

    Returns:
        The table with absolute files, and what is wrong.
    """
    problems: list[Problem] = []
    absolute: dict[str, Any] = {}
    for kind in _NAMES:
        door: HttpDoorConfig | GrpcDoorConfig | None = getattr(doors, kind)
        if door is not None:
            problems += _problems(kind, door, folder, tenants)
            files: dict[str, Any] = {}
            for key in (*_FILES, "uds"):
                if said := getattr(door, key, None):
                    files[key] = str(folder / said)
            absolute[kind] = attrs.evolve(door, **files)
    problems += process_problems(doors, store)
    return (attrs.evolve(doors, **absolute) if absolute else doors), problems


def process_problems(doors: DoorsConfig, store: StoreConfig) -> Iterator[Problem]:
    """Find what keeps several processes from serving.

    Args:
        doors: the table.
        store: what the host keeps things in.
    """
    if doors.http is not None and doors.http.processes > 1 and store.url == "memory:":
        reason = f"{doors.http.processes} processes need a store that all of them can open, and 'memory:' is one's own"
        fix = 'add [store] with url = "sqlite:jackfield.db", or take `processes` away'
        yield Problem(("doors", "http", "processes"), reason, fix)


def _problems(kind: str, door: HttpDoorConfig | GrpcDoorConfig, folder: Path, tenants: bool) -> Iterator[Problem]:
    at: KeyPath = ("doors", kind)
    uds: str | None = getattr(door, "uds", None)
    if not entry_points(group=ADAPTERS, name=f"door:{kind}"):
        reason = f"nothing that is installed has a door for {_NAMES[kind]}"
        yield Problem(at, reason, f"pip install 'jackfield-contrib[{kind}]'")
    if uds is None and not tenants and not is_loopback(door.host):
        reason = f"whoever reaches {quoted(door.host)} could call everything: there are no tenants"
        yield Problem((*at, "host"), reason, "declare who may call under [tenants], or listen on 127.0.0.1")
    if (door.tls_cert is None) != (door.tls_key is None):
        there, missing = ("tls_cert", "tls_key") if door.tls_key is None else ("tls_key", "tls_cert")
        yield Problem((*at, there), "a certificate and its key go together", f"add {missing}")
    elif door.tls_cert is None and getattr(door, "client_ca", None) is not None:
        reason = "without a certificate of its own a door asks nobody for one"
        yield Problem((*at, "client_ca"), reason, "add tls_cert and tls_key")
    if uds is not None and not (folder / uds).parent.is_dir():
        yield Problem((*at, "uds"), f"the folder of {quoted(uds)} is none", f"create it; it is below {folder}")
    for key in _FILES:
        said = getattr(door, key, None)
        if said is not None and not (folder / said).is_file():
            fix = f"create it, or correct the path, which is relative to {folder}"
            yield Problem((*at, key), f"there is no file {quoted(said)}", fix)
