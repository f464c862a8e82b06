"""Building source distributions: where there is no wheel of one, a wheel is made of it, in the sandbox.

uv and pip never build: whatever they cannot find a wheel of is looked up here, fetched and checked, its build
requirements are resolved, checked and installed as everything else is, and the hooks of its backend (PEP 517) are
called in a process that reads these, an interpreter and its tools, writes in one folder, and has no network.
"""

import hashlib
import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import msgspec

from jackfield.environments.faults import is_away, is_full, refused, shorten
from jackfield.environments.host import Wheel, interpreter
from jackfield.environments.installers import Failed, Pin, Runner
from jackfield.environments.sources import Source, candidates, missed, of_url
from jackfield.environments.values import Phase
from jackfield.errors import JackfieldError

if TYPE_CHECKING:
    from jackfield.environments.building import Job

T = TypeVar("T")

_HOOK: Final = Path(__file__).with_name("hook.py")
_LONGEST: Final = 1800.0  # seconds of one hook
_ANSWER: Final = 1 << 20  # bytes of what one says
_WHEEL: Final = 1 << 30  # bytes of what one makes
_KEPT: Final = 1 << 16  # bytes of its output
_FIX: Final = "publish a wheel of it, or put one into a folder of find_links"


class System(msgspec.Struct, frozen=True):
    """What `[build-system]` of a source distribution says.

    Attributes:
        source: where it was unpacked.
        requires: what its backend needs.
        backend: the object that has the hooks.
        inside: folders of its own that the backend may be in.
    """

    source: str
    requires: tuple[str, ...]
    backend: str
    inside: tuple[str, ...]


class Builder:
    """Builds what one request has no wheels of.

    Args:
        offline: whether no index is asked.

    Attributes:
        wheels: what was built.
    """

    def __init__(self, offline: bool) -> None:
        self._offline = offline
        self._tried: set[tuple[str, str]] = set()
        self._under: list[str] = []
        self.wheels: list[Wheel] = []

    def resolve(self, job: "Job", wanted: Iterable[str], find_links: Sequence[str], folder: Path) -> tuple[Pin, ...]:
        """Resolve requirements to wheels, and build those that are missing on the way.

        Args:
            job: the work.
            wanted: the requirements.
            find_links: where wheels and source distributions are beside the index.
            folder: to work in.

        Raises:
            Failed: when there is no solution, or the index cannot be reached.
            PluginError: when something cannot be built.
        """
        file = folder / "wanted.txt"
        lines = [self._line(job, each, find_links) for each in wanted]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        while True:
            try:
                return job.installer.resolve(file, self._links(job, find_links), folder, job.held)
            except Failed as failed:
                if not failed.started or is_full(failed.said) or (is_away(failed.said) and not self._offline):
                    raise
                source = self._next(job, failed.said, find_links)
                if source is None:
                    raise
            self._build(job, source, find_links)

    def _next(self, job: "Job", said: str, find_links: Sequence[str]) -> Source | None:
        """Give what is to be built next, of what an installer has missed."""
        for name in missed(said):
            if name in self._under:
                raise refused(job.request.name, f"{name} needs itself to be built from source", _FIX)
            for source in candidates(name, said, find_links, offline=self._offline):
                if (name, str(source.version)) not in self._tried:
                    return source
        return None

    def _line(self, job: "Job", requirement: str, find_links: Sequence[str]) -> str:
        """Write a requirement down: one that means a source distribution by its URL as the wheel of that."""
        from packaging.requirements import Requirement  # noqa: PLC0415  # slow, and rarely needed
        from packaging.utils import canonicalize_name  # noqa: PLC0415  # as above

        parsed = Requirement(requirement)
        source = of_url(canonicalize_name(parsed.name), parsed.url) if parsed.url else None
        if source is None:
            return requirement
        wheel = next(
            (one for one in self.wheels if (one.name, one.version) == (source.name, str(source.version))), None
        )
        wheel = wheel or self._build(job, source, find_links)
        extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
        return f"{parsed.name}{extras} @ {wheel.path.as_uri()}"

    def _build(self, job: "Job", source: Source, find_links: Sequence[str]) -> Wheel:
        what = f"{source.name} {source.version}"
        self._tried.add((source.name, str(source.version)))
        job.tell(Phase.BUILDING, f"{what} from source")
        folder = job.folder / f"build-{len(self._tried)}"
        guest = Guest(job.runner, folder / "work", job.request.name, f"{what} ({source.file})")
        for each in (folder, guest.folder):
            each.mkdir(mode=0o700)
        archive = source.fetch(guest.folder, job.request.name)
        self._under.append(source.name)
        try:
            system = guest.ask({"step": "unpack", "archive": archive.name}, System)
            told: dict[str, Any] = {**msgspec.to_builtins(system), "site": None, "out": str(guest.folder / "out")}
            (guest.folder / "out").mkdir(mode=0o700)
            requires = self._checked(job, what, system.requires)
            told["site"] = self._site(job, folder, requires, find_links)
            more = self._checked(job, what, guest.ask({**told, "step": "requires"}, tuple[str, ...]))
            if not more <= requires:
                told["site"] = self._site(job, folder, requires | more, find_links)
            name = guest.ask({**told, "step": "wheel"}, str)
            wheel = self._taken(job, source, guest.folder / "out" / name)
        finally:
            self._under.pop()
        self.wheels.append(wheel)
        return wheel

    def _checked(self, job: "Job", what: str, requires: Iterable[str]) -> frozenset[str]:
        """Read what a source distribution wants for its building, and refuse what is no plain requirement."""
        from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # as above

        found = set()
        for text in requires:
            try:
                parsed = Requirement(text)
            except InvalidRequirement:
                raise refused(
                    job.request.name, f"{what} wants {text[:100]!r} to be built, no requirement", _FIX
                ) from None
            if parsed.url:
                raise refused(job.request.name, f"{what} wants {text[:100]!r} to be built, a URL", _FIX)
            if parsed.marker is None or parsed.marker.evaluate():
                found.add(str(parsed))
        return frozenset(found)

    def _site(self, job: "Job", folder: Path, requires: frozenset[str], find_links: Sequence[str]) -> str | None:
        """Install what a backend needs, by a lock with hashes; None when it needs nothing."""
        if not requires:
            return None
        target = folder / f"site-{len(requires)}"
        pins = self.resolve(job, sorted(requires), find_links, folder)
        lock = folder / "lock.txt"
        lock.write_text("".join(f"{pin.line}\n" for pin in pins), encoding="utf-8")
        job.installer.install(lock, self._links(job, find_links), target, folder, job.held)
        return str(target)

    def _links(self, job: "Job", find_links: Sequence[str]) -> tuple[str, ...]:
        return (*find_links, str(job.folder / "built")) if self.wheels else tuple(find_links)

    def _taken(self, job: "Job", source: Source, made: Path) -> Wheel:
        """Take what a build has made out of its folder."""
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415  # as above

        what = f"{source.name} {source.version}"
        try:
            fits = parse_wheel_filename(made.name)[:2] == (source.name, source.version)
        except InvalidWheelFilename:
            fits = False
        if not fits or made.parent.name != "out":
            raise refused(job.request.name, f"building {what} has made {made.name[:100]!r}, no wheel of it", _FIX)
        content = _content(made, _WHEEL)
        if content is None:
            raise refused(job.request.name, f"building {what} has left no wheel of an ordinary size", _FIX)
        (job.folder / "built").mkdir(mode=0o700, exist_ok=True)
        path = job.folder / "built" / made.name
        path.write_bytes(content)
        return Wheel(source.name, str(source.version), path, hashlib.sha256(content).hexdigest())


