"""Who else could have written a file that is about to be believed: a configuration, or the code of a plugin.

Whoever may write it, or any folder on the way to it, decides what the host does. For root nobody else may; other users
are warned, since they can only lose what is theirs.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator

import attrs

_LINKS = 40  # as many as Linux follows


@attrs.frozen
class Mistrust:
    """Why a file is not to be believed.

    Attributes:
        path: the file, or the folder on the way to it.
        reason: as a clause that names it.
        fix: the command that mends it.
    """

    path: str
    reason: str
    fix: str


class Trust:
    """Looks at files, and at each folder once.

    Args:
        uid: of the user that is to believe them; by default this process's. On a system without users everything is
            believed.
    """

    def __init__(self, uid: int | None = None) -> None:
        self.uid = getattr(os, "geteuid", lambda: -1)() if uid is None else uid
        self._good: set[str] = set()

    @property
    def strict(self) -> bool:
        """Whether what is not to be believed is refused."""
        return self.uid == 0

    def doubt(self, path: str) -> Mistrust | None:
        """Find the first reason not to believe a file, or a folder with whatever may be put into it.

        A folder on the way that others may write is good if it is sticky, as `/tmp` is: they cannot replace there what
        is not theirs. A group that has its owner's name and no further member is its owner's alone.

        Args:
            path: the file or folder; every link on the way is followed, and looked at.

        Raises:
            OSError: when it cannot be looked at.
        """
        return None if self.uid < 0 else next(self._doubts(os.path.abspath(path)), None)  # noqa: PTH100

    def _doubts(self, path: str) -> Iterator[Mistrust]:
        """Go the way that the system goes, link by link."""
        here, links = os.sep, 0
        ahead = path.split(os.sep)[::-1]  # noqa: PTH206  # strings, here and below: this is done for every file
        while ahead:
            part = ahead.pop()
            if part == os.pardir:
                here = os.path.dirname(here)  # noqa: PTH120
                continue
            there = os.path.join(here, part) if part not in ("", os.curdir) else here  # noqa: PTH118
            if there in self._good:
                here = there
                continue
            status = os.lstat(there)
            last = not any(part not in ("", os.curdir) for part in ahead)
            if found := self._mistrust(there, status, sticky_is_good=not last):
                yield found
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(there)  # noqa: PTH115
                here = os.sep if target.startswith(os.sep) else here
                ahead += target.split(os.sep)[::-1]  # noqa: PTH206
                continue
            here = there
            if not last:
                self._good.add(here)

    def _mistrust(self, path: str, status: os.stat_result, *, sticky_is_good: bool) -> Mistrust | None:
        shown = shlex.quote(path)
        if status.st_uid not in {0, self.uid}:
            fix = f"chown {'root' if self.uid == 0 else self.uid} {shown}"
            return Mistrust(path, f"{shown} belongs to {_user(status.st_uid)}", fix)
        mode = status.st_mode
        if stat.S_ISLNK(mode) or (sticky_is_good and mode & stat.S_ISVTX and stat.S_ISDIR(mode)):
            return None
        if mode & stat.S_IWOTH:
            return Mistrust(path, f"{shown} may be written by everybody", f"chmod go-w {shown}")
        if mode & stat.S_IWGRP and not _is_private(status.st_gid, status.st_uid):
            return Mistrust(path, f"{shown} may be written by {_group(status.st_gid)}", f"chmod g-w {shown}")
        return None


def _is_private(gid: int, uid: int) -> bool:
    """Tell whether a group has its owner's name, and nobody else in it: the private group that many systems give."""
    import grp  # noqa: PLC0415  # not on every system
    import pwd  # noqa: PLC0415  # as above

    try:
        group, owner = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and {*group.gr_mem} <= {owner.pw_name}


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415  # not on every system

    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user {uid}"


def _group(gid: int) -> str:
    import grp  # noqa: PLC0415  # not on every system

    try:
        return f"the group {grp.getgrgid(gid).gr_name}"
    except KeyError:
        return f"the group {gid}"
