"""Which addresses on the network are everybody's: nothing else is sent to unless an operator has said so.

What is not is in the registries of special-purpose addresses (RFC 6890, kept by IANA), for IPv4 and IPv6; and IPv6
addresses that hold one of IPv4, whichever that is, since what is behind them a translator decides.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_SPECIAL_4: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_6: Final = ip_network("2000::/3")
"""What is given out at all; loopback, mapped (`::ffff:0:0/96`), NAT64, ULA, link-local and multicast lie outside."""

_SPECIAL_6: Final = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Teredo and ORCHID, documentation, 6to4."""


def is_public(address: str) -> bool:
    """Tell whether an address is one of the Internet at large.

    Args:
        address: as text, as it came out of a resolution.

    Examples:
        >>> [is_public(each) for each in ("93.184.215.14", "10.0.0.1", "169.254.169.254", "::1", "::ffff:8.8.8.8")]
        [True, False, False, False, False]
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not _within(found, _SPECIAL_4)
    return found.scope_id is None and found in _GLOBAL_6 and not _within(found, _SPECIAL_6)


def _within(address: IPv4Address | IPv6Address, networks: Sequence[object]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]  # networks of its own kind
