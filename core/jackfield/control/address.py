"""Where a control socket is, and how a host comes to own the path: privately, and only one host at a time.

The lock file beside the socket says whether a host lives: the system drops the lock when the process ends, however it
ends. The socket file says nothing of the kind: after a kill -9 it is still there. The lock file is never removed, since
between opening it and locking it somebody else could lock the removed one.
"""

import os
import secrets
import socket
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from jackfield.control.peers import peer_of, require_unix
from jackfield.control.trust import look, require_private
from jackfield.errors import ConfigError, PermissionDenied, Unavailable

VARIABLE: Final = "JACKFIELD_CONTROL"
_ELSEWHERE: Final = f"choose another ({VARIABLE}=PATH)"
_BACKLOG: Final = 128
_PATH_LIMIT: Final = 103  # bytes; macOS has 104 with the final zero, Linux 108

# A forked child inherits the lock; unless it lets go, the path stays taken after the host's death.
_locks: set[int] = set()
_guard = threading.Lock()


def control_path(path: str | Path | None = None, name: str = "host") -> Path:
    """Give the path of a control socket.

    Args:
        path: an explicit one; else `JACKFIELD_CONTROL` if that is set; else `jackfield/<name>.sock` in
            `$XDG_RUNTIME_DIR`, or `jackfield-<uid>/<name>.sock` in the folder for temporary files.
        name: what the host is called.

    Returns:
        The path, absolute.

    Raises:
        ConfigError: if the name is no plain file name.
        Unavailable: where there are no Unix sockets.

    Examples:
        >>> control_path("/run/orders/control.sock").name
        'control.sock'
    """
    require_unix()
    chosen = path or os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    if not name or name != Path(name).name or name.startswith("."):
        raise ConfigError("control socket", None, "name", f"{name!r} is no plain file name")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # After `su` the variable may still name the folder of another user.
    if runtime and Path(runtime).is_absolute() and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "jackfield" / f"{name}.sock"
    return Path(tempfile.gettempdir()) / f"jackfield-{os.geteuid()}" / f"{name}.sock"


def described(path: Path) -> str:
    """Name a control socket in a message."""
    return f"control socket {path}"


class Listener:
    """A listening socket at a path that is this process's own until `close`.

    Args:
        path: where to listen; a missing folder is made, mode 0700. The socket gets mode 0600.

    Attributes:
        path: the same.
        socket: listens; does not block.

    Raises:
        Unavailable: if a living host has the path, if it is too long, or if it is taken by something else.
        PermissionDenied: if others could put their own socket there.
    """

    def __init__(self, path: Path) -> None:
        require_unix()
        self.path = path
        self._closed = False
        length = len(os.fsencode(path.parent)) + 1 + max(len(os.fsencode(path.name)), len(_temporary_name()))
        if length > _PATH_LIMIT:
            reason = f"is {length} bytes long, the most is {_PATH_LIMIT}: choose a shorter one ({VARIABLE}=PATH)"
            raise Unavailable(described(path), reason)
        try:
            _own_folder(path)
            self._lock = _lock(path)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            _check_free(path)
            self.socket, self._inode = _bind(path)
        except BaseException as error:
            _unlock(self._lock)
            if isinstance(error, OSError):
                raise _refused(path, error) from error
            raise

    def close(self) -> None:
        """Take the socket file away if it is still this one, stop listening, and let the path go. May be repeated."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):  # somebody has removed it, or its folder: that it is gone is all that was wanted
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._inode:
                self.path.unlink()
        self.socket.close()
        with suppress(OSError):  # as above
            # Whoever has opened it meanwhile finds, once it has the lock, that the file is gone, and makes another.
            _lock_file(self.path).unlink()
        _unlock(self._lock)


def _own_folder(path: Path) -> None:
    """See to it that nobody else can replace what is in the folder."""
    folder = path.parent
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another host was quicker
            folder.mkdir(mode=0o700)
    found, _ = look(folder, described(path), _ELSEWHERE)
    require_private(folder, found, described(path), _ELSEWHERE)


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path) -> int:
    """Open and lock the file beside the socket, and write this process's id into it."""
    import fcntl  # noqa: PLC0415  # Windows has none, and must be able to import this module

    file = _lock_file(path)
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, file):
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"%d\n" % os.getpid(), 0)
                with _guard:
                    _locks.add(lock)
                return lock
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).strip().decode("ascii", "replace")
            os.close(lock)
            raise _taken(path, holder) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # removed by a cleaner meanwhile: lock the new one


def _is_at(lock: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(file))
    except FileNotFoundError:
        return False


def _unlock(lock: int) -> None:
    with _guard:
        _locks.discard(lock)
    os.close(lock)


def _let_go_in_child() -> None:
    # Closed, not unlocked: the lock belongs to the open file, which the parent has open too.
    global _guard  # noqa: PLW0603  # another thread may have held it when this process was forked off
    _guard = threading.Lock()
    for lock in _locks:
        os.close(lock)
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def _check_free(path: Path) -> None:
    """Refuse a path at which there is anything but the socket of a dead host."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Unavailable(described(path), f"is taken by something that is no socket: remove it, or set {VARIABLE}")
    if found.st_uid != os.geteuid():
        raise PermissionDenied(described(path), f"belongs to user {found.st_uid}: {_ELSEWHERE}")
    # The lock is ours; but a cleaner of temporary files may have removed the one that a living host holds.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:  # somebody listens, and has many waiting
            raise _taken(path, "") from None
        raise _taken(path, str(peer_of(probe).pid or ""))


def _bind(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    """Listen under another name, then move it: nobody sees a socket with the wrong mode, or one that does not listen.

    The process's umask is left alone: it is everybody's.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(_temporary_name())
    try:
        listener.bind(os.fspath(temporary))
        try:
            temporary.chmod(0o600)
            listener.listen(_BACKLOG)
            listener.settimeout(0)
            made = os.lstat(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except BaseException:
        listener.close()
        raise
    return listener, (made.st_dev, made.st_ino)


def _temporary_name() -> str:
    return f".{secrets.token_hex(4)}"


def _taken(path: Path, pid: str) -> Unavailable:
    who = f"process {pid}" if pid else "another process"
    return Unavailable(
        described(path),
        f"a host already listens there ({who}): stop that one, or give this one a path of its own ({VARIABLE}=PATH)",
    )


def _refused(path: Path, error: OSError) -> Unavailable | PermissionDenied:
    if isinstance(error, PermissionError):
        return PermissionDenied(described(path), f"{error.strerror}: {error.filename}: {_ELSEWHERE}")
    return Unavailable(described(path), f"cannot listen there: {error}: {_ELSEWHERE}")
