"""The requests of `ptrace`."""

from __future__ import annotations

from .notation import row
from .spec import Kind, Row, Transfer


def _request(number: int, name: str, addr: str = "address", data: str = "address", blocks: bool = False) -> Row:
    return row(
        number,
        name,
        f"ptrace_request request, pid pid, {addr} addr, {data} data",
        result="long",
        blocks=blocks,
        source="ptrace",
    )


COMMANDS: tuple[Row, ...] = (
    _request(0, "PTRACE_TRACEME"),
    # The call of the kernel, unlike the function of the C library, answers through its last argument.
    _request(1, "PTRACE_PEEKTEXT", data=">u64"),
    _request(2, "PTRACE_PEEKDATA", data=">u64"),
    _request(3, "PTRACE_PEEKUSER", data=">u64"),
    _request(4, "PTRACE_POKETEXT", data="hex"),
    _request(5, "PTRACE_POKEDATA", data="hex"),
    _request(6, "PTRACE_POKEUSER", data="hex"),
    _request(7, "PTRACE_CONT", data="signal"),
    _request(8, "PTRACE_KILL"),
    _request(9, "PTRACE_SINGLESTEP", data="signal"),
    _request(12, "PTRACE_GETREGS", data=">user_regs"),
    _request(13, "PTRACE_SETREGS", data="<user_regs"),
    _request(14, "PTRACE_GETFPREGS", data=">user_fpregs"),
    _request(15, "PTRACE_SETFPREGS", data="<user_fpregs"),
    _request(16, "PTRACE_ATTACH"),
    _request(17, "PTRACE_DETACH", data="signal"),
    _request(18, "PTRACE_GETFPXREGS", data=">user_fpregs"),
    _request(19, "PTRACE_SETFPXREGS", data="<user_fpregs"),
    _request(21, "PTRACE_OLDSETOPTIONS", data="hex"),
    _request(24, "PTRACE_SYSCALL", data="signal"),
    _request(25, "PTRACE_GET_THREAD_AREA", data=">user_desc"),
    _request(26, "PTRACE_SET_THREAD_AREA", data="<user_desc"),
    _request(30, "PTRACE_ARCH_PRCTL", addr="<>!changed[8]"),
    _request(31, "PTRACE_SYSEMU", data="signal"),
    _request(32, "PTRACE_SYSEMU_SINGLESTEP", data="signal"),
    _request(33, "PTRACE_SINGLEBLOCK", data="signal"),
    _request(0x4200, "PTRACE_SETOPTIONS", data="hex"),
    _request(0x4201, "PTRACE_GETEVENTMSG", data=">u64"),
    _request(0x4202, "PTRACE_GETSIGINFO", data=">siginfo"),
    _request(0x4203, "PTRACE_SETSIGINFO", data="<siginfo"),
    # `data` is an iovec whose length is updated; the register set, of up to a few pages (AMX), is where it
    # points.
    row(
        0x4204,
        "PTRACE_GETREGSET",
        "ptrace_request request, pid pid, hex addr, <>iovec_array data",
        outs=(Transfer(3, Kind.INDIRECT, 16384, 0),),
        source="ptrace",
    ),
    _request(0x4205, "PTRACE_SETREGSET", addr="hex", data="<iovec_array"),
    _request(0x4206, "PTRACE_SEIZE", data="hex"),
    _request(0x4207, "PTRACE_INTERRUPT"),
    _request(0x4208, "PTRACE_LISTEN"),
    row(
        0x4209,
        "PTRACE_PEEKSIGINFO",
        "ptrace_request request, pid pid, <bytes[16] addr, >siginfo[result] data",
        source="ptrace",
    ),
    row(
        0x420A,
        "PTRACE_GETSIGMASK",
        "ptrace_request request, pid pid, size addr, >sigset[addr] data",
        source="ptrace",
    ),
    row(
        0x420B,
        "PTRACE_SETSIGMASK",
        "ptrace_request request, pid pid, size addr, <sigset[addr] data",
        source="ptrace",
    ),
    # The result is the length of the filter in instructions, 8 bytes each; without a buffer only that is
    # answered.
    row(
        0x420C,
        "PTRACE_SECCOMP_GET_FILTER",
        "ptrace_request request, pid pid, ulong addr, >u64[result] data",
        source="ptrace",
    ),
    row(
        0x420D,
        "PTRACE_SECCOMP_GET_METADATA",
        "ptrace_request request, pid pid, size addr, <>bytes[addr] data",
        source="ptrace",
    ),
    row(
        0x420E,
        "PTRACE_GET_SYSCALL_INFO",
        "ptrace_request request, pid pid, size addr, >bytes[result/addr] data",
        source="ptrace",
    ),
    row(
        0x420F,
        "PTRACE_GET_RSEQ_CONFIGURATION",
        "ptrace_request request, pid pid, size addr, >bytes[addr] data",
    ),
    row(
        0x4210,
        "PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG",
        "ptrace_request request, pid pid, size addr, <bytes[addr] data",
    ),
    row(
        0x4211,
        "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG",
        "ptrace_request request, pid pid, size addr, >bytes[addr] data",
    ),
    row(0x4212, "PTRACE_SET_SYSCALL_INFO", "ptrace_request request, pid pid, size addr, <bytes[addr] data"),
)
