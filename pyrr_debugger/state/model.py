"""The kernel objects of a recorded program.

A `ProgramState` is what the log says of the program at one position, that is before one event took effect. What was
made by the program is known from its calls; what it had when recording began (`inherited`), from the first image.

The kernel's own shape is kept, since it is what decides who sees a change: a *descriptor* is a number in a table
that threads share; it refers to an *open file description* (`Description`), which dup, fork and passed descriptors
share, and which has the offset and the status flags; that is of a *file*, *pipe*, ... which several may have open.
Objects that are shared are the same Python object; `id` tells them apart in JSON. Memory, dispositions and the working
directory are objects of their own for the same reason (CLONE_VM, CLONE_SIGHAND, CLONE_FS).

Bytes that the log does not hold are given as `Span`s: the event with which they were written. `contents.py` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..trace_format import FilePiece

INHERITED = -1
"""In the place of an event's number: it was there when recording began."""


@dataclass(slots=True)
class Span:
    """Bytes which a call wrote: `length` from byte `skip` of all that event number `event` transferred.

    `offset` is where they lie in a file; 0 in queues, where the order says it.
    """

    offset: int
    length: int
    event: int
    skip: int = 0


# ---- files ----


@dataclass(slots=True, eq=False)
class File:
    """A file of a file system, as the program knows it: by the path under which it was opened, as an absolute one.

    `deleted`: its name was removed, or another file has it now. `created`: the program made it, or emptied it, so
    that it holds what `spans` say (later ones lie over earlier ones; zeros between them) and nothing else. Else they
    lie over an unknown content. `size` is as the program last saw or made it, None if it never looked; `device`,
    `inode` and `mtime_ns` likewise. `stored` are parts of the file that the trace holds, as they were when mapped.
    `spans` is None where there were too many to keep.
    """

    id: int
    path: str
    mode: int | None = None
    """st_mode: type and permissions, if the program looked or made it."""
    device: int | None = None
    inode: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    deleted: bool = False
    created: bool = False
    spans: list[Span] | None = field(default_factory=list)
    reads: list[Span] = field(default_factory=list)
    """What the program has read of it: the first ones, and none of files that it wrote itself."""
    stored: list[FilePiece] = field(default_factory=list)
    mapped: bool = False
    """A writable shared mapping of it was made: memory may hold what `spans` do not tell."""


@dataclass(slots=True)
class Lock:
    """A lock that is held. `kind` is `flock`, `posix` (of the process `owner`) or `ofd`; `exclusive` or shared; the
    byte range of the last two, `end` without it, None to the end of the file."""

    kind: str
    exclusive: bool
    start: int = 0
    end: int | None = None
    owner: int = 0


# ---- open file descriptions ----


@dataclass(slots=True, kw_only=True, eq=False)
class Description:
    """An open file description. `flags` are the access mode and status flags as F_GETFL gives them (no O_CLOEXEC, no
    O_CREAT). `event` made it. `owner` and `signal` are those of F_SETOWN and F_SETSIG."""

    kind: ClassVar[str] = "other"

    id: int
    flags: int
    event: int
    owner: int = 0
    signal: int = 0
    given_as: tuple[int, ...] = ()
    """The numbers that one which is inherited had in the first program, wherever it is now."""


@dataclass(slots=True, kw_only=True, eq=False)
class OpenFile(Description):
    """A regular file, or a block device."""

    kind: ClassVar[str] = "file"

    file: File
    offset: int | None = 0
    """None: at the end of a file whose size is not known (it was opened to be appended to)."""
    locks: list[Lock] = field(default_factory=list)
    """Those of flock and OFD locks; POSIX locks belong to a process: `Process.locks`."""
    lease: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class OpenDirectory(Description):
    """A directory. `offset` is an opaque number of the file system (d_off)."""

    kind: ClassVar[str] = "directory"

    file: File
    offset: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class OpenPath(Description):
    """A file opened with O_PATH: a place, no access."""

    kind: ClassVar[str] = "path"

    file: File


@dataclass(slots=True, kw_only=True, eq=False)
class Device(Description):
    """A character device by its path: /dev/null, /dev/urandom, a GPU. `number` is st_rdev, if known."""

    kind: ClassVar[str] = "device"

    path: str
    number: int | None = None
    offset: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class ProcFile(Description):
    """A file of /proc or /sys, whose content the kernel makes as it is read."""

    kind: ClassVar[str] = "proc"

    path: str
    offset: int = 0
    directory: bool = False


