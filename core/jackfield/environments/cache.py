"""Where environments are kept, so that no process ever sees half of one: names in a folder, locks, a rename.

::

    environments/            0700
      ADDRESS/               finished; environment.json, stamps, site-packages (read-only)
      .new-KEY/              where somebody works who holds locks/KEY; without a holder: left over
      .old-ADDRESS-…/        being removed; may be removed by anybody
      requests/DIGEST        the address that a request has led to
      locks/KEY              exclusive: who resolves or builds
      locks/ADDRESS.use      shared: who uses it; exclusive: who removes it
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from jackfield.config.trust import Trust
from jackfield.environments.faults import refused, without_credentials
from jackfield.environments.locks import FileLock
from jackfield.environments.seal import Files, Stamps
from jackfield.environments.values import Kept

LISTING: Final = "environment.json"
SITE: Final = "site-packages"
_STAMPS: Final = "stamps"
_ADDRESS: Final = re.compile(r"[0-9a-f]{32}")
_NEW: Final = ".new-"
_OLD: Final = ".old-"
_USE: Final = ".use"


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `environment.json` says.

    Attributes:
        requirement: what it was built for.
        further: the other distributions that were asked for.
        python: the interpreter.
        lock: every distribution with its hashes.
        files: what is in its site-packages.
        distributions: name, version, folder of metadata, and jackfield's groups of entry points.
    """

    requirement: str
    further: tuple[str, ...]
    python: str
    lock: str
    files: Files
    distributions: tuple[tuple[str, str, str, tuple[str, ...]], ...]


