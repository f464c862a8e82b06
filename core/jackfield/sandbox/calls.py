"""Which system calls a guest may make, and with which arguments: everything that is not here fails with EPERM.

The lists are of x86_64; where another machine has only the more general call (`openat` for `open`), that one stands for
it. Numbers are written out where Python's modules lack them, or give those of the machine at hand.
"""

from collections.abc import Mapping
from errno import EINTR, ENOSYS, ENOTSUP
from typing import Final

import attrs


@attrs.frozen
class Low:
    """The lower 32 bits of an argument, as the kernel reads an `int`: equal to a value, within a mask."""

    index: int
    value: int
    mask: int = 0xFFFFFFFF


@attrs.frozen
class Null:
    """An argument that is a null pointer."""

    index: int


Conditions = tuple[Low | Null, ...]
"""All must hold."""

STRICT: Final = frozenset(
    "brk clock_gettime clock_nanosleep clone close epoll_create1 epoll_ctl epoll_wait exit exit_group fcntl fstat futex"
    " getpeername getpid getrandom getsockname getsockopt gettid ioctl lseek madvise mmap mprotect mremap munmap"
    " newfstatat poll read recvfrom recvmsg rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield"
    " sendmsg sendto set_robust_list socketpair write".split()
)
"""What a guest needs that imports nothing any more: memory, threads, time, its channel."""

READ: Final = frozenset("access getcwd getdents64 open openat pread64 prlimit64 readlink".split())
"""What reading files takes, and with it an import after the start. Landlock holds the paths."""

NETWORK: Final = frozenset("connect setsockopt shutdown socket uname writev".split())
"""What connecting over TCP takes; the last two are the resolver's."""

WRITE: Final = frozenset(
    "fdatasync fsync ftruncate mkdir mkdirat pwrite64 rename renameat rmdir unlink unlinkat writev".split()
)
"""What changing files takes. No chmod, chown, utimensat, setxattr: Landlock does not hold the paths of those."""

IMPORT: Final = (
    STRICT
    | READ
    | frozenset(
        "dup eventfd2 faccessat fadvise64 fstatfs getegid geteuid getgid getppid getuid lstat pidfd_open pipe2 prctl"
        " readlinkat seccomp sigaltstack stat statfs sysinfo uname wait4 waitid".split()
    )
)
"""What an import may do beside: what extension modules ask their surroundings, and what a process needs that forks."""

ANSWERS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        "clone3 statx faccessat2 openat2 close_range pidfd_open copy_file_range io_uring_setup".split(), ENOSYS
    ),
    # What the kernel makes of a sleep that a SIGSTOP interrupted: whoever slept goes on where EPERM would end it.
    "restart_syscall": EINTR,
}
"""Calls that fail otherwise than with EPERM, so that libc falls back to another, unless a list has them."""

BUILD: Final = (
    IMPORT
    | WRITE
    | frozenset(
        "arch_prctl chdir clock_getres creat dup2 dup3 epoll_create epoll_pwait execve fallocate fchdir flock fork"
        " getcpu getdents getgroups getpgid getpgrp getresgid getresuid getrlimit getrusage getsid gettimeofday mincore"
        " msync nanosleep pipe preadv pselect6 pwritev readv renameat2 rt_sigsuspend rt_sigtimedwait select sendfile"
        " set_tid_address time times umask vfork".split()
    )
)
"""What building from source takes beside: it starts compilers, and those start others. No signal is sent, and nothing
leaves its process group, so that whoever started it ends all of it."""

_OWNERS: Final[Mapping[str, int]] = {
    # Landlock does not hold whose files these change, so they change none, and say that they did: what is copied is
    # copied with its mode and times, and nobody needs those.
    **dict.fromkeys(
        "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat".split(), 0
    ),
    **dict.fromkeys("getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr".split(), ENOTSUP),
}

_THREAD = 0x100 | 0x800 | 0x10000  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
_NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000  # CLONE_NEW*
_TRACED = 0x2000  # CLONE_PTRACE
_SIGCHLD = 17
_OPEN_READ_MASK = 0o3 | 0o100 | 0o1000 | 0o20000000  # O_ACCMODE, O_CREAT, O_TRUNC, what makes O_TMPFILE
_SOCKET_FLAGS = 0o2000000 | 0o4000  # SOCK_CLOEXEC, SOCK_NONBLOCK
_STREAM, _SEQPACKET = 1, 5
_UNIX, _INET, _INET6 = 1, 2, 10
_FASTOPEN = 0x20000000  # MSG_FASTOPEN connects without the hook that Landlock has
_TYPE_MASK = 0xFFFFFFFF ^ _SOCKET_FLAGS

_THREADS_ONLY: Final[tuple[Conditions, ...]] = ((Low(0, _THREAD, _THREAD | _NAMESPACES | _TRACED),),)
_FORK: Final[tuple[Conditions, ...]] = ((Low(0, _SIGCHLD, 0xFF | 0x100 | _THREAD | _NAMESPACES | _TRACED),),)

_CHILDREN: Final[tuple[Conditions, ...]] = ((Low(0, 0, _NAMESPACES | _TRACED),),)

