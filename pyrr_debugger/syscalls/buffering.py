"""Which calls the agent makes by itself and buffers, and on what condition. All others stop in the tracer.

Left to the tracer are calls with a part for it to play: new tasks and programs, mappings, signals sent or handled,
affinity, privileges, and what is refused or altered.
"""

from __future__ import annotations

from enum import Enum

from .spec import Effect, Replay, Row


class Buffering(Enum):
    """When the agent makes a call itself, or refuses it. While one task lives, it may sleep there."""

    NEVER = 0
    ALWAYS = 1
    READ = 2
    """With other tasks: where poll(2) finds descriptor argument 0 readable."""
    WRITE = 3
    """With other tasks: where descriptor argument 0 takes a page without waiting, or is a regular file."""
    WAIT = 4
    """With other tasks: where it returns something with a time-out of zero."""
    ALONE = 5
    """Only while one task lives."""
    MEMORY = 6
    """Where neither a file nor mapped code is concerned. Replay carries it out, at a stop."""


_ALWAYS = """
    access bind chdir chmod chown clock_getres clock_gettime close close_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl eventfd eventfd2 faccessat faccessat2 fadvise64 fchdir fchmod fchmodat fchown fchownat
    fdatasync fgetxattr flistxattr fstat fstatfs fsync ftruncate getcwd getdents getdents64 getegid geteuid getgid
    getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listen listxattr llistxattr lseek lstat
    memfd_create mkdir mkdirat newfstatat open openat pipe pipe2 pread64 preadv prlimit64 readlink readlinkat rename
    renameat renameat2 rmdir rt_sigaction rt_sigpending rt_sigprocmask sched_get_priority_max sched_get_priority_min
    sched_getparam sched_getscheduler set_robust_list set_tid_address setsockopt shutdown socket socketpair stat
    statfs statx symlink symlinkat sysinfo time timerfd_create timerfd_gettime timerfd_settime times truncate umask
    uname unlink unlinkat utime utimensat utimes
    FUTEX_CMP_REQUEUE FUTEX_REQUEUE FUTEX_WAKE FUTEX_WAKE_BITSET FUTEX_WAKE_OP F_DUPFD F_DUPFD_CLOEXEC F_GETFD
    F_GETFL F_GETLK F_GETPIPE_SZ F_OFD_GETLK F_OFD_SETLK F_SETFD F_SETFL F_SETLK F_SETPIPE_SZ
"""
_OTHERS = {
    Buffering.READ: "read readv preadv2 recvfrom recvmsg accept accept4",
    Buffering.WRITE: "write writev pwrite64 pwritev pwritev2 sendto sendmsg",
    Buffering.WAIT: "poll epoll_wait epoll_pwait",
    Buffering.MEMORY: "mmap munmap mprotect mremap madvise brk",
    Buffering.ALONE: "select pselect6 ppoll nanosleep clock_nanosleep connect flock sched_yield F_SETLKW F_OFD_SETLKW "
    "FUTEX_WAIT FUTEX_WAIT_BITSET",
}
_BY_NAME = dict.fromkeys(_ALWAYS.split(), Buffering.ALWAYS) | {
    name: kind for kind, names in _OTHERS.items() for name in names.split()
}
_QUIET_EFFECTS = (Effect.NONE, Effect.TERMINAL, Effect.DESCRIPTOR_FLAGS, Effect.SOCKET)


def buffering(row: Row, call: str) -> Buffering:
    """How the agent treats `row`, which is the row of `call` or one of its commands."""
    kind = _BY_NAME.get(row.name, _BY_NAME.get(call, Buffering.NEVER))
    if kind is Buffering.MEMORY:
        return Buffering.NEVER if row.name == "MADV_FREE" else kind
    if row.replay is Replay.REFUSE:
        return Buffering.ALWAYS
    if row.replay is not Replay.EMULATE:
        return Buffering.NEVER
    # An ioctl that has a row writes what the row says; any other may write anything.
    if call == "ioctl":
        quiet = row.name != call and not row.blocks and row.effect in _QUIET_EFFECTS
        return Buffering.ALWAYS if quiet else Buffering.NEVER
    # A command without a row of its own is that of its call.
    return kind