@dataclass(slots=True, eq=False)
class TerminalSettings:
    """What a terminal is set to. `termios` is struct termios2 or termios of the kernel, as far as known (None: the
    program never set it and recording did not see it). `rows`, `columns`: its size. `foreground`: the process group;
    `session`: whose controlling terminal it is (0: none that we know)."""

    termios: bytes | None = None
    rows: int = 0
    columns: int = 0
    foreground: int = 0
    session: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Terminal(Description):
    """A terminal: the one the program was started on, another, or the end of a pseudo-terminal of its own (`pty`)."""

    kind: ClassVar[str] = "terminal"

    path: str
    settings: TerminalSettings
    pty: Pty | None = None


@dataclass(slots=True, eq=False)
class Pty:
    """A pseudo-terminal that the program made: `number` as in /dev/pts/NUMBER. `to_slave` and `to_master` have been
    written and not been read: they may be changed by the line discipline."""

    id: int
    number: int | None = None
    locked: bool = True
    settings: TerminalSettings = field(default_factory=TerminalSettings)
    to_slave: list[Span] = field(default_factory=list)
    to_master: list[Span] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class PtyMaster(Description):
    """The master of a pseudo-terminal (/dev/ptmx)."""

    kind: ClassVar[str] = "pty-master"

    pty: Pty


@dataclass(slots=True, eq=False)
class Pipe:
    """A pipe. `queue` is what was written and has not been read. `name`: the path of a FIFO; `inode`: of a pipe that
    was inherited, as in /proc's `pipe:[INODE]`; who is at its other end, and what is in it, is then unknown
    (`foreign`).

    `ahead` bytes were read before the event of the write that brings them, which is under way at this position.
    """

    id: int
    name: str | None = None
    inode: int | None = None
    foreign: bool = False
    capacity: int | None = None
    queue: list[Span] = field(default_factory=list)
    ahead: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class PipeEnd(Description):
    """One end of a pipe or FIFO, or both (O_RDWR of a FIFO): its flags say which."""

    kind: ClassVar[str] = "pipe"

    pipe: Pipe


@dataclass(slots=True)
class Message:
    """What was sent and has not been received: `spans` its bytes, `passed` the descriptions sent along (SCM_RIGHTS),
    `sender` the socket it came from, by id."""

    spans: list[Span]
    passed: list[Description] = field(default_factory=list)
    sender: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Socket(Description):
    """A socket.

    `state` is `new`, `bound`, `listening`, `connecting`, `connected`, or `closed` (both directions shut down, or the
    peer's end was read). Addresses are struct sockaddr, b"" if none or unknown; `local` may be what the kernel
    chose, if the program asked (getsockname). `peer` is the `id` of the socket at the other end where that is one of
    the program's own, -1 where it was and is gone. `queue`: what this socket has been sent by one of the program's
    own and has not received. `pending`: connections to a listening socket by the program's own that have not been
    accepted, by id. `options` are those that were set: (level, option) and value. `shut`: 1 for reading, 2 for
    writing, 3 for both. `ahead` as with pipes. `inode`: of one that was inherited.
    """

    kind: ClassVar[str] = "socket"

    family: int
    type: int
    protocol: int
    state: str = "new"
    local: bytes = b""
    remote: bytes = b""
    backlog: int | None = None
    peer: int | None = None
    options: dict[tuple[int, int], bytes] = field(default_factory=dict)
    shut: int = 0
    queue: list[Message] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    ahead: int = 0
    accepted_from: int | None = None
    """The id of the listening socket, of one that came from accept."""
    inode: int | None = None
    listener: int | None = None
    """The id of the program's own listening socket that it has asked to be connected to."""
    early: list[Message] = field(default_factory=list)
    """What it sent before that one accepted it."""
    bound_path: str | None = None
    """The absolute path of a Unix socket's address, None when that name was removed."""
    ended: bool = False
    """The program has read the end of what the peer sends."""
    sent: int = 0
    received: int = 0
    """Bytes sent and received in all."""


@dataclass(slots=True)
class Watch:
    """One member of an epoll set: the description it is about, the number it was added by, its events and data."""

    number: int
    description: Description
    events: int
    data: int
    disarmed: bool = False
    """EPOLLONESHOT has been reported."""


