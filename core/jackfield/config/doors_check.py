"""What can be wrong with the doors that a configuration names."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import attrs

from jackfield.config.doors import DoorsConfig, HttpDoorConfig
from jackfield.config.problems import KeyPath, Problem, quoted
from jackfield.config.store_check import ADAPTERS

_HTTP: Final[KeyPath] = ("doors", "http")


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


def check_doors(doors: DoorsConfig, folder: Path, *, tenants: bool) -> tuple[DoorsConfig, list[Problem]]:
    """Make the files of doors absolute, and look for what is wrong with them.

    Args:
        doors: the table.
        folder: that of the configuration file.
        tenants: whether there are any.

    Returns:
        The table with absolute files, and what is wrong.
    """
    http = doors.http
    if http is None:
        return doors, []
    problems = list(_problems(http, folder, tenants))
    uds, cert, key = (said and str(folder / said) for said in (http.uds, http.tls_cert, http.tls_key))
    return attrs.evolve(doors, http=attrs.evolve(http, uds=uds, tls_cert=cert, tls_key=key)), problems


def _problems(http: HttpDoorConfig, folder: Path, tenants: bool) -> Iterator[Problem]:
    if not entry_points(group=ADAPTERS, name="door:http"):
        yield Problem(_HTTP, "nothing that is installed has a door for HTTP", "pip install 'jackfield-contrib[http]'")
    if http.uds is None and not tenants and not is_loopback(http.host):
        reason = f"whoever reaches {quoted(http.host)} could call everything: there are no tenants"
        yield Problem((*_HTTP, "host"), reason, "declare who may call under [tenants], or listen on 127.0.0.1")
    if (http.tls_cert is None) != (http.tls_key is None):
        there, missing = ("tls_cert", "tls_key") if http.tls_key is None else ("tls_key", "tls_cert")
        yield Problem((*_HTTP, there), "a certificate and its key go together", f"add {missing}")
    if http.uds is not None and not (folder / http.uds).parent.is_dir():
        yield Problem((*_HTTP, "uds"), f"the folder of {quoted(http.uds)} is none", f"create it; it is below {folder}")
    for key in ("tls_cert", "tls_key"):
        said = getattr(http, key)
        if said is not None and not (folder / said).is_file():
            fix = f"create it, or correct the path, which is relative to {folder}"
            yield Problem((*_HTTP, key), f"there is no file {quoted(said)}", fix)
