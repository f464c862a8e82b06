"""The values of environments: what is asked for, what there is, and how far the building of one has come."""

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from jackfield.environments.faults import refused

SERVING: Final = frozenset({"jackfield.functions", "jackfield.plugins"})
"""Entry-point groups in which a distribution can have something to call."""


@attrs.frozen
class EnvironmentSettings:
    """What `[environments]` of a configuration says.

    Attributes:
        find_links: folders and pages with wheels, beside whatever index uv or pip is configured for.
        offline: nothing is asked of any index: `find_links` and the installer's own cache have to do.
        build: source distributions are built, inside the sandbox; else wheels only.
        size: bytes that the cache may have; what was used least recently goes first.
    """

    find_links: tuple[str, ...] = ()
    offline: bool = False
    build: bool = False
    size: int = 4 << 30


@attrs.frozen
class Request:
    """A requirement that has been understood.

    Attributes:
        requirement: as PEP 508 has it, in its normal spelling.
        name: of the distribution, normalised.
        further: requirements of the other distributions that are to be there.
        urls: of those that are asked for by URL.
    """

    requirement: str
    name: str
    further: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def parse(cls, requirement: str, further: Sequence[str] = ()) -> "Request":
        """Understand requirements.

        Raises:
            PluginError: for the first one that is none, or that does not apply here.

        Examples:
            >>> Request.parse("Demo_OCR == 2.0", ("my-providers==1.0",))
            Request(requirement='Demo_OCR==2.0', name='demo-ocr', further=('my-providers==1.0',), urls=())
        """
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # slow, and rarely needed
        from packaging.utils import canonicalize_name  # noqa: PLC0415  # as above

        parsed = []
        for text in (requirement, *further):
            try:
                parsed.append(one := Requirement(text))
            except InvalidRequirement as error:
                reason = f"{text!r} is no requirement: {str(error).partition(chr(10))[0]}"
                raise refused(requirement, reason, 'write it as in "demo-ocr==2.0" (PEP 508)') from error
            if one.marker is not None and not one.marker.evaluate():
                raise refused(one.name, f"{text!r} does not apply to this interpreter", "leave its marker out")
        first, *others = parsed
        urls = tuple(one.url for one in parsed if one.url)
        return cls(str(first), canonicalize_name(first.name), tuple(sorted(map(str, others))), urls)


@attrs.frozen
class Distribution:
    """One distribution of an environment.

    Attributes:
        name: normalised.
        version: its version.
        info: the name of its folder of metadata in the environment's site-packages.
        groups: jackfield's entry-point groups in which it advertises something.
    """

    name: str
    version: str
    info: str
    groups: tuple[str, ...] = ()


@attrs.frozen
class Environment:
    """A finished environment: read-only, checked, and there as long as the `Environments` that gave it are open.

    Attributes:
        address: what it is called in the cache; it says what is in it, and for which interpreter and host.
        requirement: what it was asked for with.
        further: the other distributions that were asked for with it.
        folder: where it is.
        python: the interpreter that it is for: to be started with `-I -S`, and with `paths` on its `sys.path`.
        paths: what goes on `sys.path` before nothing else; what `scan` of the discovery reads without importing it.
        lock: every distribution with its version and hashes, as a requirements file has them.
        distributions: what is in it, by name; the one that was asked for is `distribution`.
        size: bytes on disk.
    """

    address: str
    requirement: str
    further: tuple[str, ...]
    folder: Path
    python: Path
    paths: tuple[Path, ...]
    lock: str
    distributions: tuple[Distribution, ...]
    size: int

    @property
    def distribution(self) -> Distribution:
        """The distribution that was asked for."""
        name = Request.parse(self.requirement).name
        return next(one for one in self.distributions if one.name == name)


@attrs.frozen
class Kept:
    """One environment of the cache, as a listing shows it.

    Attributes:
        address: what it is called there.
        requirement: what it was built for.
        further: the other distributions that were asked for.
        distributions: `name==version` of each.
        size: bytes on disk.
        used: when it was opened last, in seconds since the epoch.
        in_use: whether a live process has it.
    """

    address: str
    requirement: str
    further: tuple[str, ...]
    distributions: tuple[str, ...]
    size: int
    used: float
    in_use: bool


class Phase(StrEnum):
    """What is being done for a requirement."""

    WAITING = "waiting"
    RESOLVING = "resolving"
    BUILDING = "building"
    INSTALLING = "installing"
    COMPILING = "compiling"
    CHECKING = "checking"
    READY = "ready"


@attrs.frozen
class Step:
    """How far a requirement has come.

    Attributes:
        requirement: which.
        phase: what is being done now.
        text: with what, for people.
        done: how many steps are done.
        total: how many there are.
    """

    requirement: str
    phase: Phase
    text: str
    done: int
    total: int

    def __str__(self) -> str:
        """Render it in a line.

        Examples:
            >>> print(Step("demo-ocr==2.0", Phase.INSTALLING, "8 distributions", 3, 6))
            demo-ocr==2.0: installing: 8 distributions (step 4 of 6)
        """
        counted = f" (step {self.done + 1} of {self.total})" if self.phase is not Phase.READY else ""
        return f"{self.requirement}: {self.phase}: {self.text}{counted}"


Progress = Callable[[Step], None]
"""Is told each step, in the thread that asked for the environment."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Read a size.

    Args:
        text: a number of bytes, or with a unit: `4GiB`, `512Mi`, `1.5GB`.

    Raises:
        ValueError: when it is none.

    Examples:
        >>> bytes_of("4GiB"), bytes_of("1.5 MB"), bytes_of("512")
        (4294967296, 1500000, 512)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is no size: write it as in 4GiB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))