class Cache:
    """The folder of all environments of this user.

    Args:
        folder: where; by default in the user's cache.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            import platformdirs  # noqa: PLC0415  # slow, and rarely needed

            folder = platformdirs.user_cache_path("jackfield", appauthor=False) / "environments"
        self.folder = folder.absolute()
        self._locks = self.folder / "locks"
        self._requests = self.folder / "requests"

    def prepare(self, plugin: str) -> None:
        """Make the folder if need be, see that it is this user's alone, and remove what others have left half done.

        Raises:
            PluginError: when somebody else could have put something there.
            OSError: when it cannot be used.
        """
        for folder in (self.folder, self._locks, self._requests):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) != stat.S_IRWXU:
                folder.chmod(0o700)
        trust = Trust()
        if trust.strict and (doubt := trust.doubt(str(self.folder))):
            raise refused(plugin, f"the cache is not to be believed: {doubt.reason}", doubt.fix)
        self._clear()

    @contextmanager
    def working(self, key: str, waiting: Callable[[], None]) -> Iterator[tuple[Path, FileLock]]:
        """Have a folder to work in, which only one thread of one process has at a time.

        Args:
            key: what for.
            waiting: called as long as somebody else has it.

        Yields:
            The folder, empty, and the lock, which a child process that works there is to inherit: after a kill the
            folder stays taken until such a child has ended, too.
        """
        lock = FileLock.wait(self._locks / key, waiting=waiting)
        folder = self.folder / f"{_NEW}{key}"
        try:
            delete(folder)
            folder.mkdir(mode=0o700)
            yield folder, lock
        finally:
            delete(folder)
            lock.release(remove=True)

    @contextmanager
    def alone(self, address: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the only one who builds an address, be it for several requests."""
        lock = FileLock.wait(self._locks / address, waiting=waiting)
        try:
            yield
        finally:
            lock.release(remove=True)

    def place(self, address: str) -> Path:
        """Give the folder of an environment, be it there or not."""
        return self.folder / address

    def use(self, address: str, waiting: Callable[[], None]) -> FileLock | None:
        """Keep an environment from being removed; None when there is none of that address."""
        lock = FileLock.wait(self._use(address), shared=True, waiting=waiting)
        if self.is_finished(address):
            return lock
        lock.release()
        return None

    def is_finished(self, address: str) -> bool:
        """Tell whether an environment is there."""
        return (self.place(address) / LISTING).is_file()

    def publish(self, work: Path, listing: Listing, stamps: Stamps, address: str) -> None:
        """Have a finished folder take its place, in one step."""
        (work / LISTING).write_bytes(msgspec.json.encode(listing))
        (work / _STAMPS).write_bytes(msgspec.msgpack.encode(stamps))
        with suppress(FileNotFoundError):  # what lies there without a listing is no environment
            self._set_aside(address)
        work.rename(self.place(address))

    def read(self, address: str) -> tuple[Listing, Stamps]:
        """Read the listing of an environment.

        Raises:
            OSError, msgspec.MsgspecError: when it cannot be read.
        """
        place = self.place(address)
        listing = msgspec.json.decode((place / LISTING).read_bytes(), type=Listing)
        stamps: Stamps = {}
        with suppress(OSError, msgspec.MsgspecError):  # then everything is read
            stamps = msgspec.msgpack.decode((place / _STAMPS).read_bytes(), type=Stamps)
        return listing, stamps

    def restamp(self, address: str, stamps: Stamps) -> None:
        """Keep the stamps of what had to be read, so that the next one need not."""
        file = self.place(address) / _STAMPS
        with suppress(OSError):  # slower, not wrong
            temporary = file.with_name(f"{_STAMPS}.{os.urandom(4).hex()}")
            temporary.write_bytes(msgspec.msgpack.encode(stamps))
            temporary.replace(file)

    def remembered(self, request: str) -> str | None:
        """Give the address that a request has led to."""
        with suppress(OSError, UnicodeError):
            address = (self._requests / request).read_text("ascii")
            return address if _ADDRESS.fullmatch(address) else None
        return None

    def remember(self, request: str, address: str) -> None:
        """Note the address that a request leads to."""
        temporary = self._requests / f"{request}.{os.urandom(4).hex()}"
        temporary.write_text(address, "ascii")
        temporary.replace(self._requests / request)

    def touch(self, address: str) -> None:
        """Note that an environment is used now."""
        with suppress(OSError):  # it is only the order in which they are collected
            os.utime(self._use(address))

    def addresses(self) -> tuple[str, ...]:
        """Give the addresses of all that are finished."""
        try:
            return tuple(sorted(path.name for path in self.folder.iterdir() if _ADDRESS.fullmatch(path.name)))
        except FileNotFoundError:
            return ()

    def kept(self) -> tuple[Kept, ...]:
        """List the environments, what was used last first."""
        found = []
        for address in self.addresses():
            with suppress(OSError, msgspec.MsgspecError):  # it goes this very moment
                found.append(self._kept(address))
        return tuple(sorted(found, key=lambda one: -one.used))

    def remove(self, address: str) -> bool:
        """Remove an environment; False when a live process has it."""
        lock = FileLock.take(self._use(address))
        if lock is None:
            return False
        try:
            with suppress(FileNotFoundError):
                self._set_aside(address)
            for request in self._requests.iterdir():
                if self.remembered(request.name) == address:
                    request.unlink(missing_ok=True)
        finally:
            lock.release(remove=True)
        return True

    def _set_aside(self, address: str) -> None:
        old = self.folder / f"{_OLD}{address}-{os.urandom(4).hex()}"
        self.place(address).rename(old)
        delete(old)

    def _kept(self, address: str) -> Kept:
        listing, _ = self.read(address)
        lock = FileLock.take(self._use(address))
        if lock is not None:
            lock.release()
        return Kept(
            address,
            without_credentials(listing.requirement),
            tuple(map(without_credentials, listing.further)),
            tuple(f"{name}=={version}" for name, version, *_ in listing.distributions),
            sum(size for size, _ in listing.files.values()),
            self._used(address),
            lock is None,
        )

    def _used(self, address: str) -> float:
        try:
            return self._use(address).stat().st_mtime
        except OSError:
            return time.time()

    def _use(self, address: str) -> Path:
        return self._locks / f"{address}{_USE}"

    def _clear(self) -> None:
        """Remove what killed processes have left."""
        names = [path.name for path in self.folder.iterdir()]
        locks = [path.name for path in self._locks.iterdir()]
        for name in names:
            if name.startswith(_OLD):
                delete(self.folder / name)
        gone = {name for name in locks if name.endswith(_USE) and not self.place(name.removesuffix(_USE)).exists()}
        begun = {name.removeprefix(_NEW) for name in names if name.startswith(_NEW)}
        for key in gone | begun | {name for name in locks if not name.endswith(_USE)}:
            lock = FileLock.take(self._locks / key)
            if lock is not None:
                delete(self.folder / f"{_NEW}{key}")
                lock.release(remove=True)


def delete(folder: Path) -> None:
    """Remove a folder, a read-only one too; whoever else does the same at this moment is no obstacle."""
    if not folder.is_symlink() and not folder.exists():
        return
    for parent, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(parent, 0o700)  # noqa: PTH101  # a string
    shutil.rmtree(folder, ignore_errors=True)
