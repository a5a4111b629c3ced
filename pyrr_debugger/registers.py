"""The general registers of a task: struct user_regs_struct of <sys/user.h>, 27 words of 64 bits."""

from __future__ import annotations

import struct

NAMES = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
LAYOUT = struct.Struct(f"<{len(NAMES)}Q")


def unpack(registers: bytes) -> dict[str, int]:
    """The registers by name. Raises ValueError when `registers` has another size."""
    if len(registers) != LAYOUT.size:
        raise ValueError(f"{len(registers)} bytes of registers, {LAYOUT.size} expected")
    return dict(zip(NAMES, LAYOUT.unpack(registers), strict=True))


def pack(registers: dict[str, int]) -> bytes:
    """The inverse of `unpack`."""
    return LAYOUT.pack(*(registers[name] for name in NAMES))
