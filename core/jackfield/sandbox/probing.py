"""Which tiers can be had here: found out by starting a guest of each, under a limit of time, once a process."""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from time import monotonic
from typing import Final

import msgspec

from jackfield.errors import JackfieldError
from jackfield.sandbox.confining import confine, interpreter_paths
from jackfield.sandbox.guest import Told, namespaces
from jackfield.sandbox.port import Confiner, Finding, Launch, Limits, Tier
from jackfield.sandbox.starting import finish, start
from jackfield.sandbox.tiers import confiner
from jackfield.sandbox.tiers.oci import sweep
from jackfield.text import printable

TIMEOUT: Final = 10.0
"""Seconds that a guest has to start, enter both stages and answer."""

LIBRARIES: Final = ("jackfield", "attr", "attrs", "msgspec", "pluggy", "packaging", "typing_extensions")
"""Top-level modules that guests import from where this process does."""

_LIMITS = Limits(memory=1 << 29, pids=64, open_files=64)
_MOST = 1 << 16
_found: dict[tuple[Tier, str | None], Finding] = {}
_lock = threading.Lock()


def probe(tier: Tier, program: str | None = None, *, timeout: float = TIMEOUT, again: bool = False) -> Finding:
    """Find out whether guests of a tier can be started, and are confined then.

    Args:
        tier: which.
        program: bubblewrap, or the OCI runtime, by name or path.
        timeout: seconds that the guest has.
        again: whether to look anew, where this process knows already.
    """
    with _lock:  # several that ask at once wait for one guest; no code of others runs in it
        if again or (tier, program) not in _found:
            _found[tier, program] = _probe(confiner(tier, program), timeout)
        return _found[tier, program]


def probe_all(program: str | None = None) -> tuple[Finding, ...]:
    """Probe every tier.

    Args:
        program: the OCI runtime, by name or path.
    """
    return tuple(probe(tier, program if tier is Tier.OCI else None) for tier in Tier)


def guest_command(code: str, *arguments: str, paths: Sequence[str] | None = None) -> tuple[str, ...]:
    """Give the command of a guest that runs some code in this interpreter, isolated, with jackfield in reach.

    Args:
        code: what it runs; what is on `sys.path` of Python's own is `library` there.
        arguments: what comes behind, in `sys.argv[1:]`.
        paths: where jackfield is imported from; by default where it is here.
    """
    runtime = runtime_paths() if paths is None else paths
    path = f"import sys; library = tuple(sys.path); sys.path[:0] = {list(runtime)!r}\n"
    return (sys.executable, "-I", "-S", "-X", "frozen_modules=on", "-c", path + code, *arguments)


def runtime_paths(names: Iterable[str] = LIBRARIES) -> tuple[str, ...]:
    """Give the folders from which this process imports what a guest needs, each once.

    Args:
        names: of the top-level modules that it needs.
    """
    return tuple(dict.fromkeys(root for root, _ in places(names)))


def places(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give the folder on `sys.path` and the package or file of each top-level module; nothing is imported.

    Args:
        names: of the modules; those that are not there are left out.
    """
    for name in names:
        with contextlib.suppress(ImportError, ValueError, AttributeError):
            spec = find_spec(name)
            folders = list(spec.submodule_search_locations or ()) if spec is not None else []
            for folder in folders:
                yield os.path.dirname(folder), folder
            if spec is not None and spec.origin is not None and not folders:
                yield os.path.dirname(spec.origin), spec.origin


def _probe(tier: Confiner, timeout: float) -> Finding:
    began = monotonic()
    if reason := tier.missing():
        return Finding(tier.tier, reason)
    if tier.tier is Tier.OCI:
        sweep()
    try:
        told = _ask(tier, began + timeout)
    except JackfieldError as error:
        return Finding(tier.tier, printable(str(error)))
    except (OSError, msgspec.MsgspecError) as error:
        return Finding(tier.tier, printable(f"a guest cannot be started: {error}"))
    if told.reason or told.wrong:
        return Finding(tier.tier, printable(told.reason or f"a guest is not confined: {'; '.join(told.wrong)}"))
    if tier.tier is not Tier.SELF and (shared := set(told.namespaces) & set(namespaces())):
        return Finding(
            tier.tier, f"a guest has started, but nothing is around it: it shares {', '.join(sorted(shared))}"
        )
    return Finding(tier.tier, notes=told.notes, seconds=monotonic() - began)


def _ask(tier: Confiner, until: float) -> Told:
    confinement = confine((sys.prefix, *interpreter_paths(), *runtime_paths()), tier=tier.tier, limits=_LIMITS)
    command = guest_command("from jackfield.sandbox.guest import main; main()")
    mine, its = socket.socketpair()
    with mine, tempfile.TemporaryFile() as said:
        launch = tier.launch(command, confinement)
        with its:
            pid = start(launch, descriptors=[its.fileno()], stderr=said.fileno())
        try:
            mine.settimeout(max(until - monotonic(), 0.001))
            mine.sendall(msgspec.msgpack.encode(confinement))
            mine.shutdown(socket.SHUT_WR)
            answer = _received(mine, until)
        except TimeoutError as error:
            raise OSError("it has not answered in time") from error
        except ConnectionError:
            answer = b""
        finally:
            _end(pid, launch)
        if not answer:
            said.seek(0)
            last = said.read()[-2000:].decode(errors="replace").strip().splitlines()
            raise OSError(f"it ended without an answer{': ' if last else ''}{last[-1] if last else ''}")
        return msgspec.msgpack.decode(answer, type=Told)


def _received(mine: socket.socket, until: float) -> bytes:
    parts: list[bytes] = []
    while sum(map(len, parts)) < _MOST:
        mine.settimeout(max(until - monotonic(), 0.001))
        part = mine.recv(_MOST)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def _end(pid: int, launch: Launch) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # where the program at hand ignores SIGCHLD
        os.waitpid(pid, 0)
    finish(launch)
