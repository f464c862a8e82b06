"""Whether a path is what it seems: each component is looked at by itself, links too; nobody else can change it."""

import os
import stat
from collections import deque
from pathlib import Path
from typing import Final

from jackfield.errors import PermissionDenied

_LINKS: Final = 40  # as many as the system follows
_SEARCH: Final = os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_PATH", 0)


def trusted(uid: int) -> bool:
    """Whether this process believes what that user has made: its own and root's; root believes nobody but itself."""
    return uid in (os.geteuid(), 0)


def look(path: Path, what: str, fix: str) -> tuple[os.stat_result, os.stat_result]:
    """Look at what a path leads to, without following any link that somebody else has made or could replace.

    Every component must belong to this user or to root, in a folder where others cannot replace it: one that not
    everybody may write in, or one such as `/tmp`, where everybody may take away only what is his own. That is also what
    makes it safe to use the path again afterwards.

    Args:
        path: an absolute path.
        what: what it is, for the error.
        fix: what to do when it is not to be trusted.

    Returns:
        What is there, no link, and the folder that it is in.

    Raises:
        PermissionDenied: when it is not to be trusted.
        OSError: when there is nothing, or the way there is closed.
    """
    at, ahead, links = Path("/"), deque(path.parts[1:]), 0
    folder = os.open("/", _SEARCH)
    try:
        found = inside = os.fstat(folder)
        while ahead:
            inside, name = os.fstat(folder), ahead.popleft()
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not trusted(found.st_uid):
                raise PermissionDenied(what, f"{at / name} belongs to user {found.st_uid}: {fix}")
            _refuse_writable(at, inside, stat.S_IWOTH, what, fix)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                if links > _LINKS:
                    raise PermissionDenied(what, f"{path} leads through too many links: {fix}")
                target = Path(os.readlink(name, dir_fd=folder))
                ahead.extendleft(reversed(target.parts))  # an absolute one begins with "/"
            elif ahead:
                inner = os.open(name, _SEARCH, dir_fd=folder)
                os.close(folder)
                folder, at = inner, at / name
        return found, inside
    finally:
        os.close(folder)


def require_private(path: Path, folder: os.stat_result, what: str, fix: str) -> None:
    """Refuse a folder in which others, a group included, may put or replace a socket.

    Raises:
        PermissionDenied: then.
    """
    _refuse_writable(path, folder, stat.S_IWGRP | stat.S_IWOTH, what, fix)


def _refuse_writable(path: Path, folder: os.stat_result, by: int, what: str, fix: str) -> None:
    if folder.st_mode & by and not folder.st_mode & stat.S_ISVTX:
        raise PermissionDenied(what, f"others may write in {path}: `chmod 700 {path}`, or {fix}")
