"""Building one environment: resolve with the host's own jackfield, install by the lock, compile, seal."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs

from jackfield.environments.builds import Builder
from jackfield.environments.cache import SITE, Listing
from jackfield.environments.faults import is_away, is_full, refused
from jackfield.environments.host import Changed, Wheel, interpreter, pack
from jackfield.environments.installers import Failed, Installer, Pin, Runner
from jackfield.environments.seal import Stamps, seal
from jackfield.environments.values import Phase, Request

_GROUP: Final = re.compile(r"^\[\s*(jackfield\.\w+)\s*\]", re.MULTILINE)
_COMPILERS: Final = min(4, os.cpu_count() or 1)
_FINISHED: Final = "finished"

Tell = Callable[[Phase, str], None]


@attrs.frozen
class Job:
    """The work on one request.

    Attributes:
        request: what is wanted.
        installer: uv or pip.
        runner: starts whatever else works in the folder.
        find_links: where wheels are beside the index.
        folder: to work in; empty at first.
        held: the descriptor of the lock on it.
        tell: is told what is done.
        builder: builds what there is no wheel of; None where nothing is built.
    """

    request: Request
    installer: Installer
    runner: Runner
    find_links: tuple[str, ...]
    folder: Path
    held: int
    tell: Tell
    builder: Builder | None = None


@attrs.frozen
class Lock:
    """What a request has been resolved to.

    Attributes:
        pins: every distribution, by name.
        host: the wheels of this process that may be among them, what it has built included.
    """

    pins: tuple[Pin, ...]
    host: tuple[Wheel, ...]

    @property
    def text(self) -> str:
        """The lock as a requirements file: the same for the same files, wherever it was made."""
        return "".join(f"{pin.line}\n" for pin in self.pins)

    @property
    def lines(self) -> str:
        """The same for the installer: what is the host's is taken from the host."""
        own = {(wheel.name, f"sha256:{wheel.sha256}"): wheel for wheel in self.host}
        lines = []
        for pin in self.pins:
            wheel = next((own[pin.name, one] for one in pin.hashes if (pin.name, one) in own), None)
            lines.append(f"{wheel.line} --hash=sha256:{wheel.sha256}\n" if wheel else f"{pin.line}\n")
        return "".join(lines)


def resolve(job: Job) -> Lock:
    """Resolve a request together with this host's jackfield.

    At first with the very libraries that the host runs, so that nothing has to be fetched for it; if that has no
    solution, with any that jackfield can do with.

    Raises:
        Failed: when there is no solution, or the index cannot be reached.
        OSError: when the folder cannot be written.
    """
    job.tell(Phase.RESOLVING, "what it needs")
    try:
        host = pack(job.folder / "host")
    except Changed as changed:
        raise Failed(str(changed), started=False) from changed
    jackfield, *libraries = host
    try:
        pins = _resolve(job, (jackfield, *libraries), job.find_links)
    except Failed as failed:
        if not failed.started or is_away(failed.said) or is_full(failed.said):
            raise
        pins = _resolve(job, (jackfield,), (*job.find_links, str(job.folder / "host")))
    own = (*host, *(job.builder.wheels if job.builder is not None else ()))
    return Lock(tuple(_of_host(pin, own) for pin in pins), own)


def install(job: Job, lock: Lock, place: Path) -> tuple[Path, Listing, Stamps]:
    """Install a lock into a folder, and make that what an environment is.

    Args:
        job: the work.
        lock: what is installed.
        place: where the environment will be.

    Returns:
        The finished folder, which only needs to be moved there; its listing; the stamps of its files.

    Raises:
        Failed: when the installer could not do it.
        PluginError: when something in it cannot be.
        OSError: when the folder cannot be written.
    """
    finished = job.folder / _FINISHED
    site = finished / SITE
    finished.mkdir(mode=0o700)
    site.mkdir(mode=0o700)
    job.tell(Phase.INSTALLING, f"{len(lock.pins)} distributions")
    lines = job.folder / "lock.txt"
    lines.write_text(lock.lines, encoding="utf-8")
    job.installer.install(lines, job.find_links, site, job.folder, job.held)
    job.tell(Phase.COMPILING, "its modules")
    _compile(job, site, place / SITE)
    job.tell(Phase.CHECKING, "its files")
    distributions = tuple(_distributions(site))
    missing = {pin.name for pin in lock.pins} - {name for name, *_ in distributions}
    if missing:
        raise refused(job.request.name, f"{', '.join(sorted(missing))} was not installed", "build it anew")
    files, stamps = seal(site, job.request.name)
    request = job.request
    listing = Listing(request.requirement, request.further, str(interpreter()), lock.text, files, distributions)
    return finished, listing, stamps


def _resolve(job: Job, own: Sequence[Wheel], find_links: Sequence[str]) -> tuple[Pin, ...]:
    lines = [job.request.requirement, *job.request.further, *(wheel.line for wheel in own)]
    if job.builder is not None:
        return job.builder.resolve(job, lines, find_links, job.folder)
    wanted = job.folder / "wanted.txt"
    wanted.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return job.installer.resolve(wanted, find_links, job.folder, job.held)


def _of_host(pin: Pin, host: Sequence[Wheel]) -> Pin:
    """Write down what is the host's as what it is: not by its place, which differs from one time to the next."""
    wheel = next((one for one in host if one.name == pin.name and f"sha256:{one.sha256}" in pin.hashes), None)
    if wheel is None:
        return pin
    return Pin(wheel.name, wheel.version, "", (f"sha256:{wheel.sha256}",))


def _compile(job: Job, site: Path, place: Path) -> None:
    """Compile every module, once for all processes; what has no valid syntax (templates, old code) is left as it is.

    Nothing checks the sources again, since they do not change; and tracebacks name the place that they will have.
    """
    modules = sorted(map(str, site.rglob("*.py")))
    command = [str(interpreter()), "-I", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(site), "-p", str(place), "-i"]

    # Not `-j` of compileall: its children outlive it when it is killed.
    def compile_some(number: int) -> None:
        listed = job.folder / f"compile-{number}.txt"
        listed.write_text("".join(f"{module}\n" for module in modules[number::_COMPILERS]), "utf-8", "surrogateescape")
        job.runner.run([*command, str(listed)], job.folder, job.held)

    with ThreadPoolExecutor(_COMPILERS) as pool:
        list(pool.map(compile_some, range(_COMPILERS)))


def _distributions(site: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Read from the metadata what is installed; nothing is imported."""
    for info in sorted(site.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        entries = info / "entry_points.txt"
        text = entries.read_text(encoding="utf-8", errors="replace") if entries.is_file() else ""
        groups = tuple(sorted(set(_GROUP.findall(text))))
        yield re.sub(r"[-_.]+", "-", name).lower(), version, info.name, groups
