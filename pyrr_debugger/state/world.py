"""The objects of a program while its events are walked, and what handlers of all families do with them."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import Any

from .call import Call
from .model import (
    Clocks,
    Description,
    Device,
    Epoll,
    File,
    MemFd,
    OpenDirectory,
    OpenFile,
    OpenPath,
    Pipe,
    PipeEnd,
    Process,
    ProcFile,
    Pty,
    PtyMaster,
    Slot,
    Socket,
    Span,
    Task,
    Terminal,
    TerminalSettings,
)

AT_FDCWD = -100
O_ACCMODE, O_APPEND, O_NONBLOCK, O_CLOEXEC = 0o3, 0o2000, 0o4000, 0o2000000
O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC = 0o100, 0o200, 0o400, 0o1000
O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, O_LARGEFILE = 0o200000, 0o400000, 0o10000000, 0o20200000, 0o100000
_MOST_SPANS = 100_000
_MADE_BY_KERNEL = ("/proc/", "/sys/")

Handler = Callable[["World", Call], None]
HANDLERS: dict[str, Handler] = {}
"""By the name of the call."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Makes a function the handler of calls that have succeeded."""

    def register(handler: Handler) -> Handler:
        for name in names:
            assert name not in HANDLERS, name
            HANDLERS[name] = handler
        return handler

    return register


