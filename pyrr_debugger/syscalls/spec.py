"""The vocabulary in which the syscall specification is written.

Each family file holds a tuple `ROWS` of `Row`; `pyrr_debugger.syscalls` gathers them. The C tables of the
engine, the decoder behind `pyrr dump` and the model of kernel objects are derived from these rows, and
from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Replay(Enum):
    """What replay does with a call."""

    EMULATE = "emulate"
    """Feed the recorded result and written memory; the kernel is not asked."""
    EXECUTE = "execute"
    """Memory management: really done, at the recorded address."""
    SPECIAL = "special"
    """A handler of its own in the engine or the session (exec, clone, exit, sigreturn, ...)."""
    REFUSE = "refuse"
    """Answered with -ENOSYS in recording too, so that programs fall back (rseq, io_uring, AIO)."""


class Effect(Enum):
    """How a successful call changes the model of kernel objects (design section 11)."""

    NONE = "none"
    OPEN = "open"  # the result is a new descriptor
    OPEN_PAIR = "open_pair"  # two new descriptors are written at a pointer argument
    DUP = "dup"  # the result is a duplicate of descriptor argument 0
    DUP_TO = "dup_to"  # argument 1 becomes a duplicate of argument 0
    CLOSE = "close"  # argument 0 is gone (even on error)
    CLOSE_RANGE = "close_range"
    WRITE = "write"  # data leaves through descriptor argument 0 (or `effect_arg`)
    TRUNCATE = "truncate"  # the contents of a file changed otherwise
    OFFSET = "offset"
    DESCRIPTOR_FLAGS = "descriptor_flags"
    SOCKET = "socket"  # state, addresses or options of a socket changed
    WATCH = "watch"  # epoll, inotify, fanotify sets
    MAP = "map"
    UNMAP = "unmap"
    PROTECT = "protect"
    DIRECTORY = "directory"  # cwd, root
    UMASK = "umask"
    SIGNAL = "signal"  # dispositions, mask, alternate stack
    TIMER = "timer"
    LIMIT = "limit"
    CREDENTIAL = "credential"
    SPAWN = "spawn"
    EXEC = "exec"
    EXIT = "exit"
    NAMESPACE = "namespace"
    TERMINAL = "terminal"


class Kind(Enum):
    """How the size of a transferred piece of memory follows from the call. The engine implements each one."""

    FIXED = 0  # `unit` bytes
    RESULT = 1  # result * unit bytes
    ARGUMENT = 2  # args[count] * unit bytes
    POINTEE = 3  # value-result: args[count] points at a 32-bit size; out: the smaller of before and after
    IOVEC = 4  # args[arg] is an iovec array of args[count] entries; out: `result` bytes spread over it
    MSGHDR = 5  # args[arg] is a struct msghdr: header, name, control, iovecs
    MMSGHDR = 6  # args[arg] is an array of args[count] (in) or `result` (out) struct mmsghdr
    FDSET = 7  # args[count] bits, rounded up to 64
    STRING = 8  # up to and with the NUL (inputs only)
    STRINGS = 9  # NULL-terminated array of strings (inputs only: execve)
    POINTEE64 = 10  # as POINTEE with a 64-bit size
    IOCTL = 11  # by the size and direction encoded in args[1], conservative where there is none
    CONSERVATIVE = 12  # unknown: whatever changed in a window of `unit` bytes at args[arg]
    RESULT_UP_TO = 13  # min(result, args[count]) * unit bytes: calls that answer the size they need
    MSGBUF = 14  # System V message: 8 bytes of type, then `result` (out) or args[count] (in) bytes
    PAGES = 15  # `unit` bytes for each page of args[count] bytes, rounded up (mincore)
    INDIRECT = 16  # CONSERVATIVE at the pointer that lies `count` bytes into the memory at args[arg]
    FILTER = 17  # a struct sock_fprog, and the program at which it points


class When(Enum):
    """When the kernel writes."""

    SUCCESS = 0  # result >= 0
    ALWAYS = 1  # whatever the result
    ERROR = 2  # only when the call failed (nanosleep's rest)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A piece of memory which the kernel reads (in) or writes (out). A NULL pointer transfers nothing.

    Many rows list more than the kernel wrote this time (`select` leaves its sets alone on error, `wait4` its
    status when no child is ready): an out transfer is clipped to the memory that is mapped, and memory that
    was not written is read back as it was, which replay may write again without harm.
    """

    arg: int
    kind: Kind
    unit: int = 1
    count: int = 0
    when: When = When.SUCCESS


@dataclass(frozen=True, slots=True)
class Row:
    """One system call, or one command of a multiplexed call (`ioctl` TCGETS, `fcntl` F_GETLK, ...).

    `args` lists the arguments as "type name" pairs; the types are those of `pyrr_debugger.syscalls.format`,
    which print them. For a command, `args` are all the arguments of the call.
    A type ending in brackets is an array or a buffer with its length: `pollfd[nfds]`, `bytes[result]`,
    `sockaddr[*addrlen]`; see `pyrr_debugger.syscalls.notation`, in which rows are written.
    `blocks` says that the call may sleep until something outside the task happens.
    The row of a multiplexed call itself says what is assumed of a command that has no row.
    `source` names the man page where that is not NAME(2).
    """

    name: str
    number: int
    args: tuple[tuple[str, str], ...] = ()
    ins: tuple[Transfer, ...] = ()
    outs: tuple[Transfer, ...] = ()
    replay: Replay = Replay.EMULATE
    effect: Effect = Effect.NONE
    effect_arg: int = 0
    blocks: bool = False
    result: str = "int"
    selector: int | None = None
    """Which argument selects a command row (ioctl 1, fcntl 1, prctl 0, ...); None for a plain call."""
    selector_mask: int = 0xFFFFFFFF
    """The bits of that argument which name the command (`futex`: 0x7f, without its flags)."""
    selector_high: int | None = None
    """Which argument makes the upper 32 bits of the command number: `getsockopt` and `setsockopt` number
    their commands level << 32 | option."""
    commands: tuple[Row, ...] = field(default=())
    """The command rows of a multiplexed call; their `number` is the value of the selecting argument."""
    source: str = ""

    def command(self, args: tuple[int, ...]) -> int | None:
        """The command number that `args` select, or None for a plain call."""
        if self.selector is None or self.selector >= len(args):
            return None
        number = args[self.selector] & self.selector_mask
        if self.selector_high is not None:
            number |= (args[self.selector_high] & 0xFFFFFFFF) << 32
        return number
