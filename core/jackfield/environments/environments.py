"""Requirement → lock → environment: found in the cache, or resolved and built there once."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs
import msgspec

from jackfield.environments.building import Job, install, resolve
from jackfield.environments.builds import Builder
from jackfield.environments.cache import SITE, Cache
from jackfield.environments.faults import from_installer, from_system, refused, without_credentials
from jackfield.environments.host import runtime
from jackfield.environments.installers import Failed, Installer, Runner, find_installer
from jackfield.environments.keys import address_of, is_url, request_key
from jackfield.environments.locks import FileLock
from jackfield.environments.seal import differs, size_of
from jackfield.environments.values import (
    SERVING,
    Distribution,
    Environment,
    EnvironmentSettings,
    Kept,
    Phase,
    Progress,
    Request,
    Step,
)
from jackfield.log import host_log

_PHASES: Final = tuple(Phase)
_INSTALL_UV: Final = "`pip install uv`; or `python -m ensurepip`, for pip"


class Environments:
    """The environments of this user, for one process.

    Everything blocks: it is for threads of a pool, any number of them. What `get` gives is open until it is released as
    often, until `close`, or until the process ends: it is checked once, and nobody collects it.

    Args:
        settings: what `[environments]` says.
        folder: of the cache; by default in the user's cache folder.
        installer: "uv" or "pip"; by default uv where it is there, else pip.
    """

    def __init__(
        self,
        settings: EnvironmentSettings | None = None,
        *,
        folder: Path | None = None,
        installer: str | None = None,
    ) -> None:
        self.settings = settings or EnvironmentSettings()
        self._links = tuple(link if is_url(link) else str(Path(link).absolute()) for link in self.settings.find_links)
        self._cache = Cache(folder)
        self._installer = installer
        self._runner = Runner()
        self._guard = threading.Lock()
        self._open: dict[str, _Open] = {}
        weakref.finalize(self, _let_go, self._open)

    def get(
        self,
        requirement: str,
        *,
        with_: Sequence[str] = (),
        refresh: bool = False,
        serving: bool = True,
        progress: Progress | None = None,
    ) -> Environment:
        """Give the environment of a requirement; resolve and build it if there is none yet.

        Once it is there, neither index nor installer is needed: it is found again by the requirement, as long as the
        host, the interpreter and what is in the folders of `find_links` are the same.

        Args:
            requirement: as PEP 508 has it: `demo-ocr==2.0`.
            with_: further distributions that are to be there.
            refresh: whether it is resolved again in any case.
            serving: whether the distribution must advertise something that can be called; not needed where a
                configuration names its functions.
            progress: is told each step; by default the log is.

        Raises:
            PluginError: (stage `environment`) when it cannot be had, with the reason and what to do.
        """
        request = Request.parse(requirement, with_)
        tell = _Teller(request, progress or _log, self._runner)
        with self._reached(request.name):
            key = request_key(request, self._links, build=self.settings.build)
            environment = None if refresh else self._remembered(key, request, tell)
            if environment is None:
                with self._cache.working(f"request-{key}", tell.wait) as (folder, lock):
                    # Somebody else may have built it in the meantime.
                    environment = None if refresh else self._remembered(key, request, tell)
                    environment = environment or self._make(request, key, folder, lock, tell)
        if serving and not SERVING.intersection(environment.distribution.groups):
            self.release(environment)
            raise _without_functions(environment.distribution)
        tell(Phase.READY, environment.address)
        return environment

    def address(self, requirement: str, *, with_: Sequence[str] = ()) -> str:
        """Tell which environment a requirement leads to now; nothing is built.

        It is resolved only where what is in the folders of `find_links` is not what it was when it was resolved last.

        Args:
            requirement: as for `get`.
            with_: as there.

        Raises:
            PluginError: (stage `environment`) when it cannot be resolved.
        """
        request = Request.parse(requirement, with_)
        tell = _Teller(request, _log, self._runner)
        with self._reached(request.name):
            key = request_key(request, self._links, build=self.settings.build)
            if (address := self._cache.remembered(key)) is not None:
                return address
            with (
                self._cache.working(f"request-{key}", tell.wait) as (folder, lock),
                self._understood(request),
            ):
                job = Job(request, self._find(request), self._runner, self._links, folder, lock.descriptor, tell)
                address = address_of(resolve(job).text)
            self._cache.remember(key, address)
            return address

    def release(self, environment: Environment) -> None:
        """Say that this process does not need an environment any more, once for each `get`."""
        with self._guard:
            opened = self._open.get(environment.address)
            if opened is None:
                return
            opened.users -= 1
            if opened.users:
                return
            del self._open[environment.address]
        opened.lock.release()

    def list(self) -> tuple[Kept, ...]:
        """List what is in the cache, what was used last first.

        Raises:
            PluginError: when it cannot be used.
        """
        with self._reached("environments"):
            return self._cache.kept()

    def remove(self, address: str) -> Kept:
        """Remove an environment.

        Args:
            address: its address, or as many of its first characters as no other has.

        Returns:
            What it was.

        Raises:
            PluginError: when there is none, there are several, or a live process uses it.
        """
        with self._reached(address):
            found = [one for one in self._cache.addresses() if address and one.startswith(address)]
            if len(found) != 1:
                what = f"{len(found)} environments have" if found else "no environment has"
                reason = f"{what} an address that begins with {address!r}"
                raise refused(address, reason, "`pluginctl env list` shows the addresses")
            known = {one.address: one for one in self._cache.kept()}
            kept = known.get(found[0]) or Kept(found[0], "", (), (), 0, 0.0, in_use=False)
            if not self._cache.remove(found[0]):
                fix = "unload the plugin, or stop the host that has it, first"
                raise refused(kept.requirement or found[0], f"a live process uses {found[0]}", fix)
            return kept

    def collect(self, size: int | None = None) -> tuple[Kept, ...]:
        """Remove what was used least recently until the cache has no more than its size; never what is in use.

        Args:
            size: bytes that may stay; by default the settings'.

        Returns:
            What has gone.

        Raises:
            PluginError: when the cache cannot be used.
        """
        limit = self.settings.size if size is None else size
        with self._reached("environments"):
            kept = self._cache.kept()
            total = sum(one.size for one in kept)
            gone = []
            for one in reversed(kept):
                if total > limit and self._cache.remove(one.address):
                    total -= one.size
                    gone.append(one)
            return tuple(gone)

    def close(self) -> None:
        """End what is being built, and let go of every environment. May be repeated."""
        self._runner.close()
        with self._guard:
            _let_go(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _reached(self, plugin: str) -> Iterator[None]:
        try:
            self._cache.prepare(plugin)
            yield
        except OSError as error:
            raise from_system(plugin, error, self._cache.folder) from error

    def _remembered(self, key: str, request: Request, tell: "_Teller") -> Environment | None:
        address = self._cache.remembered(key)
        return None if address is None else self._opened(address, request, tell)

    def _make(self, request: Request, key: str, folder: Path, lock: FileLock, tell: "_Teller") -> Environment:
        builder = Builder(self.settings.offline) if self.settings.build else None
        job = Job(request, self._find(request), self._runner, self._links, folder, lock.descriptor, tell, builder)
        with self._understood(request):
            resolved = resolve(job)
            address = address_of(resolved.text)
            # Two spellings of one requirement lead to one address; a collector may come in between.
            while (environment := self._opened(address, request, tell)) is None:
                with self._cache.alone(address, tell.wait):
                    if not self._cache.is_finished(address):
                        self._cache.publish(*install(job, resolved, self._cache.place(address)), address)
        self._cache.remember(key, address)
        self.collect()
        return environment

    @contextmanager
    def _understood(self, request: Request) -> Iterator[None]:
        """Say in words of a fault what an installer said."""
        try:
            yield
        except Failed as failed:
            if not failed.started:
                raise refused(request.name, failed.said) from failed
            raise from_installer(
                request.name,
                failed.said,
                asked=(request.requirement, *request.further),
                folder=self._cache.folder,
                offline=self.settings.offline,
                build=self.settings.build,
                runtime=", ".join(runtime().needs),
            ) from failed

    def _find(self, request: Request) -> Installer:
        installer = find_installer(self._installer, self._runner, self.settings)
        if installer is None:
            raise refused(
                request.name, f"there is no {self._installer or 'uv and no pip'} to build it with", _INSTALL_UV
            )
        return installer

    def _opened(self, address: str, request: Request, tell: "_Teller") -> Environment | None:
        """Keep an environment, checked when this process opens it; None when there is none."""
        with self._guard:
            if opened := self._open.get(address):
                opened.users += 1
                return _asked_for(opened.environment, request)
        lock = self._cache.use(address, tell.wait)
        if lock is None:
            return None
        try:
            environment = self._checked(address, request)
        except BaseException:
            lock.release()
            raise
        with self._guard:
            # Another thread may have been quicker.
            opened = None if self._runner.closed else self._open.setdefault(address, _Open(environment, lock))
            if opened is not None:
                opened.users += 1
        if opened is None or opened.lock is not lock:
            lock.release()
        if opened is None:
            raise refused(request.name, "it was given up: the host stops")
        self._cache.touch(address)
        return environment

    def _checked(self, address: str, request: Request) -> Environment:
        place = self._cache.place(address)
        fix = f"find out who wrote there; then `pluginctl env remove {address[:12]}`, and it is built anew"
        tampered = f"its environment {place} has been tampered with"
        try:
            listing, stamps = self._cache.read(address)
        except msgspec.MsgspecError:
            raise refused(request.name, f"{tampered}: its list of files cannot be read", fix) from None
        before = dict(stamps)
        if wrong := differs(place / SITE, listing.files, stamps):
            raise refused(request.name, f"{tampered}: {wrong}", fix)
        if stamps != before:
            self._cache.restamp(address, stamps)
        return Environment(
            address,
            request.requirement,
            request.further,
            place,
            Path(listing.python),
            (place / SITE,),
            listing.lock,
            tuple(Distribution(*one) for one in listing.distributions),
            size_of(listing.files),
        )


@attrs.define(eq=False)
class _Open:
    """An environment that this process has open, for so many users."""

    environment: Environment
    lock: FileLock
    users: int = 0


class _Teller:
    """Tells the progress of one request."""

    def __init__(self, request: Request, progress: Progress, runner: Runner) -> None:
        self._request = request
        self._requirement = without_credentials(request.requirement)
        self._progress = progress
        self._runner = runner
        self._waits = False

    def __call__(self, phase: Phase, text: str) -> None:
        self._progress(Step(self._requirement, phase, text, _PHASES.index(phase), len(_PHASES) - 1))

    def wait(self) -> None:
        """Tell once that somebody else works on it; give up when the host stops."""
        if self._runner.closed:
            raise refused(self._request.name, "it was given up: the host stops")
        if not self._waits:
            self._waits = True
            self(Phase.WAITING, "for whoever works on it already")


def _log(step: Step) -> None:
    host_log("INFO" if step.phase is Phase.INSTALLING else "DEBUG", f"the environment of {step}")


def _without_functions(one: Distribution) -> Exception:
    fix = 'its author advertises them under [project.entry-points."jackfield.functions"]; or name them yourself under '
    return refused(
        one.name, f"{one.name} {one.version} advertises neither a function nor a plugin", f"{fix}[plugin.functions]"
    )


def _let_go(opened: dict[str, _Open]) -> None:
    for each in opened.values():
        each.lock.release()
    opened.clear()


def _asked_for(environment: Environment, request: Request) -> Environment:
    return attrs.evolve(environment, requirement=request.requirement, further=request.further)
