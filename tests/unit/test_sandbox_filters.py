"""Which system calls the filters let through: the lists, and each rule, run as the kernel runs them."""

import struct
from errno import EINTR, ENOSYS, ENOTSUP, EPERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("seccompy")
from seccompy import syscalls

from jackfield.errors import Unavailable
from jackfield.sandbox.calls import ANSWERS, IMPORT, NETWORK, READ, STRICT, WRITE, building, importing, strict
from jackfield.sandbox.filters import MACHINES, compile_filter

TABLES = {"x86_64": syscalls.X86_64_SYSCALLS, "aarch64": syscalls.AARCH64_SYSCALLS}
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW = "allow"
POLICIES = {
    "strict": strict(),
    "strict, eager": strict(read=False),
    "strict, everything": strict(write=True, network=True),
    "import": importing(),
    "import, forks": importing(forks=True),
    "build": building(),
    "import, everything": importing(write=True, network=True, forks=True),
}


PROGRAMS = {name: compile_filter(policy, "x86_64") for name, policy in POLICIES.items()}


def run(program, number, arguments=(), arch=ARCHES["x86_64"]):
    """Run a BPF program over a call, as the kernel does, and say "allow" or the errno."""
    data = struct.pack(
        "<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *(*arguments, *[0] * 6)[:6]
    )
    place, accumulator = 0, 0
    while True:
        code, true, false, value = struct.unpack_from("<HBBI", program, 8 * place)
        place += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x05:
                place += value
            case 0x15:
                place += true if accumulator == value else false
            case 0x06:
                return ALLOW if value == 0x7FFF0000 else value & 0xFFFF if value >> 16 == 5 else hex(value)
            case _:
                raise AssertionError(hex(code))


@pytest.mark.parametrize(
    ("policy", "count"),
    [
        (strict(read=False), 42),
        (strict(read=False, network=True), 48),
        (strict(), 50),
        (strict(network=True), 56),
        (importing(), 73),
    ],
)
def test_the_lists_have_as_many_calls_as_they_should(policy, count):
    """None came to them unnoticed."""
    assert len(policy.calls) == count


def test_stage_one_has_whatever_stage_two_has():
    """Filters add up: what the first forbids the second cannot allow."""
    for write in (False, True):
        for network in (False, True):
            assert strict(write=write, network=network).calls <= importing(write=write, network=network).calls
    assert STRICT | READ <= IMPORT
    assert not STRICT & READ
    assert not (NETWORK | WRITE - {"writev"}) & STRICT


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", POLICIES)
def test_each_call_gets_what_its_list_says(machine, name):
    """Of every call that the machine has: allowed, ruled, answered, or EPERM; and no other architecture's at all."""
    policy = POLICIES[name].on(TABLES[machine])
    program = compile_filter(POLICIES[name], machine)
    for call, number in TABLES[machine].items():
        got = run(program, number, arch=ARCHES[machine])
        aliases = {other for other, same in TABLES[machine].items() if same == number}
        if aliases & policy.rules.keys():
            continue
        expected = ALLOW if aliases & policy.calls else policy.answers.get(call, EPERM)
        assert got == expected, call
        other = next(arch for each, arch in ARCHES.items() if each != machine)
        assert run(program, number, arch=other) == EPERM
        assert run(program, number, arch=0x40000003) == EPERM, "32-bit x86"
        assert run(program, number | 0x40000000, arch=ARCHES[machine]) == EPERM, "x32"


@pytest.mark.parametrize("machine", MACHINES)
def test_each_machine_has_a_call_for_each_name(machine):
    """Where it lacks one of a list, it has the more general one in its place."""
    table = TABLES[machine]
    for policy in POLICIES.values():
        lost = {name for name in policy.calls if name not in table}
        there = policy.on(table).calls
        assert there <= table.keys()
        assert len(lost) < 24
    if machine == "aarch64":
        assert {"openat", "ppoll", "epoll_pwait", "faccessat", "readlinkat", "newfstatat"} <= strict().on(table).calls


STREAM, DATAGRAM, SEQPACKET, RAW = 1, 2, 5, 3
UNIX, INET, INET6, NETLINK, PACKET = 1, 2, 10, 16, 17
CLOEXEC = 0o2000000
THREAD = 0x3D0F00  # what glibc asks for
FORK = 0x1200000 | 17


