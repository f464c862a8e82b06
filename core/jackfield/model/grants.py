"""What code that runs apart may have and may do: frozen values, and the texts that stand for them in files.

A capability is one line of text (`network:outbound:api.example.com:443`). A manifest asks with them, an `allow` answers
with them, and `Grants` is what several of them come to.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

import attrs

_T = TypeVar("_T")

_CPU: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(m?)")
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)([kKMGT]i?)?B?")
_UNITS: Final = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ENDPOINT: Final = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\]):(\d{{1,5}})")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_*-]+(?:\.[A-Za-z0-9_*-]+)*", re.ASCII)
_ABSOLUTE: Final = re.compile(r"/|[A-Za-z]:[\\/]")
_PORTS: Final = 65_535


@attrs.frozen
class Resources:
    """How much of the machine a worker may have; None where nothing is said.

    Attributes:
        cpu: cores, as in 0.5.
        memory: bytes.
        pids: processes and threads.
        open_files: open file descriptors.
    """

    cpu: float | None = None
    memory: int | None = None
    pids: int | None = None
    open_files: int | None = None

    def narrowed(self, by: "Resources") -> "Resources":
        """Give the smaller of each two: a limit is never widened.

        Args:
            by: what narrows.

        Examples:
            >>> Resources(cpu=0.5, memory=100).narrowed(Resources(cpu=2.0, memory=50, pids=8))
            Resources(cpu=0.5, memory=50, pids=8, open_files=None)
        """
        pairs = zip(attrs.astuple(self), attrs.astuple(by), strict=True)
        said = ([each for each in pair if each is not None] for pair in pairs)
        return Resources(*(min(each) if each else None for each in said))


@attrs.frozen(order=True)
class Endpoint:
    """Where a connection may lead.

    Attributes:
        host: a name or an address, IPv6 without its brackets.
        port: from 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """Render as in `api.example.com:443`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Grants:
    """What a worker may do beyond the default.

    Attributes:
        network: None: no network at all; empty: anywhere, outbound; else to these endpoints.
        read: files and folders that it may read.
        write: files and folders that it may read and change.
        scratch: whether it has a folder of its own that goes with it.
        calls: patterns of functions that it may call.
        publish: event types of others that it may publish.
        subscribe: event types of others that it may subscribe to.
        eager: whether it imports nothing after its start, and is held to that.
    """

    network: tuple[Endpoint, ...] | None = None
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    scratch: bool = False
    calls: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    eager: bool = False

    @classmethod
    def of(cls, capabilities: Iterable[str], *, eager: bool = False) -> "Grants":
        """Say what capabilities come to, taken together.

        Args:
            capabilities: texts that `capability_fault` finds nothing wrong with.
            eager: as the attribute.

        Raises:
            ValueError: for a text that is no capability.

        Examples:
            >>> Grants.of(["storage:readonly", "network:outbound:db:5432"]).network
            (Endpoint(host='db', port=5432),)
        """
        found: dict[str, list[str]] = {}
        for text in capabilities:
            if fault := capability_fault(text):
                raise ValueError(f"{text!r}: {fault[0]}")
            kind, _, rest = text.partition(":")
            if kind in ("network", "storage"):
                verb, _, rest = rest.partition(":")
                if kind == "storage" and _ABSOLUTE.match(text.partition(":")[2]):
                    verb, rest = "write", text.partition(":")[2]
                kind = verb
            found.setdefault(kind, []).append(rest)
        outbound = found.get("outbound")
        return cls(
            network=None if outbound is None else () if "" in outbound else _once(map(_endpoint, outbound)),
            read=_once(map(Path, filter(None, found.get("readonly", ())))),
            write=_once(map(Path, found.get("write", ()))),
            scratch="scratch" in found,
            calls=_once(found.get("calls", ())),
            publish=_once(found.get("publish", ())),
            subscribe=_once(found.get("subscribe", ())),
            eager=eager,
        )

    def capabilities(self) -> tuple[str, ...]:
        """Render as the texts that mean the same, each once; `Grants.of` makes the same of them."""
        network = () if self.network is None else self.network or ("",)
        return (
            *(f"network:outbound:{each}".removesuffix(":") for each in network),
            *(f"storage:readonly:{each}" for each in self.read),
            *(f"storage:{each}" for each in self.write),
            *(("storage:scratch",) if self.scratch else ()),
            *(f"calls:{each}" for each in self.calls),
            *(f"publish:{each}" for each in self.publish),
            *(f"subscribe:{each}" for each in self.subscribe),
        )


def cores(text: str | float) -> float | None:
    """Read a number of cores; None for anything else.

    Examples:
        >>> cores("500m"), cores("2"), cores(0.25), cores("fast")
        (0.5, 2.0, 0.25, None)
    """
    if not isinstance(text, str):
        return float(text) if text > 0 else None
    match = _CPU.fullmatch(text)
    if match is None:
        return None
    found = float(match[1]) / (1000 if match[2] else 1)
    return found if found > 0 else None


def size(text: str | int) -> int | None:
    """Read a number of bytes; None for anything else.

    Examples:
        >>> size("1Gi"), size("4GiB"), size("1.5k"), size(512), size("much")
        (1073741824, 4294967296, 1500, 512, None)
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        return None
    found = Decimal(match[1]) * _UNITS[match[2] or ""]
    return max(1, int(found)) if found else None


