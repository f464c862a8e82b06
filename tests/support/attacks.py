"""What a hostile plugin tries. It runs inside a guest, as text, with the standard library alone.

Each attack gives what came of it: "done", the name of an errno, or a word of its own. `setting` says where things are.
"""

import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import threading

NUMBERS = {}
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def call(name, *arguments):
    """Make a system call by its number, past whatever Python checks."""
    taken = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    number = NUMBERS[name] if isinstance(name, str) else name
    result = LIBC.syscall(ctypes.c_long(number), *taken)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def child(pid):
    """End at once where a fork has worked."""
    if pid == 0:
        os._exit(0)


def foreign():
    """A call of 32-bit x86, as machine code: getpid."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    place = ctypes.addressof(ctypes.c_char.from_buffer(code))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(place)()
    if result < 0:
        raise OSError(-result, "int 0x80")


def grouped_signal(setting):
    """Have the kernel send SIGKILL to the host once a descriptor becomes ready."""
    import fcntl  # noqa: PLC0415  # Linux alone

    mine, its = socket.socketpair()
    fcntl.fcntl(mine, fcntl.F_SETOWN, setting["host"])
    fcntl.fcntl(mine, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(mine, fcntl.F_SETFL, fcntl.fcntl(mine, fcntl.F_GETFL) | os.O_ASYNC)
    its.send(b"x")


def send_to_path(setting):
    """Send to a datagram socket of another process by its path."""
    mine, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    mine.sendto(b"forged", setting["datagrams"])


def in_a_thread(work):
    """Do it in a thread, and give what came of it there."""
    came = []
    thread = threading.Thread(target=lambda: came.append(outcome(work)))
    thread.start()
    thread.join()
    return came[0]


def open_for(flags):
    return lambda setting: os.close(os.open(setting["writable"], flags))


ATTACKS = {
    "read a file of the home folder": lambda s: open(s["secret"]).close(),
    "read the host's configuration": lambda s: open(s["configuration"]).close(),
    "read another environment": lambda s: open(s["environment"]).close(),
    "list the root folder": lambda s: os.listdir("/"),
    "learn that a file exists": lambda s: os.stat(s["secret"]) and None,
    "read the host's variables": lambda s: open(f"/proc/{s['host']}/environ").close(),
    "learn which program the host is": lambda s: os.readlink(f"/proc/{s['host']}/exe") and None,
    "read the host's memory": lambda s: open(f"/proc/{s['host']}/mem").close(),
    "open a file for writing": open_for(os.O_WRONLY),
    "open a file for appending": open_for(os.O_WRONLY | os.O_APPEND),
    "empty a file that it opens for reading": open_for(os.O_RDONLY | os.O_TRUNC),
    "create a file": lambda s: os.close(os.open(s["new"], os.O_WRONLY | os.O_CREAT)),
    "create a file without a name": lambda s: os.close(os.open(s["folder"], os.O_RDWR | os.O_TMPFILE)),
    "truncate": lambda s: os.truncate(s["writable"], 0),
    "mkdir": lambda s: os.mkdir(s["new"]),
    "unlink": lambda s: os.unlink(s["writable"]),
    "rename": lambda s: os.rename(s["writable"], s["new"]),
    "symlink": lambda s: os.symlink("/", s["new"]),
    "link": lambda s: os.link(s["writable"], s["new"]),
    "chmod": lambda s: os.chmod(s["writable"], 0o777),
    "chown": lambda s: os.chown(s["writable"], os.getuid(), -1),
    "setxattr": lambda s: os.setxattr(s["writable"], "user.a", b"b"),
    "memfd_create": lambda s: os.close(os.memfd_create("x")),
    "socket over TCP": lambda s: socket.socket().close(),
    "socket over UDP": lambda s: socket.socket(type=socket.SOCK_DGRAM).close(),
    "socket of Unix": lambda s: socket.socket(socket.AF_UNIX).close(),
    "socket of netlink": lambda s: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "send to a datagram socket by its path": send_to_path,
    "fork": lambda s: child(os.fork()),
    "vfork": lambda s: call("clone", 0x4000 | 0x100 | 17, 0, 0, 0, 0) and None,
    "clone3": lambda s: child(
        call("clone3", ctypes.byref(ctypes.create_string_buffer(struct.pack("=4Q7Q", 0, 0, 0, 0, 17, *[0] * 6))), 88)
    ),
    "a thread in a new namespace": lambda s: call("clone", 0x10000000 | 0x100 | 0x800 | 0x10000, 0, 0, 0, 0),
    "execve": lambda s: os.execv("/usr/bin/true", ["true"]),
    "posix_spawn": lambda s: os.posix_spawn("/usr/bin/true", ["true"], {}) and None,
    "kill the host": lambda s: os.kill(s["host"], 0),
    "kill the parent": lambda s: os.kill(os.getppid(), 0),
    "kill everything": lambda s: os.kill(-1, 0),
    "pidfd_open": lambda s: os.close(os.pidfd_open(os.getpid())),
    "pidfd_send_signal": lambda s: call("pidfd_send_signal", 0, 0, 0, 0),
    "a signal by way of a descriptor": grouped_signal,
    "ptrace": lambda s: call("ptrace", 16, s["host"], 0, 0),
    "process_vm_readv": lambda s: call("process_vm_readv", s["host"], 0, 0, 0, 0, 0),
    "unshare": lambda s: call("unshare", 0x10000000),
    "setns": lambda s: call("setns", 0, 0),
    "mount": lambda s: call("mount", 0, 0, 0, 0, 0),
    "chroot": lambda s: os.chroot("/"),
    "setuid": lambda s: os.setuid(os.getuid()),
    "capset": lambda s: call("capset", 0, 0),
    "setsid": lambda s: os.setsid(),
    "setpgid": lambda s: os.setpgid(0, 0),
    "set a limit": lambda s: call(
        "prlimit64", 0, 7, ctypes.byref(ctypes.create_string_buffer(struct.pack("=2Q", 64, 64))), 0
    ),
    "limits of the host": lambda s: __import__("resource").prlimit(s["host"], 7),
    "sched_setscheduler": lambda s: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
    "sched_setaffinity": lambda s: os.sched_setaffinity(0, {0}),
    "setpriority": lambda s: os.setpriority(os.PRIO_PROCESS, 0, 1),
    "ioctl TIOCSTI": lambda s: call("ioctl", 0, 0x5412, 0),
    "bpf": lambda s: call("bpf", 0, 0, 0),
    "userfaultfd": lambda s: call("userfaultfd", 0),
    "io_uring_setup": lambda s: call("io_uring_setup", 1, 0),
    "perf_event_open": lambda s: call("perf_event_open", 0, 0, 0, 0, 0),
    "keyctl": lambda s: call("keyctl", 0, 0, 0, 0, 0),
    "init_module": lambda s: call("init_module", 0, 0, 0),
    "personality": lambda s: call("personality", 0x0040000),
    "an x32 call": lambda s: call(0x40000000 | NUMBERS["getpid"]),
    "a call of 32-bit x86": lambda s: foreign() if s["foreign"] else "EPERM",
    "a call with no number": lambda s: call(0x3FFFFFFF),
    "load a filter of its own": lambda s: call("seccomp", 1, 0, 0),
    "have its calls decided elsewhere": lambda s: call("seccomp", 1, 8, 0),
    "switch the filters off": lambda s: call("prctl", 22, 0, 0, 0, 0),
    "new privileges": lambda s: call("prctl", 38, 0, 0, 0, 0),
    "outlive its parent": lambda s: call("prctl", 1, 0, 0, 0, 0),
    "another domain of Landlock": lambda s: call("landlock_restrict_self", 0, 0),
    "a socket in a new thread": lambda s: in_a_thread(lambda: socket.socket().close()),
}


def outcome(work):
    """Say what came of something."""
    try:
        result = work()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is told
        return f"{type(error).__name__}: {error}"
    return result if isinstance(result, str) else "done"


def attempt_all(setting):
    """Try everything, and give what came of each."""
    return {name: outcome(lambda attack=attack: attack(setting)) for name, attack in ATTACKS.items()}
