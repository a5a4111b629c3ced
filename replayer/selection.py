"""Which events of a trace one process needs: `pyrr replay --process`.

Events belong to address spaces: one begins with an exec or a fork, and threads and vfork children share it. A process
needs its own; that of its parent up to the fork, if it executed nothing since; and those that share memory with one it
needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import _engine
from ..encoded import encoded
from ..errors import PyrrError
from ..events import Event, ExecEvent, ExitEvent, LeaveEvent, SpawnEvent, SyscallEvent
from ..trace_format import EventKind
from ..trace_reader import TraceReader

_CLONE_VM = 0x100
_MMAP, _SHMAT = 9, 30
_SHM_RDONLY = 0o10000
_PROT_WRITE, _MAP_SHARED_TYPES, _MAP_ANONYMOUS = 2, (1, 3), 0x20
_ITEMS_BEFORE_STREAM = 9
_NOTHING = _engine.pack([int(EventKind.NOTE), 0, 0, ""])


@dataclass(eq=False)
class _Space:
    """An address space: the process it began in, and its first event."""

    process: int
    start: int
    parent: _Space | None = None
    reads: set[int] = field(default_factory=set)
    """Numbers of the files that it maps."""
    writes: set[int] = field(default_factory=set)
    """Numbers of the mapped files that it may change."""
    anonymous: bool = False
    """Whether it has memory that it shares with its forks."""
    sharers: set[_Space] = field(default_factory=set)


class Selection:
    """The events before `until` that process `pid` needs, itself the last of that id."""

    def __init__(self, trace: TraceReader, pid: int, until: int) -> None:
        """Raises PyrrError when there is no such process."""
        self._pid = pid
        self._owners: list[tuple[int, _Space]] = []  # of each event: its task's process, its address space
        self._process: dict[int, int] = {}
        self._space: dict[int, _Space] = {}
        self._nobody = _Space(0, 0)
        spaces: list[_Space] = []
        for event in trace.events(0, until):
            before = self._space.get(event.task)
            self._follow(event)
            space = self._space.get(event.task, before or self._nobody)
            if space not in spaces[-1:] and space is not before and space is not self._nobody:
                spaces.append(space)
            self._owners.append((self._process.get(event.task, 0), space))
            if isinstance(event, (ExitEvent, LeaveEvent)):
                self._space.pop(event.task, None)
        own = [space for process, space in self._owners if process == pid and space is not self._nobody]
        if not own:
            raise PyrrError(f"no process {pid} runs before event {until}: 'pyrr ps' lists the processes")
        for one in spaces:
            for other in spaces:
                if one is not other and one.writes & (other.reads | other.writes):
                    one.sharers.add(other)
                    other.sharers.add(one)
        self._until: dict[_Space, int] = {}
        self._need(own[-1], until)

    def _follow(self, event: Event) -> None:
        if isinstance(event, SpawnEvent):
            parent = self._space[event.parent]
            self._process[event.task] = event.process
            if event.flags & _CLONE_VM:
                self._space[event.task] = parent
                return
            child = _Space(event.process, event.number, parent, set(parent.reads), set(parent.writes), parent.anonymous)
            if parent.anonymous:
                child.sharers.add(parent)
                parent.sharers.add(child)
            self._space[event.task] = child
        elif isinstance(event, ExecEvent):
            process = self._process.setdefault(event.task, event.task)
            self._space[event.task] = _Space(process, event.number)
        elif isinstance(event, SyscallEvent) and event.task in self._space:
            space = self._space[event.task]
            space.writes.update(write.shared for write in event.writes)
            shared = event.nr == _MMAP and event.args[3] & 0xF in _MAP_SHARED_TYPES
            writable = shared and event.args[2] & _PROT_WRITE
            if event.nr == _SHMAT:
                writable = not event.args[2] & _SHM_RDONLY
            for _, piece in event.pieces:
                if piece.shared:
                    space.reads.add(piece.shared)
                    if writable:
                        space.writes.add(piece.shared)
            space.anonymous |= bool(shared and event.args[3] & _MAP_ANONYMOUS)

    def _need(self, space: _Space, until: int) -> None:
        if self._until.get(space, 0) >= until:
            return
        self._until[space] = until
        if space.parent:
            self._need(space.parent, space.start)
        for other in space.sharers:
            self._need(other, until)

    def __contains__(self, number: int) -> bool:
        """Whether event `number` is needed."""
        if number >= len(self._owners):
            return True
        _, space = self._owners[number]
        return space is self._nobody or number < self._until.get(space, 0)

    def filtered(self, data: bytes | memoryview, first: int) -> bytes:
        """The encoded events of a chunk, an empty note in the place of each that is not needed; what other processes
        wrote to the terminal is left out."""
        kept: list[bytes | memoryview] = []
        for number, event in enumerate(encoded(data), first):
            if number not in self:
                kept.append(_NOTHING)
            elif self._is_foreign_output(number, event.wire):
                kept.append(_engine.pack(event.wire[:_ITEMS_BEFORE_STREAM]))
            else:  # what an event refers to may be left out
                kept.append(_engine.pack(event.wire) if event.refers else data[event.start : event.end])
        return b"".join(kept)

    def _is_foreign_output(self, number: int, wire: list[object]) -> bool:
        output = wire[0] == EventKind.SYSCALL and len(wire) > _ITEMS_BEFORE_STREAM
        return output and number < len(self._owners) and self._owners[number][0] != self._pid
