"""The state of a process as it begins a program: from the image that an exec has left in the trace."""

from __future__ import annotations

import os
import stat
from typing import Any

from ..events import ExecEvent
from ..replayer.description import arguments_of
from ..trace_format import FilePiece
from .identity import NAMESPACES
from .memory import remember
from .model import (
    INHERITED,
    Action,
    Credentials,
    Description,
    Device,
    Directories,
    Dispositions,
    Epoll,
    EventFd,
    Inotify,
    Mapping,
    MemFd,
    Memory,
    Namespace,
    OpenDirectory,
    OpenFile,
    OpenPath,
    Pipe,
    PipeEnd,
    Process,
    ProcFile,
    Pty,
    PtyMaster,
    SignalFd,
    Slot,
    Socket,
    Task,
    Terminal,
    TimerFd,
    Unknown,
)
from .world import O_APPEND, O_CLOEXEC, O_PATH, World

LIMITS = {
    "Max cpu time": 0, "Max file size": 1, "Max data size": 2, "Max stack size": 3, "Max core file size": 4,
    "Max resident set": 5, "Max processes": 6, "Max open files": 7, "Max locked memory": 8, "Max address space": 9,
    "Max file locks": 10, "Max pending signals": 11, "Max msgqueue size": 12, "Max nice priority": 13,
    "Max realtime priority": 14, "Max realtime timeout": 15,
}  # fmt: skip
"""The numbers of the RLIMIT_ constants by their names in /proc/PID/limits (fs/proc/base.c)."""

_RSP = 19 * 8  # in struct user_regs_struct
_OLD = "the trace is of an older pyrr: it lacks what the program was given when it was started"
_ANONYMOUS = {
    "[eventpoll]": Epoll, "[eventfd]": EventFd, "[timerfd]": TimerFd, "[signalfd]": SignalFd, "inotify": Inotify,
}  # fmt: skip


def fields_of(text: bytes) -> dict[str, str]:
    """`key: value` lines."""
    pairs = (line.partition(b":") for line in text.split(b"\n"))
    return {os.fsdecode(key): os.fsdecode(value.strip()) for key, colon, value in pairs if colon}


def begin(world: World, event: ExecEvent) -> Process:
    """The first process of a trace."""
    image = event.image
    inherited: dict[str, Any] = image.get("inherited") or {}
    status = fields_of(image.get("status", b""))
    task = Task(event.task)
    process = Process(
        pid=event.task, parent=0, group=event.task, session=0, executable="", arguments=[], tasks={event.task: task},
        memory=Memory(world.new_id()), descriptors={}, directories=Directories(world.new_id(), "/"),
        dispositions=Dispositions(world.new_id()),
    )  # fmt: skip
    if not inherited:
        world.gaps[_OLD] = None
    process.directories.cwd = str(image.get("cwd", "/"))
    process.directories.root = str(inherited.get("root", "/"))
    if "Umask" in status:
        process.directories.umask = int(status["Umask"], 8)
    process.limits = limits_of(inherited.get("limits", b""))
    _take_stat(process, task, inherited.get("stat", b""))
    clocks = inherited.get("clocks", {})
    for name in ("monotonic", "realtime", "boottime"):
        setattr(world.clocks, name, clocks.get(name))
    world.clocks_at = event.time
    for number, bits in (("SigBlk", "mask"), ("SigPnd", "pending")):
        if number in status:
            setattr(task, bits, int(status[number], 16))
    process.pending = int(status.get("ShdPnd", "0"), 16)
    ignored = int(status.get("SigIgn", "0"), 16)
    process.dispositions.actions = {n: Action(1) for n in range(1, 65) if ignored >> n - 1 & 1}
    task.seccomp = int(status.get("Seccomp", "0"))
    task.given_filters = int(status.get("Seccomp_filters", "0"))
    _take_descriptors(world, process, image, inherited)
    become(world, process, task, event)
    return process


def limits_of(text: bytes) -> dict[int, tuple[int, int]]:
    """Soft and hard limits out of the text of /proc/PID/limits."""
    found: dict[int, tuple[int, int]] = {}
    for line in os.fsdecode(text).splitlines():
        name = line[:26].strip()
        if name in LIMITS:
            soft, hard = line[26:].split()[:2]
            found[LIMITS[name]] = _limit(soft), _limit(hard)
    return found