@attrs.define
class Guest:
    """The sandbox in which one source distribution is built.

    Attributes:
        runner: starts what runs there, and ends it when the host stops.
        folder: the one that it may write in.
        plugin: whose it is, and
        what: which, for errors.
    """

    runner: Runner
    folder: Path
    plugin: str
    what: str
    _asked: int = 0

    def ask(self, told: dict[str, Any], kind: type[T]) -> T:
        """Have a step done, each in a process of its own, of which nothing is left afterwards.

        Args:
            told: to `hook.py`.
            kind: of the answer.

        Raises:
            PluginError: when it fails, or there is no sandbox here.
            Failed: when it was ended.
        """
        self._asked += 1
        answer = self.folder / f"answer-{self._asked}.json"
        told = {**told, "answer": answer.name}
        here = [str(interpreter()), "-I", "-S", "-c", _HOOK.read_text("utf-8"), json.dumps(told)]
        code, said = self._run(self._confined(here, told.get("site")))
        content = _content(answer, _ANSWER)
        with suppress(msgspec.MsgspecError):
            if code == 0 and content is not None:
                return msgspec.json.decode(content, type=kind)
        reason = shorten("\n".join(said.strip().splitlines()[-3:])) if said.strip() else f"it ended with {code}"
        raise refused(self.plugin, f"{self.what} cannot be built from source: {reason}", _FIX)

    def _confined(self, command: Sequence[str], site: str | None) -> tuple[str, ...]:
        from jackfield.sandbox.confining import confine_build  # noqa: PLC0415  # where something is built alone
        from jackfield.sandbox.launching import confined_command  # noqa: PLC0415  # as above
        from jackfield.sandbox.port import Tier  # noqa: PLC0415  # as above
        from jackfield.sandbox.probing import probe  # noqa: PLC0415  # as above

        found = probe(Tier.SELF)
        if not found.available:
            reason = f"nothing is built from source outside a sandbox, and there is none here: {found.reason}"
            raise refused(self.plugin, reason, _FIX)
        try:
            readable = (site,) if site else ()
            return confined_command(confine_build(str(self.folder), str(interpreter()), readable), command)
        except JackfieldError as error:
            raise refused(self.plugin, str(error), _FIX) from error

    def _run(self, command: Sequence[str]) -> tuple[int, str]:
        options: dict[str, Any] = {"process_group": 0, "cwd": "/", "env": {}, "stderr": subprocess.STDOUT}
        with self.runner.running(command, **options) as process:
            said = bytearray()
            output = process.stdout
            assert output is not None  # noqa: S101  # it was asked for

            def drain() -> None:
                while chunk := os.read(output.fileno(), _KEPT):
                    said.extend(chunk)
                    del said[:-_KEPT]

            reader = threading.Thread(target=drain, daemon=True)
            reader.start()
            timer = threading.Timer(_LONGEST, process.kill)
            timer.daemon = True
            timer.start()
            try:
                # Not reaped before all that it has started is dead: until then the number is nobody else's.
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            finally:
                timer.cancel()
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            reader.join()
            output.close()
        return code, said.decode("utf-8", "replace")


def _content(path: Path, most: int) -> bytes | None:
    """Read what a guest has left; None unless it is an ordinary file of an ordinary size."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            return None
        return file.read(most)