@pytest.mark.parametrize(
    ("policy", "call", "arguments", "expected"),
    [
        ("strict", "clone", (THREAD,), ALLOW),
        ("strict", "clone", (FORK,), EPERM),
        ("strict", "clone", (17,), EPERM),
        ("strict", "clone", (0x4111,), EPERM),
        ("import", "clone", (FORK,), EPERM),
        ("import, forks", "clone", (FORK,), ALLOW),
        ("import, forks", "clone", (THREAD,), ALLOW),
        ("import, forks", "clone", (0x4111,), EPERM),
        *(("import, forks", "clone", (FORK | 1 << bit,), EPERM) for bit in (17, 25, 26, 27, 28, 29, 30)),
        *(("strict", "clone", (THREAD | 1 << bit,), EPERM) for bit in (17, 25, 26, 27, 28, 29, 30)),
        *(("strict", "clone3", (), ENOSYS) for _ in range(1)),
        ("strict", "pidfd_open", (), ENOSYS),
        ("import", "pidfd_open", (), ALLOW),
        ("strict", "restart_syscall", (), EINTR),
        ("strict", "ppoll", (), ALLOW),
        ("strict", "socketpair", (UNIX, STREAM), ALLOW),
        ("strict", "socketpair", (UNIX, STREAM | CLOEXEC), ALLOW),
        ("strict", "socketpair", (UNIX, SEQPACKET | CLOEXEC), ALLOW),
        ("strict", "socketpair", (UNIX, DATAGRAM), EPERM),
        ("strict", "socketpair", (INET, STREAM), EPERM),
        ("strict", "socket", (INET, STREAM), EPERM),
        ("strict, everything", "socket", (INET, STREAM), ALLOW),
        ("strict, everything", "socket", (INET6, STREAM | CLOEXEC, 6), ALLOW),
        ("strict, everything", "socket", (INET, STREAM, 262), EPERM),
        ("strict, everything", "socket", (INET, STREAM, 132), EPERM),
        ("strict, everything", "socket", (INET, DATAGRAM), EPERM),
        ("strict, everything", "socket", (INET, RAW, 1), EPERM),
        *(("strict, everything", "socket", (family, STREAM), EPERM) for family in (UNIX, NETLINK, PACKET, 38, 40)),
        ("strict", "sendto", (3, 1, 1, 0, 0, 0), ALLOW),
        ("strict", "sendto", (3, 1, 1, 0, 0x7F0000000000, 16), EPERM),
        ("strict", "sendto", (3, 1, 1, 0x20000000, 0, 0), EPERM),
        ("strict", "sendmsg", (3, 1, 0x20000000), EPERM),
        ("strict", "ioctl", (3, 0x5421), ALLOW),
        ("strict", "ioctl", (0, 0x5412), EPERM),
        ("strict", "ioctl", (3, 0x8901), EPERM),
        ("strict", "fcntl", (3, 3), ALLOW),
        *(("strict", "fcntl", (3, command), EPERM) for command in (8, 10, 15, 1024, 1026, 1031, 1033)),
        ("strict", "openat", (0, 1, 0o2000000), ALLOW),
        *(("strict", "openat", (0, 1, flag), EPERM) for flag in (1, 2, 3, 0o100, 0o1000, 0o20000000)),
        ("strict, everything", "openat", (0, 1, 0o1102), ALLOW),
        ("strict, eager", "openat", (0, 1, 0), EPERM),
        ("strict", "prlimit64", (0, 7, 0, 0x7F0000000000), ALLOW),
        ("strict", "prlimit64", (0, 7, 0x7F0000000000, 0), EPERM),
        ("strict", "prlimit64", (0, 7, 1 << 40, 0), EPERM),
        ("strict", "prlimit64", (1, 7, 0, 0), EPERM),
        ("import", "prctl", (1, 9), ALLOW),
        ("import", "prctl", (1, 0), EPERM),
        ("import", "prctl", (22, 2), EPERM),
        ("strict", "prctl", (1, 9), EPERM),
        ("import", "seccomp", (1, 1), ALLOW),
        ("import", "seccomp", (1, 9), EPERM),
        ("strict", "seccomp", (1, 1), EPERM),
    ],
)
@pytest.mark.parametrize("machine", MACHINES)
def test_arguments(machine, policy, call, arguments, expected):
    """What each rule lets through, on each machine."""
    assert run(compile_filter(POLICIES[policy], machine), TABLES[machine][call], arguments, ARCHES[machine]) == expected


@given(st.integers(0, 2**64 - 1), st.sampled_from(["strict", "import", "import, everything"]))
def test_whatever_is_cloned_is_no_new_namespace(flags, name):
    """`clone` only as a thread and without CLONE_NEW*; in a zygote forks, too, without any of them either."""
    got = run(PROGRAMS[name], 56, (flags,))
    assert got == EPERM or not flags & 0x7E020000
    assert got == EPERM or flags & 0x10900 == 0x10900 or "everything" in name


@given(st.integers(0, 2**64 - 1))
def test_whatever_is_opened_is_for_reading(flags):
    """Without a grant to write no flags that write, create or empty are let through."""
    got = run(PROGRAMS["strict"], 257, (0, 1, flags))
    assert (got == ALLOW) == (flags & (0o3 | 0o100 | 0o1000 | 0o20000000) == 0)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_call_has_an_answer(number, arguments):
    """Whatever is called ends in "allow", EPERM, or an answer by which libc falls back; no process is killed for it."""
    for program in PROGRAMS.values():
        got = run(program, number, arguments)
        assert got in {ALLOW, EPERM, *ANSWERS.values(), 0, ENOTSUP}  # the last two of a build


def test_another_machine_is_refused_in_words():
    """There are tables for two."""
    with pytest.raises(Unavailable, match="no table of system calls for riscv64, only for x86_64, aarch64"):
        compile_filter(strict(), "riscv64")


@pytest.mark.parametrize(
    ("call", "arguments", "outcome"),
    [
        ("execve", (), ALLOW),
        ("clone", (0x4111,), ALLOW),  # CLONE_VM, CLONE_VFORK, SIGCHLD
        ("clone", (0x10000011,), EPERM),  # CLONE_NEWUSER
        ("chmod", (), 0),
        ("utimensat", (), 0),
        ("kill", (), EPERM),
        ("setsid", (), EPERM),
        ("socket", (2, 1, 0), EPERM),
        ("symlink", (), EPERM),
    ],
)
def test_a_build_starts_programs_and_changes_nobodys_files(call, arguments, outcome):
    """What would change the mode of a file succeeds, and changes nothing: Landlock does not hold whose it is."""
    assert run(PROGRAMS["build"], TABLES["x86_64"][call], arguments) == outcome
