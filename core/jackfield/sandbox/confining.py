"""From what a guest may to a `Confinement`: paths that every guest reads, filters, a port to ask for names."""

import sys
from collections.abc import Iterable
from typing import Final

from jackfield.sandbox.calls import building, importing, strict
from jackfield.sandbox.filters import compile_filter
from jackfield.sandbox.port import Confinement, Limits, Tier

SYSTEM: Final = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/null",
    "/dev/urandom",
    "/dev/zero",
)
"""What every guest may read, where it is there: shared libraries, time zones, certificates of authorities."""

RESOLVER: Final = (
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
)
"""What one with a network may read beside."""

TOOLS: Final = (
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/lib",
    "/lib64",
)
"""What a build may read and run, where it is there: compilers and what they are made of."""

HEADERS: Final = ("/usr/include", "/usr/local/include", "/usr/share", "/etc/alternatives")
"""What it may read beside."""

_NAMES = 53
_SHARED_PREFIXES = ("/", "/usr", "/usr/local")


def interpreter_paths(
    prefix: str = sys.base_prefix, version: tuple[int, int] = sys.version_info[:2]
) -> tuple[str, ...]:
    """Give what an interpreter reads of itself.

    Args:
        prefix: where it is installed, `sys.base_prefix`.
        version: its first two numbers.

    Examples:
        >>> interpreter_paths("/opt/python", (3, 13))
        ('/opt/python',)
        >>> interpreter_paths("/usr/local", (3, 13))
        ('/usr/local/lib/python3.13', '/usr/local/lib/python3.13t')
    """
    if prefix not in _SHARED_PREFIXES:
        return (prefix,)
    name = f"python{version[0]}.{version[1]}"
    return tuple(f"{prefix.rstrip('/')}/lib/{name}{suffix}" for suffix in ("", "t"))


def confine(
    environment: Iterable[str],
    *,
    tier: Tier = Tier.SELF,
    read: Iterable[str] = (),
    write: Iterable[str] = (),
    scratch: str | None = None,
    ports: Iterable[int] | None = None,
    eager: bool = False,
    forks: bool = False,
    limits: Limits | None = None,
) -> Confinement:
    """Say what a guest may, with its filters compiled.

    Of a grant of hosts and ports the kernel holds the ports alone.

    Args:
        environment: what it is made of: the folders of its environment, `interpreter_paths()` of its interpreter.
        tier: what is around it.
        read: paths that it may read beside, as granted.
        write: paths that it may change, as granted.
        scratch: an empty folder of its own, if granted.
        ports: TCP ports that it may connect to, if granted; () for any. The one for names comes by itself.
        eager: whether it imports and reads nothing in stage two.
        forks: whether it forks after stage one, as a zygote does.
        limits: what it may use.

    Raises:
        Unavailable: when there are no filters for this machine.
    """
    readable, writable = tuple(read), tuple(write)
    writes = bool(writable) or scratch is not None
    wanted = None if ports is None else tuple(sorted(set(ports)))
    network = wanted is not None
    return Confinement(
        readable=(*SYSTEM, *environment, *readable, *(RESOLVER if network else ())),
        filter_import=compile_filter(importing(write=writes, network=network, forks=forks)),
        filter_strict=compile_filter(strict(read=not eager or bool(readable), write=writes, network=network)),
        writable=writable,
        scratch=scratch,
        limits=limits or Limits(),
        ports=tuple(sorted({*wanted, _NAMES})) if wanted else wanted,
        tier=tier,
    )


def confine_build(folder: str, interpreter: str, readable: Iterable[str] = ()) -> Confinement:
    """Say what building a source distribution may, with its filters compiled: no network, and one folder to write in.

    Args:
        folder: the one, which it is in.
        interpreter: the one that it runs in; it reads and runs all that this is made of.
        readable: what it may read beside, and run: what it needs for building.

    Raises:
        Unavailable: when there are no filters for this machine.
    """
    program = compile_filter(building())
    prefixes = (sys.base_prefix,) if sys.base_prefix not in _SHARED_PREFIXES else interpreter_paths()
    return Confinement(
        readable=(*SYSTEM, *HEADERS),
        executable=(*TOOLS, *prefixes, interpreter, *readable, folder),
        filter_import=program,
        filter_strict=program,
        writable=("/dev/null",),
        limits=Limits(open_files=1024),
        scratch=folder,
    )
