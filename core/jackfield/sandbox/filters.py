"""From a policy to the BPF program that the kernel runs at each system call. Only hosts do that, never a guest."""

import platform
from errno import EPERM
from functools import lru_cache
from typing import Final

from jackfield.errors import Unavailable
from jackfield.sandbox.calls import Conditions, Low, Null, Policy

MACHINES: Final = ("x86_64", "aarch64")
"""The machines that there are tables of system calls for."""

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
# Where struct seccomp_data has them; both machines are little-endian.
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16


def compile_filter(policy: Policy, machine: str | None = None) -> bytes:
    """Compile a policy into an array of `struct sock_filter`.

    Another architecture's call fails with EPERM, and so does one of x32, whose numbers are not those of x86_64.

    Args:
        policy: what is let through.
        machine: one of `MACHINES`; by default the one at hand.

    Raises:
        Unavailable: for another machine, or when seccompy is not installed.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(found := (machine or platform.machine()).lower(), found)
    arch, table = _tables().get(machine, (0, {}))
    if not table:
        raise Unavailable("sandbox", f"there is no table of system calls for {machine}, only for {', '.join(MACHINES)}")
    return _assemble(policy.on(table), arch, table)


@lru_cache(1)
def _tables() -> dict[str, tuple[int, dict[str, int]]]:
    try:
        from seccompy import syscalls  # noqa: PLC0415  # not on every platform, and only where guests are started
    except ImportError as error:
        raise Unavailable("sandbox", "seccompy is not installed → pip install seccompy") from error
    return {
        "x86_64": (syscalls.AUDIT_ARCH_X86_64, syscalls.X86_64_SYSCALLS),
        "aarch64": (syscalls.AUDIT_ARCH_AARCH64, syscalls.AARCH64_SYSCALLS),
    }


def _assemble(policy: Policy, arch: int, table: dict[str, int]) -> bytes:
    from seccompy import bpf  # noqa: PLC0415  # as above

    program: list[bpf.Insn] = [
        bpf.Load(_ARCH),
        bpf.Jump(bpf.BPF_JEQ, arch, None, "deny"),
        bpf.Load(_NUMBER),
    ]
    plain = sorted(table[name] for name in policy.calls - policy.rules.keys())
    program += [bpf.Jump(bpf.BPF_JEQ, number, "allow") for number in plain]
    ruled = sorted((table[name], rule) for name, rule in policy.rules.items())
    program += [bpf.Jump(bpf.BPF_JEQ, number, f"rule{number}") for number, _ in ruled]
    answered = sorted((table[name], errno) for name, errno in policy.answers.items())
    program += [bpf.Jump(bpf.BPF_JEQ, number, f"answer{errno}") for number, errno in answered]
    program.append(bpf.Ja("deny"))
    labels: dict[str, int] = {}
    for number, alternatives in ruled:
        labels[f"rule{number}"] = len(program)
        for index, conditions in enumerate(alternatives):
            program += _test(conditions, f"rule{number}or{index}")
            labels[f"rule{number}or{index}"] = len(program)
        program.append(bpf.Ja("deny"))
    for errno in sorted({errno for _, errno in answered}):
        labels[f"answer{errno}"] = len(program)
        program.append(bpf.Ret(_ERRNO | errno))
    labels["allow"] = len(program)
    program.append(bpf.Ret(_ALLOW))
    labels["deny"] = len(program)
    program.append(bpf.Ret(_ERRNO | EPERM))
    return bpf.assemble(program, labels)


def _test(conditions: Conditions, otherwise: str) -> "list[bpf.Insn]":  # type: ignore[name-defined]  # noqa: F821  # imported where it is used
    from seccompy import bpf  # noqa: PLC0415  # as above

    program: list[bpf.Insn] = []
    for condition in conditions:
        place = _ARGUMENTS + 8 * condition.index
        if isinstance(condition, Low):
            program.append(bpf.Load(place))
            if condition.mask != 0xFFFFFFFF:  # noqa: PLR2004  # all bits
                program.append(bpf.And(condition.mask))
            program.append(bpf.Jump(bpf.BPF_JEQ, condition.value, None, otherwise))
        elif isinstance(condition, Null):
            for half in (place, place + 4):
                program += [bpf.Load(half), bpf.Jump(bpf.BPF_JEQ, 0, None, otherwise)]
    return [*program, bpf.Ja("allow")]