_RULES: Final[Mapping[str, tuple[Conditions, ...]]] = {
    "clone": _THREADS_ONLY,
    # A stream or a sequence of packets: a datagram socket could send to the sockets of other processes by their path.
    "socketpair": tuple((Low(0, _UNIX), Low(1, kind, _TYPE_MASK)) for kind in (_STREAM, _SEQPACKET)),
    "ioctl": tuple(
        (Low(1, command),) for command in (0x5421, 0x5451, 0x5450, 0x5401)
    ),  # FIONBIO FIOCLEX FIONCLEX TCGETS
    # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL, locks, F_DUPFD_CLOEXEC, F_GET_SEALS. Not F_SETOWN and F_SETSIG, with
    # which the kernel would send any signal, SIGKILL too, to any process of the same user.
    "fcntl": tuple((Low(1, command),) for command in (1030, 3, 4, 1, 2, 0, 5, 6, 7, 36, 37, 38, 1034)),
    "open": ((Low(1, 0, _OPEN_READ_MASK),),),
    "openat": ((Low(2, 0, _OPEN_READ_MASK),),),
    "prlimit64": ((Low(0, 0), Null(2)),),  # what its own are; it sets none
    # TCP alone, and no other protocol that is a stream: Landlock knows the ports of TCP.
    "socket": tuple(
        (Low(0, family), Low(1, _STREAM, _TYPE_MASK), Low(2, protocol))
        for family in (_INET, _INET6)
        for protocol in (0, 6)
    ),
    "sendto": ((Null(4), Low(3, 0, _FASTOPEN)),),
    "sendmsg": ((Low(2, 0, _FASTOPEN),),),
    # SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC: a further filter, which can only forbid more.
    "seccomp": ((Low(0, 1), Low(1, 1)),),
    "prctl": ((Low(0, 1), Low(1, 9)),),  # PR_SET_PDEATHSIG, SIGKILL
}

_ALIKE: Final = {"poll": "ppoll"}
"""What newer Pythons, from 3.15 on, and libcs call in place of one: they do the same."""

_GENERAL: Final = {
    "access": "faccessat",
    "epoll_wait": "epoll_pwait",
    "lstat": "newfstatat",
    "mkdir": "mkdirat",
    "open": "openat",
    "poll": "ppoll",
    "readlink": "readlinkat",
    "rename": "renameat",
    "rmdir": "unlinkat",
    "stat": "newfstatat",
    "unlink": "unlinkat",
}


@attrs.frozen
class Policy:
    """What one filter lets through.

    Attributes:
        calls: names of system calls.
        rules: of those that not all arguments are allowed for, the alternatives.
        answers: what fails with another number than EPERM.
    """

    calls: frozenset[str]
    rules: Mapping[str, tuple[Conditions, ...]]
    answers: Mapping[str, int]

    def on(self, table: Mapping[str, int]) -> "Policy":
        """Give the same for a machine that has these calls."""
        calls = {name if name in table else _GENERAL.get(name, name) for name in self.calls}
        calls |= {alike for name, alike in _ALIKE.items() if name in self.calls}
        return attrs.evolve(
            self,
            calls=frozenset(calls & table.keys()),
            rules={name: rule for name, rule in self.rules.items() if name in table},
            answers={name: number for name, number in self.answers.items() if name in table},
        )


def strict(*, read: bool = True, write: bool = False, network: bool = False) -> Policy:
    """Give what a guest may do in stage two, in which it works.

    Args:
        read: whether it reads files, or imports modules, after its start.
        write: whether it has a scratch folder, or writable paths; implies `read`.
        network: whether it connects anywhere.

    Examples:
        >>> [len(strict(read=read, network=net).calls) for read in (False, True) for net in (False, True)]
        [42, 48, 50, 56]
    """
    calls = STRICT | (READ if read or write else frozenset())
    return _policy(calls, write=write, network=network)


def importing(*, write: bool = False, network: bool = False, forks: bool = False) -> Policy:
    """Give what a guest may do in stage one, in which it imports.

    Args:
        write: see `strict`.
        network: see `strict`.
        forks: whether it forks afterwards: then whatever it has imported can fork, too.

    Examples:
        >>> len(importing().calls)
        73
    """
    policy = _policy(IMPORT, write=write, network=network)
    if not forks:
        return policy
    return attrs.evolve(policy, rules={**policy.rules, "clone": _THREADS_ONLY + _FORK})


def building() -> Policy:
    """Give what building from source may do: files, programs and their children, no network and no signals.

    Examples:
        >>> {"socket", "connect", "kill", "setsid", "ptrace", "unshare"} & building().calls
        set()
    """
    policy = _policy(BUILD, write=True, network=False)
    return attrs.evolve(policy, rules={**policy.rules, "clone": _CHILDREN}, answers={**policy.answers, **_OWNERS})


def _policy(calls: frozenset[str], *, write: bool, network: bool) -> Policy:
    rules = dict(_RULES)
    if write:
        calls |= WRITE
        del rules["open"], rules["openat"]
    if network:
        calls |= NETWORK
    return Policy(
        calls,
        {name: rule for name, rule in rules.items() if name in calls},
        {name: number for name, number in ANSWERS.items() if name not in calls},
    )