def _limit(text: str) -> int:
    return -1 if text == "unlimited" else int(text)


def _take_stat(process: Process, task: Task, text: bytes) -> None:
    fields = os.fsdecode(text).rpartition(")")[2].split()
    if len(fields) < 40:
        return
    process.parent = 0
    process.group, process.session, terminal = int(fields[2]), int(fields[3]), int(fields[4]) & 0xFFFFFFFF
    if terminal:
        major, minor = terminal >> 8 & 0xFFF, terminal & 0xFF | terminal >> 12 & 0xFFF00
        process.terminal = f"/dev/pts/{(major - 136) * 256 + minor}" if 136 <= major < 144 else "/dev/tty"
    task.nice = int(fields[16])
    if int(fields[38]):
        task.policy = int(fields[38]), int(fields[37])


def become(world: World, process: Process, task: Task, event: ExecEvent) -> None:
    """What an exec makes of a process: a new memory; handlers, timers and alternate stacks are gone."""
    image = event.image
    status = fields_of(image.get("status", b""))
    process.executable = str(image.get("executable", ""))
    process.arguments = arguments_of(event) or [process.executable]
    process.tasks = {event.task: task}
    process.memory = memory_of(world, image)
    kept = {n: action for n, action in process.dispositions.actions.items() if action.handler == 1}
    process.dispositions = Dispositions(world.new_id(), kept)
    process.timers = [timer for timer in process.timers if timer.which != "posix"]
    process.shared_memory = {}
    process.dumpable = None
    task.tid = event.task
    task.alternate_stack = task.robust_list = task.registers = None
    task.clear_child_tid = 0
    task.name = status.get("Name", os.path.basename(process.executable)[:15])
    if status:
        task.credentials = credentials_of(status, task.credentials)


def credentials_of(status: dict[str, str], before: Credentials) -> Credentials:
    """Out of the fields of /proc/PID/status."""

    def ids(name: str) -> tuple[int, int, int, int]:
        one, two, three, four = (int(part) for part in status[name].split())
        return one, two, three, four

    def bits(name: str) -> int | None:
        return int(status[name], 16) if name in status else None

    return Credentials(
        ids("Uid"),
        ids("Gid"),
        tuple(sorted(int(group) for group in status.get("Groups", "").split())),
        bits("CapEff"),
        bits("CapPrm"),
        bits("CapInh"),
        bits("CapBnd"),
        bits("CapAmb"),
        before.securebits & ~(1 << 4),
        status.get("NoNewPrivs", "0") == "1",
    )


def memory_of(world: World, image: dict[str, Any]) -> Memory:
    """The address space of an image."""
    memory = Memory(world.new_id())
    registers = image.get("registers", b"")
    memory.start_stack = int.from_bytes(registers[_RSP : _RSP + 8], "little")
    for start, end, prot, shared, name, wire, _ in image.get("regions", []):
        mapping = Mapping(start, end, prot, bool(shared), name=name)
        if name.startswith("/"):
            piece = FilePiece.from_wire(wire) if wire else None
            mapping.kind, mapping.file, mapping.piece = "file", world.file_at(name), piece
            if piece:
                mapping.offset = piece.start + piece.offset
                remember(mapping.file, piece)
        elif name == "[heap]":
            mapping.kind, memory.brk_start = "heap", start
            memory.brk = end
        elif name == "[stack]":
            mapping.kind = "stack"
        memory.mappings.append(mapping)
    return memory


# ---- descriptors ----


def _take_descriptors(world: World, process: Process, image: dict[str, Any], inherited: dict[str, Any]) -> None:
    facts = {one["number"]: one for one in inherited.get("descriptors", [])}
    for number, target, position, flags in image.get("descriptors", []):
        known = facts.get(number, {})
        same = known.get("same", number)
        if same != number and same in process.descriptors:
            description = process.descriptors[same].description
        else:
            description = given(world, process, target, position, flags, known)
        description.given_as += (number,)
        process.descriptors[number] = Slot(description, bool(flags & O_CLOEXEC))


