"""uv, or pip where uv is absent: how a requirement is resolved to a lock, and a lock installed into a folder.

Both are started with an environment of their own: nothing of the host's variables but what says where indexes, proxies
and certificates are.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from jackfield.environments.host import interpreter
from jackfield.environments.values import EnvironmentSettings

_KEPT: Final = re.compile(
    r"""
    (HTTP|HTTPS|ALL|NO|FTP)_PROXY
    | SSL_CERT_(FILE|DIR) | SSL_CLIENT_CERT | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | NETRC
    | PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CONFIG_FILE|CACHE_DIR
          |TIMEOUT|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER|USE_DEPRECATED|USE_FEATURE)
    | UV_(INDEX\w*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|CONFIG_FILE
         |CACHE_DIR|HTTP_\w+|REQUEST_TIMEOUT|OFFLINE|KEYRING_PROVIDER)
    # Where the files are that say the same: pip.conf, uv.toml, .netrc; and what Windows needs to open a socket.
    | HOME | XDG_CONFIG_(HOME|DIRS) | XDG_CACHE_HOME | USERPROFILE | APPDATA | LOCALAPPDATA | PROGRAMDATA | SYSTEMROOT
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SET: Final = {
    "PATH": os.defpath,
    "NO_COLOR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
}
# Killed with the host, whatever happens to it: the signal is asked for before the installer takes the process over.
_TIED: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)
_UNFETCHED: Final = re.compile(
    r"Could not fetch URL .*(?:connection error|5\d\d Server Error|timed out|confirming the ssl certificate).*"
)
_HASH: Final = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;\\]+)|@\s*([^\s\\]+))")