@dataclass(slots=True, kw_only=True, eq=False)
class Epoll(Description):
    """An epoll set."""

    kind: ClassVar[str] = "epoll"

    watches: list[Watch] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class EventFd(Description):
    """An eventfd."""

    kind: ClassVar[str] = "eventfd"

    count: int = 0
    semaphore: bool = False
    known: bool = True
    """False where it was inherited, so that others may count, too."""


@dataclass(slots=True, kw_only=True, eq=False)
class TimerFd(Description):
    """A timerfd. `remaining_ns` until it expires next, 0 if disarmed; then every `interval_ns`, 0 for once.
    `expirations` since it was last read. `settime_flags` as of timerfd_settime(2)."""

    kind: ClassVar[str] = "timerfd"

    clock: int = 0
    remaining_ns: int = 0
    interval_ns: int = 0
    expirations: int = 0
    settime_flags: int = 0
    value_ns: int = 0
    """As it was set: absolute with TFD_TIMER_ABSTIME."""
    known_at: int = 0
    """The time of the recording, in microseconds, at which so much remained."""


@dataclass(slots=True, kw_only=True, eq=False)
class SignalFd(Description):
    """A signalfd: the set of signals, bit n-1 for signal n."""

    kind: ClassVar[str] = "signalfd"

    mask: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Inotify(Description):
    """An inotify instance: path and mask by watch descriptor."""

    kind: ClassVar[str] = "inotify"

    watches: dict[int, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class MemFd(Description):
    """A memfd. `file.spans` are its content; `seals` as of F_ADD_SEALS."""

    kind: ClassVar[str] = "memfd"

    file: File
    offset: int | None = 0
    seals: int = 0
    memfd_flags: int = 0
    locks: list[Lock] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class PidFd(Description):
    """A descriptor of a process (recorded id)."""

    kind: ClassVar[str] = "pidfd"

    process: int


@dataclass(slots=True, kw_only=True, eq=False)
class Namespace(Description):
    """A descriptor of a namespace."""

    kind: ClassVar[str] = "namespace"

    name: str


@dataclass(slots=True, kw_only=True, eq=False)
class MessageQueue(Description):
    """A POSIX message queue (mq_open)."""

    kind: ClassVar[str] = "mqueue"

    name: str


@dataclass(slots=True, kw_only=True, eq=False)
class Unknown(Description):
    """A descriptor of a kind that the model does not follow, in words: `fanotify`, `perf event`, `received from
    outside`."""

    kind: ClassVar[str] = "unknown"

    what: str


@dataclass(slots=True)
class Slot:
    """An entry of a table of descriptors."""

    description: Description
    close_on_exec: bool = False


# ---- memory ----


@dataclass(slots=True)
class Mapping:
    """Part of an address space, in which all pages are alike. `kind` is `anonymous`, `file`, `heap`, `stack`, `sysv`
    (shmat) or `device`. A file is given by `file` (the same object that a descriptor has, where one is or was open),
    `offset` into it and, where the trace has it, `piece`: its `offset` and `length` are those of the mapping's
    beginning. `lock`: mlock'ed; `advice`: MADV_DONTFORK, MADV_WIPEONFORK and the like that last, by number."""

    start: int
    end: int
    prot: int
    shared: bool
    kind: str = "anonymous"
    name: str = ""
    file: File | None = None
    offset: int = 0
    piece: FilePiece | None = None
    locked: bool = False
    advice: frozenset[int] = frozenset()
    group: int = 0
    """Shared anonymous mappings of one group, from 1, are one memory: forks have them in common."""


@dataclass(slots=True, eq=False)
class Memory:
    """An address space. `brk` is the end of the heap, 0 before the program has asked."""

    id: int
    mappings: list[Mapping] = field(default_factory=list)
    brk: int = 0
    brk_start: int = 0
    start_stack: int = 0
    """Where the kernel put the argument count at the exec: arguments, environment and auxiliary vector are from
    there on."""


# ---- processes ----


@dataclass(slots=True, eq=False)
class Directories:
    """What CLONE_FS shares. Absolute paths."""

    id: int
    cwd: str
    root: str = "/"
    umask: int | None = None


@dataclass(slots=True)
class Credentials:
    """Ids are (real, effective, saved, file system); capabilities are bit sets. None: unknown."""

    uids: tuple[int, int, int, int] | None = None
    gids: tuple[int, int, int, int] | None = None
    groups: tuple[int, ...] | None = None
    effective: int | None = None
    permitted: int | None = None
    inheritable: int | None = None
    bounding: int | None = None
    ambient: int | None = None
    securebits: int = 0
    no_new_privs: bool = False


@dataclass(slots=True)
class Action:
    """What a signal does: `handler` is an address, 0 SIG_DFL, 1 SIG_IGN."""

    handler: int
    flags: int = 0
    restorer: int = 0
    mask: int = 0


@dataclass(slots=True, eq=False)
class Dispositions:
    """What CLONE_SIGHAND shares: the signals that are not SIG_DFL."""

    id: int
    actions: dict[int, Action] = field(default_factory=dict)


@dataclass(slots=True)
class Timer:
    """A timer of setitimer (`which` `real`, `virtual`, `prof`) or timer_create (`posix`, with `number`). Times as in
    TimerFd. `sigevent` is the 64 bytes of struct sigevent, b"" if none was given."""

    which: str
    number: int = 0
    clock: int = 0
    remaining_ns: int = 0
    interval_ns: int = 0
    flags: int = 0
    value_ns: int = 0
    sigevent: bytes = b""
    known_at: int = 0


@dataclass(slots=True, eq=False)
class Task:
    """A thread. `mask` and `pending` are sets of signals, bit n-1 for signal n; `alternate_stack` is (address,
    flags, size). `registers` are those of struct user_regs_struct, which only replay knows. `robust_list`: (address,
    length); `clear_child_tid`: where the kernel writes 0 when the thread ends. `stopped`: by which signal.
    """

    tid: int
    name: str = ""
    mask: int | None = None
    pending: int = 0
    alternate_stack: tuple[int, int, int] | None = None
    registers: bytes | None = None
    robust_list: tuple[int, int] | None = None
    clear_child_tid: int = 0
    stopped: int = 0
    since: int = 0
    """The time of its last event, in microseconds since the start: when it went to what it does now."""
    credentials: Credentials = field(default_factory=Credentials)
    parent_death_signal: int = 0
    timer_slack_ns: int | None = None
    nice: int | None = None
    policy: tuple[int, int] | None = None
    """Scheduling policy and priority, where the program has set them."""
    affinity: bytes | None = None
    """What it has set by sched_setaffinity."""
    seccomp: int = 0
    """1 strict, 2 with filters of its own."""
    filters: list[bytes] = field(default_factory=list)
    """The programs of its filters, in the order of their installation: struct sock_filter each; b"" where unknown."""
    given_filters: int = 0
    """How many filters it was started under: a container's."""
    namespaces: list[str] = field(default_factory=list)
    """Namespaces that it left for new ones (`pid`, `mnt`, ...) or has entered."""


@dataclass(slots=True, eq=False)
class Process:
    """A thread group. `parent` is the recorded id of the process that would be told of its end: 0 for one outside of
    the recording. `zombies` are children that have ended and not been waited for: wait status by id.
    """

    pid: int
    parent: int
    group: int
    session: int
    executable: str
    arguments: list[str]
    tasks: dict[int, Task]
    memory: Memory
    descriptors: dict[int, Slot]
    directories: Directories
    dispositions: Dispositions
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Soft and hard, by RLIMIT_ number; -1 is unlimited."""
    timers: list[Timer] = field(default_factory=list)
    locks: list[tuple[File, Lock]] = field(default_factory=list)
    """POSIX locks."""
    pending: int = 0
    zombies: dict[int, int] = field(default_factory=dict)
    subreaper: bool = False
    dumpable: int | None = None
    personality: int = 0
    terminal: str | None = None
    """The path of its controlling terminal."""
    foreign_children: list[int] = field(default_factory=list)
    """Children that were not recorded."""
    shared_memory: dict[int, int] = field(default_factory=dict)
    """Attached System V segments: id by address."""
    ending: int | None = None
    """The wait status of its first thread, which has ended before others."""


@dataclass(slots=True)
class Clocks:
    """What the clocks showed at the position, in nanoseconds; None where recording did not say."""

    monotonic: int | None = None
    realtime: int | None = None
    boottime: int | None = None


@dataclass(slots=True)
class ProgramState:
    """All of a recorded program at one position. `processes` are those that live, by recorded id, parents before
    children. `time` is in microseconds since the start of the recording. `gaps` says what the trace does not tell,
    in words (older traces lack what the program inherited)."""

    position: int
    time: int
    processes: dict[int, Process]
    clocks: Clocks = field(default_factory=Clocks)
    ipc: list[str] = field(default_factory=list)
    """System V objects and POSIX queues that the program has made or opened, in words."""
    gaps: list[str] = field(default_factory=list)