class World:
    """What lives at some point of the log. `history.py` walks it through the events."""

    def __init__(self) -> None:
        self.processes: dict[int, Process] = {}
        self.tasks: dict[int, Process] = {}
        self.files: dict[str, File] = {}
        """By their present names."""
        self.fifos: dict[str, Pipe] = {}
        self.terminals: dict[str, TerminalSettings] = {}
        self.ptys: dict[int, Pty] = {}
        self.sockets: dict[int, Socket] = {}
        self.zombies: dict[int, tuple[int, int]] = {}
        """Ended processes that nobody has waited for: parent and wait status."""
        self.ipc: dict[str, None] = {}
        self.gaps: dict[str, None] = {}
        self.disagreements: list[str] = []
        """Where what an exec recorded differs from what the calls before it say."""
        self.segments: dict[int, int] = {}
        """Sizes of System V shared memory, by id."""
        self.spawned: dict[int, int] = {}
        """The task that was made last, by the one that made it, until its call returns."""
        self.masks: dict[int, list[tuple[int, int]]] = {}
        """Signal masks to go back to, with the stack pointer that comes back along, by task."""
        self.shared_groups = 0
        self.time = 0
        self.clocks = Clocks()
        self.clocks_at = 0
        """The time of the event at which the clocks showed that."""
        self.sleeping_masks: dict[int, int] = {}
        """The mask for the time of a call that a signal has just interrupted (sigsuspend, ppoll), by task."""
        self._last_id = 0
        self._sockets_pruned = 1000

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    # ---- time ----

    def nanoseconds(self, clock: int) -> int | None:
        """What a clock shows now; None where the trace does not tell."""
        passed = (self.time - self.clocks_at) * 1000
        name = {0: "realtime", 1: "monotonic", 4: "monotonic", 5: "realtime", 6: "monotonic", 7: "boottime"}.get(clock)
        name = {8: "realtime", 9: "boottime", 11: "realtime"}.get(clock, name)
        start: int | None = getattr(self.clocks, name) if name else None
        return None if start is None else start + passed

    # ---- paths and files ----

    def resolve(self, call: Call, directory: int | None, path: str) -> str:
        """An absolute path, its dots and double slashes removed; symbolic links stay as they are."""
        if not path.startswith("/"):
            base = call.process.directories.cwd
            if directory is not None and directory != AT_FDCWD:
                base = self.path_of(call.process, directory) or base
            path = posixpath.join(base, path) if path else base
        return "/" + posixpath.normpath(path).lstrip("/")

    def path_of(self, process: Process, number: int) -> str | None:
        """The path of what a descriptor has open, if that has one."""
        slot = process.descriptors.get(number)
        match slot.description if slot else None:
            case OpenFile() | OpenDirectory() | OpenPath() as opened:
                return opened.file.path
            case ProcFile() | Device() | Terminal() as other:
                return other.path
        return None

    def file_at(self, path: str) -> File:
        """The file of this name, which has been seen before or is now."""
        file = self.files.get(path)
        if file is None:
            file = self.files[path] = File(self.new_id(), path)
        return file

    def forget_name(self, path: str) -> None:
        """A name was removed."""
        file = self.files.pop(path, None)
        if file is not None:
            file.deleted = True
        self.fifos.pop(path, None)
        for socket in self._bound(path):
            socket.bound_path = None

    def _bound(self, path: str) -> list[Socket]:
        return [one for one in self.sockets.values() if one.bound_path == path]

    def rename(self, old: str, new: str) -> None:
        """A file or a directory has another name now."""
        self.forget_name(new)
        for path in [p for p in self.files if p == old or p.startswith(old + "/")]:
            file = self.files.pop(path)
            file.path = new + path[len(old) :]
            self.files[file.path] = file
        if old in self.fifos:
            self.fifos[new] = self.fifos.pop(old)
            self.fifos[new].name = new
        for socket in self._bound(old):
            socket.bound_path = new

    def find_out(self, file: File, path: str) -> None:
        """The recorder saw the path of an open file, without symbolic links."""
        if not file.deleted and path != file.path and not path.endswith(" (deleted)"):
            self.files.setdefault(path, file)
            file.path = path

    def learn(self, file: File, status: tuple[int, int, int, int, int]) -> None:
        """The program has seen device, inode, mode, size, and time of change of a file."""
        file.device, file.inode, file.mode, file.size, file.mtime_ns = status

    def written(self, file: File, offset: int | None, length: int, event: int, skip: int = 0) -> None:
        """A call has written to a file; `offset` None: at its unknown end."""
        if offset is None:
            file.spans = None
            return
        if length > 0:
            file.size = max(file.size or 0, offset + length) if file.size is not None or file.created else None
            file.mtime_ns = None
            if file.spans is not None:
                file.spans.append(Span(offset, length, event, skip))
                if len(file.spans) > _MOST_SPANS:
                    file.spans = None

    def was_read(self, file: File, offset: int | None, length: int, event: int) -> None:
        """A call has read from a file."""
        if offset is not None and length > 0 and not file.created and len(file.reads) < _MOST_SPANS:
            file.reads.append(Span(offset, length, event))

    def truncated(self, file: File, length: int) -> None:
        """A file was cut or grew."""
        if length == 0:
            file.spans, file.created = [], True
        elif file.spans is not None:
            kept = [s for s in file.spans if s.offset < length]
            file.spans = [Span(s.offset, min(s.length, length - s.offset), s.event, s.skip) for s in kept]
        file.size, file.mtime_ns = length, None

    # ---- descriptors ----

    def install(self, process: Process, number: int, description: Description, close_on_exec: bool = False) -> None:
        """A descriptor is made, or takes the place of one that is there."""
        if number in process.descriptors:
            self.close(process, number)
        process.descriptors[number] = Slot(description, close_on_exec)
        if isinstance(description, Socket) and description.id not in self.sockets:
            self.sockets[description.id] = description
            if len(self.sockets) > self._sockets_pruned:
                self.sockets = {s.id: s for s in self.descriptions() if isinstance(s, Socket)}
                self._sockets_pruned = 1000 + 2 * len(self.sockets)

    def close(self, process: Process, number: int) -> None:
        """A descriptor is closed; with any one of a file go the POSIX locks of the process on it."""
        slot = process.descriptors.pop(number, None)
        if slot is not None and process.locks and isinstance(slot.description, OpenFile):
            process.locks[:] = [one for one in process.locks if one[0] is not slot.description.file]

    def descriptions(self) -> Iterator[Description]:
        """All open file descriptions that somebody has, each once, those on their way among them."""
        seen: set[int] = set()
        waiting = [slot.description for p in self.processes.values() for slot in p.descriptors.values()]
        while waiting:
            description = waiting.pop()
            if description.id in seen:
                continue
            seen.add(description.id)
            yield description
            if isinstance(description, Socket):
                waiting += [passed for message in description.queue for passed in message.passed]
                waiting += [self.sockets[n] for n in description.pending if n in self.sockets]

    def known_files(self) -> Iterator[File]:
        """All files that have a name or that somebody has open."""
        yield from self.files.values()
        for description in self.descriptions():
            if isinstance(description, (OpenFile, MemFd)) and description.file.deleted:
                yield description.file

    def replace(self, old: Description, new: Description) -> None:
        """What was taken for one kind has turned out to be another."""
        for process in self.processes.values():
            for slot in process.descriptors.values():
                if slot.description is old:
                    slot.description = new
                elif isinstance(slot.description, Epoll):
                    for watch in slot.description.watches:
                        if watch.description is old:
                            watch.description = new

    def opened(self, path: str, flags: int, event: int, process: Process | None = None) -> Description:
        """A new description of what a path names, as far as the path and the flags tell; a stat may tell more later."""
        kept = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC) | O_LARGEFILE
        head: dict[str, Any] = {"id": self.new_id(), "event": event}
        if flags & O_PATH:
            kept = flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW)
            return OpenPath(flags=kept, file=self.file_at(path), **head)
        if path == "/dev/ptmx" or path == "/dev/pts/ptmx":
            return PtyMaster(flags=kept, pty=Pty(self.new_id()), **head)
        if path == "/dev/tty" or path.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
            name = path
            if path == "/dev/tty" and process is not None and process.terminal:
                name = process.terminal
            number = name.rpartition("/")[2]
            pty = self.ptys.get(int(number)) if name.startswith("/dev/pts/") and number.isdecimal() else None
            return Terminal(flags=kept, path=path, settings=self.terminal(name, pty), pty=pty, **head)
        if path.startswith(_MADE_BY_KERNEL):
            return ProcFile(flags=kept, path=path, directory=bool(flags & O_DIRECTORY), **head)
        if path in self.fifos:
            return PipeEnd(flags=kept, pipe=self.fifos[path], **head)
        if path.startswith("/dev/") and not path.startswith(("/dev/shm/", "/dev/mqueue/")):
            return Device(flags=kept, path=path, **head)
        if flags & O_TMPFILE == O_TMPFILE:
            file = File(self.new_id(), f"{path}/#", mode=stat.S_IFREG, size=0, deleted=True, created=True)
            return OpenFile(flags=kept, file=file, **head)
        known = self.files.get(path)
        if flags & O_DIRECTORY or (known and known.mode and stat.S_ISDIR(known.mode)):
            return OpenDirectory(flags=kept, file=self.file_at(path), **head)
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL:
            self.files.pop(path, None)
            file = self.file_at(path)
            file.created, file.size = True, 0
        file = self.file_at(path)
        if flags & O_TRUNC:
            self.truncated(file, 0)
        return OpenFile(flags=kept, file=file, **head)

    def terminal(self, name: str, pty: Pty | None = None) -> TerminalSettings:
        """The settings of a terminal, which all who have it open share."""
        if pty is not None:
            return pty.settings
        return self.terminals.setdefault(name, TerminalSettings())

    def pipe_pair(self, flags: int, event: int) -> tuple[PipeEnd, PipeEnd]:
        """Both ends of a new pipe."""
        pipe = Pipe(self.new_id())
        kept = flags & ~O_CLOEXEC
        return (
            PipeEnd(id=self.new_id(), flags=kept, event=event, pipe=pipe),
            PipeEnd(id=self.new_id(), flags=kept | os.O_WRONLY, event=event, pipe=pipe),
        )

    def task(self, tid: int) -> Task | None:
        process = self.tasks.get(tid)
        return process.tasks.get(tid) if process else None

    def inherited_file(self, path: str) -> File:
        """As `file_at`, of a file that was open before anything was recorded."""
        deleted = path.endswith(" (deleted)")
        if not deleted:
            return self.file_at(path)
        return File(self.new_id(), path.removesuffix(" (deleted)"), deleted=True)


def take(queue: list[Span], length: int) -> int:
    """Removes bytes from the front of a queue; how many it did not have."""
    while queue and length > 0:
        first = queue[0]
        if first.length > length:
            first.length -= length
            first.skip += length
            return 0
        length -= first.length
        del queue[0]
    return length
