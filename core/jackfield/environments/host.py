"""What this process itself adds to an environment: its own jackfield and the few libraries that a worker needs of it.

They are packed into wheels from where they are installed, an editable installation included, so that the installer
resolves them together with everything else and no index is ever asked for jackfield.
"""

import base64
import functools
import hashlib
import importlib.metadata
import io
import os
import platform
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

LIBRARIES: Final = ("attrs", "msgspec", "packaging", "pluggy", "typing_extensions")
"""What the runtime in a worker imports beside the standard library."""

_PACKAGE: Final = Path(__file__).parents[1]
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "entry_points.txt")


@attrs.frozen(slots=False)
class Part:
    """One distribution of the host's.

    Attributes:
        name: normalised.
        version: its version.
        tag: of its wheel.
        files: where each is, by its path in the wheel.
        texts: files that are made.
    """

    name: str
    version: str
    tag: str
    files: Mapping[str, Path]
    texts: Mapping[str, bytes]

    @functools.cached_property
    def sums(self) -> Mapping[str, str]:
        """The sha256 of each file, as it was when this was looked at first."""
        return {name: hashlib.sha256(self.files[name].read_bytes()).hexdigest() for name in sorted(self.files)}


class Changed(Exception):  # never leaves the package: it becomes a PluginError
    """What this process runs is not what is installed any more."""


@attrs.frozen
class Runtime:
    """What this process adds.

    Attributes:
        version: jackfield's.
        digest: of all that is added.
        needs: what jackfield requires of its libraries, as PEP 508 has it.
        parts: jackfield first.
    """

    version: str
    digest: str
    needs: tuple[str, ...]
    parts: tuple[Part, ...]


@attrs.frozen
class Wheel:
    """A wheel that was packed.

    Attributes:
        name: of its distribution, normalised.
        version: its version.
        path: the file.
        sha256: its digest.
    """

    name: str
    version: str
    path: Path
    sha256: str

    @property
    def line(self) -> str:
        """The line of a requirements file that means this file and no other."""
        return f"{self.name} @ {self.path.as_uri()}"


@functools.cache
def runtime() -> Runtime:
    """Look at what is installed here; once in a process, since what runs does not change either."""
    version = _version()
    needs = tuple(_needs())
    parts = (_jackfield(version, needs), *filter(None, map(_library, LIBRARIES)))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.name}=={part.version} {part.tag}\n".encode())
        digest.update("".join(f"{name} {found}\n" for name, found in part.sums.items()).encode())
    return Runtime(version, digest.hexdigest(), needs, parts)


def interpreter() -> Path:
    """Give the interpreter that an environment is for: the one behind this process's virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))


@functools.cache
def machine() -> tuple[str, ...]:
    """Describe the interpreter and the platform, as far as files fit one and not the other."""
    names: Mapping[str, int] = getattr(os, "confstr_names", {})
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in names else ""
    return (
        str(interpreter()),
        sys.version,
        sys.implementation.cache_tag or "",
        str(sysconfig.get_config_var("SOABI") or ""),
        sysconfig.get_platform(),
        platform.machine(),
        libc or "",
    )


def pack(folder: Path) -> tuple[Wheel, ...]:
    """Pack what this process adds into wheels, the same bytes each time.

    Args:
        folder: where; it is made.

    Raises:
        Changed: if another version has been installed in the meantime.
        OSError: if they cannot be written.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    return tuple(_pack(part, folder) for part in runtime().parts)


def _pack(part: Part, folder: Path) -> Wheel:
    stem = part.name.replace("-", "_")
    record = f"{stem}-{part.version}.dist-info/RECORD"
    held = io.BytesIO()
    rows = []
    with zipfile.ZipFile(held, "w") as archive:  # not compressed: it is unpacked at once
        for name in sorted({*part.files, *part.texts}):
            content = part.texts[name] if name in part.texts else _content(part, name)
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            quoted = f'"{name}"' if "," in name else name
            rows.append(f"{quoted},sha256={digest},{len(content)}\n")
        archive.writestr(zipfile.ZipInfo(record, _EPOCH), "".join([*rows, f"{record},,\n"]))
    path = folder / f"{stem}-{part.version}-{part.tag}.whl"
    path.write_bytes(held.getvalue())
    return Wheel(part.name, part.version, path, hashlib.sha256(held.getvalue()).hexdigest())


def _content(part: Part, name: str) -> bytes:
    with suppress(FileNotFoundError):
        content = part.files[name].read_bytes()
        if hashlib.sha256(content).hexdigest() == part.sums[name]:
            return content
    raise Changed(f"{part.files[name]}, of {part.name}, has changed since this process has started: restart it")


def _version() -> str:
    try:
        return importlib.metadata.version("jackfield")
    except importlib.metadata.PackageNotFoundError:  # a checkout on sys.path, installed nowhere
        return "0"


def _needs() -> Iterator[str]:
    """Give jackfield's own requirements on its libraries."""
    from packaging.requirements import Requirement  # noqa: PLC0415  # slow, and rarely needed

    try:
        declared = [Requirement(line) for line in importlib.metadata.requires("jackfield") or ()]
    except importlib.metadata.PackageNotFoundError:
        declared = []
    bounds = {_normal(one.name): str(one) for one in declared if one.marker is None}
    for name in map(_normal, LIBRARIES):
        yield bounds.get(name, name)


def _jackfield(version: str, needs: tuple[str, ...]) -> Part:
    files = {
        f"jackfield/{path.relative_to(_PACKAGE).as_posix()}": path
        for path in _PACKAGE.rglob("*")
        if "__pycache__" not in path.parts and path.is_file() and path.suffix != ".pyc"
    }
    info = f"jackfield-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: jackfield\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
    wheel = "Wheel-Version: 1.0\nGenerator: jackfield\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    texts = {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode()}
    return Part("jackfield", version, "py3-none-any", files, texts)


def _library(name: str) -> Part | None:
    """Look at an installed library; None for one that is not installed as a wheel is: then the index has to have it."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    wheel = found.read_text("WHEEL") or ""
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    if not tags or not found.files:
        return None
    files = {
        each.as_posix(): Path(str(found.locate_file(each)))
        for each in found.files
        if ".." not in each.parts
        and not each.is_absolute()
        and "__pycache__" not in each.parts
        and not (each.name in _LEFT_OUT and each.parent.name.endswith(".dist-info"))
    }
    if not all(path.is_file() for path in files.values()):
        return None
    return Part(_normal(name), found.version, tags[0], files, {})


def _normal(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()