@attrs.frozen
class Pin:
    """One distribution of a lock.

    Attributes:
        name: normalised.
        version: its version; "" for one that was asked for by URL.
        url: its URL; "" for one of an index or of `find_links`.
        hashes: `sha256:…` of each file that may be installed.
    """

    name: str
    version: str
    url: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The line of a requirements file."""
        what = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return " ".join([what, *(f"--hash={one}" for one in self.hashes)])


@attrs.frozen
class Done:
    """What an installer left: its exit code, and what it said."""

    code: int
    out: str
    err: str


class Failed(Exception):  # never leaves the package: it becomes a PluginError
    """An installer ended without having done it.

    Args:
        said: all that it said.
        started: whether it said that itself; else it is why it did not run to its end.
    """

    def __init__(self, said: str, *, started: bool = True) -> None:
        super().__init__(said)
        self.said = said
        self.started = started


class Runner:
    """Starts what works in a folder, and ends it when it is closed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.closed = False

    def run(self, command: Sequence[str], folder: Path, held: int) -> Done:
        """Run one to its end.

        Args:
            command: its command line.
            folder: where it runs, and puts its temporary files.
            held: the descriptor of the lock on that folder, which it shares.

        Raises:
            Failed: when it cannot be started, or was ended.
        """
        if sys.platform == "linux":
            command = [str(interpreter()), "-I", "-S", "-c", _TIED, str(os.getpid()), *command]
        temporary = folder / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        with self.running(
            command,
            cwd=folder,
            env={**surroundings(os.environ), "TMPDIR": str(temporary), "TEMP": str(temporary)},
            stderr=subprocess.PIPE,
            pass_fds=() if sys.platform == "win32" else (held,),
        ) as process:
            out, err = process.communicate()
        return Done(process.returncode, *(text.decode("utf-8", "replace").replace("\r\n", "\n") for text in (out, err)))

    @contextmanager
    def running(self, command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
        """Have a process, which is killed if this is closed meanwhile.

        Args:
            command: its command line.
            options: of `Popen`.

        Raises:
            Failed: when it cannot be started, or was ended.
        """
        with self._guard:
            if self.closed:
                raise Failed("it was given up: the host stops", started=False)
            try:
                process = subprocess.Popen[bytes](  # uv or pip, found here, or what is in a sandbox
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options
                )
            except OSError as error:
                raise Failed(f"{command[0]} cannot be started: {error.strerror}", started=False) from error
            self._running.add(process)
        try:
            yield process
        finally:
            with self._guard:
                self._running.discard(process)
        if self.closed:
            raise Failed("it was given up: the host stops", started=False)

    def close(self) -> None:
        """End what runs, and start nothing more."""
        with self._guard:
            self.closed = True
            for process in self._running:
                process.kill()


class Installer(Protocol):
    """What resolves and installs."""

    def resolve(self, wanted: Path, find_links: Sequence[str], folder: Path, held: int) -> tuple[Pin, ...]:
        """Resolve a requirements file; nothing is installed.

        Raises:
            Failed: when it has no solution, or what is asked cannot be reached.
        """
        ...

    def install(self, lock: Path, find_links: Sequence[str], target: Path, folder: Path, held: int) -> None:
        """Install a requirements file with hashes, and nothing besides, into a folder.

        Raises:
            Failed: when it cannot be done.
        """
        ...


@attrs.frozen
class Uv:
    """uv, of which only the binary is needed.

    Attributes:
        binary: where it is.
        runner: starts it.
        settings: what it may do.
    """

    binary: str
    runner: Runner
    settings: EnvironmentSettings

    def resolve(self, wanted: Path, find_links: Sequence[str], folder: Path, held: int) -> tuple[Pin, ...]:
        """Resolve a requirements file, as `Installer` has it."""
        flags = ["--generate-hashes", "--no-header", "--no-annotate", *self._common(find_links)]
        done = self.runner.run([self.binary, "pip", "compile", str(wanted), *flags], folder, held)
        if done.code:
            raise Failed(done.err or done.out)
        return parse_lock(done.out)

    def install(self, lock: Path, find_links: Sequence[str], target: Path, folder: Path, held: int) -> None:
        """Install a requirements file, as `Installer` has it."""
        # Copies: a link would share its content, and the right to write it, with uv's own cache.
        flags = ["--require-hashes", "--no-deps", "--link-mode", "copy", *self._common(find_links)]
        command = [self.binary, "pip", "install", "--target", str(target), "-r", str(lock), *flags]
        done = self.runner.run(command, folder, held)
        if done.code:
            raise Failed(done.err or done.out)
        (target / ".lock").unlink(missing_ok=True)

    def _common(self, find_links: Sequence[str]) -> list[str]:
        flags = ["--quiet", "--python", str(interpreter()), "--no-sources"]
        flags += ["--offline"] if self.settings.offline else []
        flags += ["--no-build"]  # whatever is built is built by `builds`, in the sandbox
        return flags + [part for link in find_links for part in ("--find-links", link)]


@attrs.frozen
class Pip:
    """The pip of this interpreter.

    Attributes:
        runner: starts it.
        settings: what it may do.
    """

    runner: Runner
    settings: EnvironmentSettings

    def resolve(self, wanted: Path, find_links: Sequence[str], folder: Path, held: int) -> tuple[Pin, ...]:
        """Resolve a requirements file, as `Installer` has it."""
        report = folder / "report.json"
        flags = ["--dry-run", "--ignore-installed", "--report", str(report), "--target", str(folder / "nowhere")]
        self._run([*flags, "-r", str(wanted)], find_links, folder, held)
        return _sorted(map(_reported, json.loads(report.read_bytes())["install"]))

    def install(self, lock: Path, find_links: Sequence[str], target: Path, folder: Path, held: int) -> None:
        """Install a requirements file, as `Installer` has it."""
        flags = ["--target", str(target), "--require-hashes", "--no-deps", "--no-compile", "--no-warn-script-location"]
        self._run([*flags, "-r", str(lock)], find_links, folder, held)

    def _run(self, rest: Sequence[str], find_links: Sequence[str], folder: Path, held: int) -> None:
        # That an index is away, pip says in its log alone: to its user a distribution is just not to be found.
        log = folder / "pip.log"
        log.unlink(missing_ok=True)
        flags = ["--progress-bar", "off", "--log", str(log), "--only-binary", ":all:"]  # as above
        flags += ["--no-index"] if self.settings.offline else []
        flags += [part for link in find_links for part in ("--find-links", link)]
        done = self.runner.run([sys.executable, "-I", "-m", "pip", "install", *flags, *rest], folder, held)
        if done.code:
            logged = log.read_text("utf-8", "replace") if log.exists() else ""
            raise Failed("\n".join([*_UNFETCHED.findall(logged), done.err, done.out]))


def find_installer(wanted: str | None, runner: Runner, settings: EnvironmentSettings) -> Installer | None:
    """Find what installs.

    Args:
        wanted: "uv" or "pip"; None for uv where it is there, else pip.
        runner: starts it.
        settings: what it may do.

    Returns:
        It; None when neither is there.
    """
    if wanted in (None, "uv") and (binary := _uv()):
        return Uv(binary, runner, settings)
    if wanted in (None, "pip") and _has_pip():
        return Pip(runner, settings)
    return None


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that an installer sees.

    Args:
        environ: those of the host.

    Examples:
        >>> seen = surroundings({"https_proxy": "http://proxy:3128", "DATABASE_URL": "postgres://me:secret@db/"})
        >>> seen["https_proxy"], "DATABASE_URL" in seen
        ('http://proxy:3128', False)
    """
    return {name: value for name, value in environ.items() if _KEPT.fullmatch(name)} | _SET


def parse_lock(text: str) -> tuple[Pin, ...]:
    r"""Read what `uv pip compile --generate-hashes` writes.

    Raises:
        Failed: when a line of it is not understood, or has no hash.

    Examples:
        >>> parse_lock("demo-a==1.0 \\\n    --hash=sha256:" + "0" * 64)[0].version
        '1.0'
    """
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "-")):
            continue
        found, hashes = _PIN.match(line.strip()), tuple(sorted(_HASH.findall(line)))
        if found is None or not hashes:
            raise Failed(f"its answer has a line without a version or a hash: {line.strip()[:200]}")
        name, version, url = found.groups()
        pins.append(Pin(_normal(name), version or "", url or "", hashes))
    return _sorted(pins)


def _sorted(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """Order a lock so that it does not matter who made it."""
    return tuple(sorted(pins, key=lambda pin: pin.name))


def _reported(entry: Mapping[str, object]) -> Pin:
    """Read one entry of the report that pip writes."""
    told: dict[str, str] = entry["metadata"]  # type: ignore[assignment]  # as pip's documentation has it
    download: dict[str, dict[str, dict[str, str]]] = entry["download_info"]  # type: ignore[assignment]  # as above
    sha256 = download.get("archive_info", {}).get("hashes", {}).get("sha256")
    if sha256 is None:
        raise Failed(f"there is no sha256 of {told['name']} {told['version']}")
    url = str(download["url"]) if entry.get("is_direct") else ""
    return Pin(_normal(told["name"]), "" if url else told["version"], url, (f"sha256:{sha256}",))


def _uv() -> str | None:
    """Find uv beside this interpreter, where `pip install uv` puts it, or on the PATH."""
    return shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")


def _has_pip() -> bool:
    from importlib.util import find_spec  # noqa: PLC0415  # rarely needed

    return find_spec("pip") is not None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