def capability_fault(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a capability.

    Args:
        text: as it stands in a file.

    Returns:
        What is wrong and what to write instead, as clauses; None for a good one.

    Examples:
        >>> capability_fault("storage:readonly:/data")
        >>> capability_fault("network:outbound:db")
        ("'db' is not HOST:PORT", "write it as in 'network:outbound:api.example.com:443'")
    """
    if not text.isprintable() or text != text.strip():
        return "it has blanks around it, or characters that cannot be printed", "write one capability, and no more"
    kind, colon, rest = text.partition(":")
    if kind not in _KINDS:
        return _unknown(text, kind)
    return _KINDS[kind](rest if colon else "")


def _network(rest: str) -> tuple[str, str] | None:
    verb, colon, endpoint = rest.partition(":")
    if verb != "outbound":
        return f"'network:{verb[:40]}' is not something that can be had", "write 'network:outbound'"
    if not colon:
        return None
    match = _ENDPOINT.fullmatch(endpoint)
    example = "write it as in 'network:outbound:api.example.com:443'"
    if match is None:
        return f"{endpoint[:60]!r} is not HOST:PORT", example
    return None if 0 < int(match[2]) <= _PORTS else (f"{match[2]} is not a port", example)


def _storage(rest: str) -> tuple[str, str] | None:
    if rest in ("readonly", "scratch"):
        return None
    path = rest.removeprefix("readonly:")
    if not _ABSOLUTE.match(path):
        fix = "write 'storage:readonly', 'storage:scratch', 'storage:readonly:/path', or 'storage:/path' to change it"
        return f"{path[:60]!r} is not an absolute path", fix
    if ".." in re.split(r"[\\/]", path):
        return f"the path {path[:60]!r} goes up again with '..'", "write where it leads"
    return None


def _calls(rest: str) -> tuple[str, str] | None:
    if _PATTERN.fullmatch(rest):
        return None
    return f"{rest[:60]!r} is not a pattern of functions", "write it as in 'calls:text.*'"


def _events(verb: str) -> Callable[[str], tuple[str, str] | None]:
    def check(rest: str) -> tuple[str, str] | None:
        if _PATTERN.fullmatch(rest):
            return None
        return f"{rest[:60]!r} is not an event type", f"write its module and name, as in '{verb}:orders.events.Paid'"

    return check


_KINDS: Final[dict[str, Callable[[str], tuple[str, str] | None]]] = {
    "network": _network,
    "storage": _storage,
    "calls": _calls,
    "publish": _events("publish"),
    "subscribe": _events("subscribe"),
}


def _unknown(text: str, kind: str) -> tuple[str, str]:
    import difflib  # noqa: PLC0415  # for those who made a slip

    close = difflib.get_close_matches(kind, _KINDS, n=1)
    fix = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(_KINDS))}"
    return f"{text[:60]!r} is not a capability", fix


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]").lower(), int(port))


def _once(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
