"""Runs a command under a filter that denies what Docker's default seccomp profile denies.

usage: seccomp.py COMMAND...

As in Docker, a denied call fails with EPERM (clone3: ENOSYS), and a filter installed below it cannot see
the call: SECCOMP_RET_ERRNO of an outer filter wins over SECCOMP_RET_TRACE of an inner one. ptrace and
process_vm_readv/writev are allowed, as Docker does since kernel 4.8. Only the x86-64 ABI is allowed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

DENIED = {
    "vserver": 236, "acct": 163, "add_key": 248, "bpf": 321, "clock_settime": 227, "delete_module": 176,
    "fanotify_init": 300, "finit_module": 313, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433,
    "get_mempolicy": 239, "init_module": 175, "io_uring_enter": 426, "io_uring_register": 427,
    "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_file_load": 320, "kexec_load": 246,
    "keyctl": 250, "lookup_dcookie": 212, "mbind": 237, "mount": 165, "mount_setattr": 442, "move_mount": 429,
    "move_pages": 279, "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "pidfd_getfd": 438,
    "pivot_root": 155, "process_madvise": 440, "quotactl": 179, "reboot": 169, "request_key": 249,
    "set_mempolicy": 238, "setdomainname": 171, "sethostname": 170, "setns": 308, "settimeofday": 164,
    "swapoff": 168, "swapon": 167, "sysfs": 139, "syslog": 103, "umount2": 166, "unshare": 272, "uselib": 134,
    "userfaultfd": 323, "ustat": 136, "vhangup": 153,
}  # fmt: skip
CLONE, CLONE3, PERSONALITY = 56, 435, 135
NEW_NAMESPACES = 0x7E020000
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # no ADDR_NO_RANDOMIZE

AUDIT_ARCH_X86_64 = 0xC000003E
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, ALU|AND|K, RET|K
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the argument's low half

Instruction = tuple[int, int, int, int]


def program() -> list[Instruction]:
    """The filter, as (code, jump if true, jump if false, operand)."""
    deny: Instruction = (RETURN, 0, 0, ERRNO | errno.EPERM)
    allow: Instruction = (RETURN, 0, 0, ALLOW)
    code: list[Instruction] = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, AUDIT_ARCH_X86_64), deny]
    code.append((LOAD, 0, 0, NUMBER))
    for number in sorted(DENIED.values()):
        code += [(EQUAL, 0, 1, number), deny]
    code += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    code += [
        (EQUAL, 0, 4, CLONE),
        (LOAD, 0, 0, ARGUMENT),
        (AND, 0, 0, NEW_NAMESPACES),
        (EQUAL, 1, 0, 0),
        deny,
    ]
    code.append((LOAD, 0, 0, NUMBER))
    code += [(EQUAL, 0, 2 + 2 * len(PERSONALITIES), PERSONALITY), (LOAD, 0, 0, ARGUMENT)]
    for value in PERSONALITIES:
        code += [(EQUAL, 0, 1, value), allow]
    return [*code, deny, allow]


def install() -> None:
    """Put the filter on this process and all that it will start, for good."""
    PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
    libc = ctypes.CDLL(None, use_errno=True)
    code = program()
    block = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(block)))
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)):
        if libc.prctl(*call) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    install()
    os.execvp(sys.argv[1], sys.argv[1:])
