"""Processes and threads: making, replacing, ending and awaiting them, and looking into others."""

from __future__ import annotations

from . import prctls, ptraces
from .notation import row
from .spec import Effect, Replay, Row

ROWS: tuple[Row, ...] = (
    row(
        56,
        "clone",
        "clone_flags flags, address stack, >pid_cell parent_tid, >pid_cell child_tid, address tls",
        replay=Replay.SPECIAL,
        effect=Effect.SPAWN,
        result="pid",
    ),
    row(
        435,
        "clone3",
        "<clone_args[size] cl_args, size size",
        replay=Replay.SPECIAL,
        effect=Effect.SPAWN,
        result="pid",
        source="clone",
    ),
    row(57, "fork", replay=Replay.SPECIAL, effect=Effect.SPAWN, result="pid"),
    row(58, "vfork", replay=Replay.SPECIAL, effect=Effect.SPAWN, blocks=True, result="pid"),
    row(
        59,
        "execve",
        "<path pathname, <strings argv, <strings envp",
        replay=Replay.SPECIAL,
        effect=Effect.EXEC,
        blocks=True,
    ),
    row(
        322,
        "execveat",
        "dirfd dirfd, <path pathname, <strings argv, <strings envp, at_flags flags",
        replay=Replay.SPECIAL,
        effect=Effect.EXEC,
        blocks=True,
    ),
    row(60, "exit", "int status", replay=Replay.SPECIAL, effect=Effect.EXIT, result="none", source="_exit"),
    row(231, "exit_group", "int status", replay=Replay.SPECIAL, effect=Effect.EXIT, result="none"),
    row(
        61,
        "wait4",
        "pid pid, >wait_status wstatus, wait_options options, >rusage rusage",
        blocks=True,
        result="pid",
    ),
    # The fields of the siginfo are set, to zeros, even when the call fails.
    row(
        247,
        "waitid",
        "wait_idtype idtype, pid id, >!siginfo infop, wait_options options, >rusage rusage",
        blocks=True,
        source="wait",
    ),
    row(39, "getpid", result="pid"),
    row(110, "getppid", result="pid", source="getpid"),
    row(186, "gettid", result="pid"),
    # The address where a 0 is written when the thread ends is the recorder's to remember: no kernel does it
    # in replay.
    row(218, "set_tid_address", "address tidptr", result="pid"),
    row(109, "setpgid", "pid pid, pid pgid"),
    row(121, "getpgid", "pid pid", result="pid", source="setpgid"),
    row(111, "getpgrp", result="pid", source="setpgid"),
    row(112, "setsid", result="pid"),
    row(124, "getsid", "pid pid", result="pid"),
    row(
        157,
        "prctl",
        "prctl_option option, <>!changed[256] arg2, hex arg3, hex arg4, hex arg5",
        selector=0,
        commands=prctls.PRCTL,
    ),
    row(
        158,
        "arch_prctl",
        "arch_prctl_option option, address addr",
        replay=Replay.SPECIAL,
        selector=0,
        commands=prctls.ARCH_PRCTL,
    ),
    row(135, "personality", "personality persona", result="hex"),
    row(
        101,
        "ptrace",
        "ptrace_request request, pid pid, address addr, <>!changed[512] data",
        selector=0,
        commands=ptraces.COMMANDS,
        result="long",
    ),
    row(
        312,
        "kcmp",
        "pid pid1, pid pid2, kcmp_type type, ulong idx1, ulong idx2",
    ),
    # The other process may be the caller itself: then the memory of the other side changes here, too.
    row(
        310,
        "process_vm_readv",
        "pid pid, >iovec[liovcnt] local_iov, ulong liovcnt, <iovec_array[riovcnt] remote_iov, ulong riovcnt, "
        "ulong flags",
        result="long",
    ),
    row(
        311,
        "process_vm_writev",
        "pid pid, <iovec[liovcnt] local_iov, ulong liovcnt, <iovec_array[riovcnt] remote_iov, ulong riovcnt, "
        "ulong flags",
        result="long",
        source="process_vm_readv",
    ),
    row(434, "pidfd_open", "pid pid, pidfd_flags flags", effect=Effect.OPEN, result="fd"),
    row(438, "pidfd_getfd", "fd pidfd, fd targetfd, uint flags", effect=Effect.OPEN, result="fd"),
)
