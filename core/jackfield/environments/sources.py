"""Source distributions: which ones there are of what an installer missed, and their bytes, checked."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urldefrag, urlsplit
from urllib.request import url2pathname

import attrs

from jackfield.environments.faults import refused, without_credentials
from jackfield.environments.index import Listed, page, read

if TYPE_CHECKING:
    from packaging.version import Version

ENDINGS: Final = (".tar.gz", ".zip")

_NAME: Final = r"([A-Za-z0-9][A-Za-z0-9._-]*?)"
_MISSED: Final = re.compile(
    rf"wheels are required for `{_NAME}`|building source distributions for `{_NAME}` is disabled"
    rf"|\b{_NAME}(?:[<>=!~]\S*)? has no (?:usable )?wheels|satisfies the requirement {_NAME}(?=[\s<>=!~\[(;])",
    re.IGNORECASE,
)
_SPECIFIER: Final = r"((?:[<>=!~]=?=?\s?[\w.*+!-]+\s*,?\s*)+)"


@attrs.frozen
class Source:
    """One source distribution.

    Attributes:
        name: of the distribution, normalised.
        version: its version.
        place: its path, or URL.
        sha256: what its index says; "" for a file.
    """

    name: str
    version: "Version"
    place: str
    sha256: str = ""

    @property
    def file(self) -> str:
        """The name of the file."""
        path = urlsplit(self.place).path if "://" in self.place else self.place
        return unquote(path).rpartition("/")[2]

    def fetch(self, folder: Path, plugin: str) -> Path:
        """Put a copy of it into a folder, hash checked.

        Args:
            folder: where.
            plugin: whose it is, for an error.

        Raises:
            Failed: when it cannot be read.
            PluginError: when it is another file than its index says.
        """
        content = read(self.place)
        found = hashlib.sha256(content).hexdigest()
        if self.sha256 and found != self.sha256:
            reason = f"a file has another hash than its index says: {self.file} has the sha256 {found}"
            raise refused(plugin, reason, "find out why, then build it anew")
        path = folder / self.file
        path.write_bytes(content)
        return path


def missed(said: str) -> tuple[str, ...]:
    """Name the distributions that an installer had no wheel of, as far as it says.

    Examples:
        >>> missed("Because demo-sd==1.0 has no usable wheels and you require demo-sd==1.0")
        ('demo-sd',)
        >>> missed("ERROR: Could not find a version that satisfies the requirement Demo_SD>=1 (from versions: none)")
        ('demo-sd',)
    """
    names = (next(filter(None, found)) for found in _MISSED.findall(said))
    return tuple(dict.fromkeys(map(_normal, names)))


def candidates(name: str, said: str, links: Iterable[str], *, offline: bool) -> tuple[Source, ...]:
    """Find the source distributions of a name that there is no wheel beside, the best first.

    Args:
        name: normalised.
        said: by the installer; the versions that it speaks of count, where it speaks of some.
        links: folders and pages that are looked at beside the index.
        offline: whether the index is not asked.

    Raises:
        Failed: when an index cannot be read.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415  # slow, and rarely needed

    ranges = []
    pattern = re.escape(name).replace(r"\-", "[-_.]+")
    for text in re.findall(rf"(?<![\w.-]){pattern}(?:\[[^\]]*\])?{_SPECIFIER}", said, re.IGNORECASE):
        try:
            ranges.append(SpecifierSet(text.strip().rstrip(",."), prereleases=True))
        except InvalidSpecifier:
            continue
    found = [
        one
        for one in _sources(name, _everywhere(name, links, offline=offline))
        if not ranges or any(one.version in each for each in ranges)
    ]
    return tuple(sorted(found, key=lambda one: (not one.version.is_prerelease, one.version), reverse=True))


def of_url(name: str, url: str) -> "Source | None":
    """Give the source distribution that a URL means; None when it means something else, as a wheel."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename  # noqa: PLC0415  # as above

    plain, fragment = urldefrag(url)
    try:
        _, version = parse_sdist_filename(unquote(urlsplit(plain).path).rpartition("/")[2])
    except InvalidSdistFilename:
        return None
    given = re.search(r"sha256=([0-9a-f]{64})", fragment)
    return Source(name, version, plain, given[1] if given else "")


def _everywhere(name: str, links: Iterable[str], *, offline: bool) -> Iterator[Listed]:
    for link in links:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https"):
            yield from () if offline else page(link) or ()
            continue
        folder = Path(url2pathname(parts.path) if parts.scheme == "file" else link)
        if folder.is_dir():
            yield from (Listed(each.name, str(each)) for each in sorted(folder.iterdir()))
    if not offline:
        from jackfield.environments.index import project  # noqa: PLC0415  # only where an index is asked

        yield from project(name)


def _sources(name: str, listed: Iterable[Listed]) -> Sequence[Source]:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415  # as above
    from packaging.tags import sys_tags  # noqa: PLC0415  # as above
    from packaging.utils import (  # noqa: PLC0415  # as above
        InvalidSdistFilename,
        InvalidWheelFilename,
        canonicalize_name,
        parse_sdist_filename,
        parse_wheel_filename,
    )
    from packaging.version import InvalidVersion  # noqa: PLC0415  # as above

    tags = frozenset(sys_tags())
    wheels: set[Version] = set()
    sources: dict[Version, Source] = {}
    for one in listed:
        try:
            if one.file.endswith(".whl"):
                project, version, _, fits = parse_wheel_filename(one.file)
                if canonicalize_name(name) == project and fits & tags:
                    wheels.add(version)
            elif one.file.endswith(ENDINGS):
                project, version = parse_sdist_filename(one.file)
                if canonicalize_name(name) == project and (not one.python or _here() in SpecifierSet(one.python)):
                    sources.setdefault(version, Source(name, version, one.place, one.sha256))
        except (InvalidSdistFilename, InvalidWheelFilename, InvalidVersion, ValueError):
            continue
    return [one for version, one in sources.items() if version not in wheels]


def _here() -> str:
    import platform  # noqa: PLC0415  # as above

    return platform.python_version()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", without_credentials(name)).lower()