def given(world: World, process: Process, target: str, position: int, flags: int, facts: dict[str, Any]) -> Description:
    """A description that was there before: by where its link in /proc points."""
    flags &= ~O_CLOEXEC
    head: dict[str, Any] = {"id": world.new_id(), "flags": flags, "event": INHERITED}
    status: list[Any] = facts.get("stat") or [None] * 6
    device, inode, mode, rdev, size, mtime = status
    if target.startswith("pipe:["):
        number = int(target[6:-1])
        for other in world.descriptions():
            if isinstance(other, PipeEnd) and other.pipe.inode == number:
                return PipeEnd(pipe=other.pipe, **head)
        return PipeEnd(pipe=Pipe(world.new_id(), inode=number, foreign=True), **head)
    if target.startswith("socket:["):
        return _given_socket(head, int(target[8:-1]), facts.get("socket", {}))
    if target.startswith("anon_inode:"):
        return _given_anonymous(target.removeprefix("anon_inode:"), head, fields_of(facts.get("fdinfo", b"")))
    for name in NAMESPACES.values():
        if target.startswith(f"{name}:["):
            return Namespace(name=target, **head)
    if target.startswith("/memfd:"):
        return MemFd(file=world.inherited_file(target), offset=position, **head)
    if flags & O_PATH:
        return OpenPath(file=world.inherited_file(target), **head)
    if "termios" in facts or (target.startswith("/dev/pts/") and not target.endswith("ptmx")):
        settings = world.terminal(target)
        if "termios" in facts:
            settings.termios = facts["termios"]
            settings.rows, settings.columns = (int.from_bytes(facts["winsize"][at : at + 2], "little") for at in (0, 2))
        return Terminal(path=target, settings=settings, **head)
    if target.endswith("/ptmx"):
        return PtyMaster(pty=Pty(world.new_id()), **head)
    if target.startswith(("/proc/", "/sys/")):
        directory = bool(mode and stat.S_ISDIR(mode))
        return ProcFile(path=target, offset=position, directory=directory, **head)
    if (mode is not None and stat.S_ISCHR(mode)) or (mode is None and target.startswith("/dev/")):
        return Device(path=target, number=rdev, offset=position, **head)
    if mode is not None and stat.S_ISFIFO(mode):
        pipe = world.fifos.setdefault(target, Pipe(world.new_id(), name=target, foreign=True))
        return PipeEnd(pipe=pipe, **head)
    if not target.startswith("/"):
        return Unknown(what=target, **head)
    file = world.inherited_file(target)
    if mode is not None:
        world.learn(file, (device, inode, mode, size, mtime))
    if mode is not None and stat.S_ISDIR(mode):
        return OpenDirectory(file=file, offset=position, **head)
    at_end = flags & O_APPEND and size is None
    return OpenFile(file=file, offset=None if at_end else position, **head)


def _given_socket(head: dict[str, Any], inode: int, facts: dict[str, Any]) -> Socket:
    local, remote = facts.get("local", b""), facts.get("remote", b"")
    state = "listening" if facts.get("listening") else "connected" if remote else "bound" if local[2:] else "new"
    return Socket(
        family=facts.get("family", -1), type=facts.get("type", -1), protocol=facts.get("protocol", -1), state=state,
        local=local, remote=remote, inode=inode, **head,
    )  # fmt: skip


def _given_anonymous(name: str, head: dict[str, Any], info: dict[str, str]) -> Description:
    made = _ANONYMOUS.get(name)
    if made is None:
        return Unknown(what=f"an anonymous inode: {name}", **head)
    description: Description = made(**head)
    if isinstance(description, EventFd):
        description.known = False
        description.count = int(info.get("eventfd-count", "0"), 16)
    elif isinstance(description, SignalFd):
        description.mask = int(info.get("sigmask", "0"), 16)
    elif isinstance(description, TimerFd):
        description.clock = int(info.get("clockid", "0"))
    return description


def compare(world: World, process: Process, event: ExecEvent) -> None:
    """Takes from an image which descriptors there are, where that is not what the calls before it say."""
    recorded = {number: (target, position, flags) for number, target, position, flags in event.image["descriptors"]}
    for number in sorted(set(process.descriptors) - set(recorded)):
        world.disagreements.append(f"event {event.number}: descriptor {number} is not open in process {process.pid}")
        del process.descriptors[number]
    for number, (target, position, flags) in recorded.items():
        if number not in process.descriptors:
            world.disagreements.append(
                f"event {event.number}: descriptor {number} of process {process.pid} is {target}"
            )
            description = given(world, process, target, position, flags, {})
            process.descriptors[number] = Slot(description, bool(flags & O_CLOEXEC))
