"""Recording a program that was resumed: `pyrr resume --record`. The new trace is a branch of the old one.

It begins with the events of the old trace up to the position, as they are. So it is a trace like any other, in which
one can go back to before the position. Then comes an event BRANCH, with what has changed in memory; then what is
recorded.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import procfs
from ..errors import PyrrError
from ..events import BranchEvent, ExecEvent, SyscallEvent
from ..light import suppress
from ..replayer.stored import identity
from ..trace_format import FORMAT, EventKind
from ..trace_reader import EventFilter
from .session import RecordingSession

if TYPE_CHECKING:
    from ..trace_reader import TraceReader

_MMAP, _MREMAP, _SHMAT = 9, 25, 30


class Taken(NamedTuple):
    """A thread that is taken over. `memory_of`: one taken over before that has the same memory, 0 if there is none;
    `continues`: replay has it right behind its last event, and it is to be said that it goes on."""

    tid: int
    process: int
    memory_of: int
    clear_child_tid: int
    robust_list: int
    filtered: bool
    undumpable: bool
    continues: bool


class Branch(NamedTuple):
    """A program that stands still amid its way, and where that is. `actions` are (process, signal, handler, flags,
    restorer, mask); `random` (thread, address, what a trap has replaced); `watched` files that are mapped (device,
    inode, number)."""

    position: int
    statement: str | None
    tasks: list[Taken]
    actions: list[tuple[int, int, int, int, int, int]]
    random: list[tuple[int, int, bytes]]
    watched: list[tuple[int, int, int]]
    event: BranchEvent


class BranchSession(RecordingSession):
    """Records a program from amid its way on."""

    def __init__(self, trace: TraceReader, path: str) -> None:
        """Raises PyrrError when the trace cannot be made, TakenError when there is something at `path`."""
        self._trace = trace
        self._branch: Branch | None = None
        super().__init__(list(trace.header["command"]), path)

    def _prepare(self) -> int:
        core = self._trace.header.get("core")
        return core if isinstance(core, int) and core in self._affinity else min(self._affinity)

    def _header(self) -> dict[str, Any]:
        assert self._branch is not None
        origin: dict[str, Any] = {
            "name": os.path.basename(os.path.normpath(self._trace.path)),
            "path": os.path.abspath(self._trace.path),
            "trace": identity(self._trace),
            "position": self._branch.position,
            "recorded": time.time(),
        }
        if self._branch.statement is not None:
            origin["statement"] = self._branch.statement
        return {**self._trace.header, "format": FORMAT, "origin": origin}

    def discard(self) -> None:
        """Gives up, before `run`."""
        self._writer.close()
        self._writer.discard()

    def go_on(self, branch: Branch) -> None:
        """What is to be recorded by `run`."""
        self._branch = branch

    def _begin(self) -> None:
        branch = self._branch
        assert branch is not None
        time_before = self._copy_before(branch.position)
        self._engine.go_on(branch.position, time_before)
        try:
            for taken in branch.tasks:
                self._engine.adopt(*taken)
            for action in branch.actions:
                self._engine.adopt_action(*action)
        except OSError as error:
            raise PyrrError(f"the program cannot be recorded again: {error.strerror}") from None
        self._root = branch.tasks[0].process
        for tid, address, original in branch.random:
            with suppress(OSError):  # too many; nobody knew of them before either
                self._engine.patch(tid, address, original)
        self._begun = True
        for number in range(1, self._most_shared(branch.position) + 1):
            self._shared["before", number] = number
        for device, inode, number in branch.watched:
            self._shared.pop(("before", number), None)
            self._shared[device, inode] = number
            self._engine.watch(device, inode)
        event = branch.event
        flat = [[item for one in part for item in one] for part in (event.mapped, event.writes, event.brks)]
        self._emit(EventKind.BRANCH, 0, event.text, *flat)
        self._look_for_outsiders(self._root, procfs.read_maps(self._root))

    def _copy_before(self, position: int) -> int:
        """Writes what comes before the position: the time of its last event."""
        trace, last = self._trace, 0
        for hash_ in trace.files():
            self._writer.take_over(hash_, trace.sum_of(hash_), partial(_copy, trace, hash_))
        for frame, last in trace.frames(position):
            self._writer.add_frame(frame)
            self._times.append(last)
        first, count, data = trace.rest_of_chunk(position)
        if count:
            self._writer.add_chunk(first, count, data)
            last = trace.event(position - 1).time
            self._times.append(last)
        return last

    def _most_shared(self, position: int) -> int:
        """The highest number of a mapped file that may change."""
        most = 0
        wanted = EventFilter((EventKind.EXEC,), (_MMAP, _MREMAP, _SHMAT))
        for event in self._trace.select(wanted, 0, position):
            pieces = [piece for _, piece in event.pieces] if isinstance(event, SyscallEvent) else []
            if isinstance(event, ExecEvent):
                most = max([most, *(region[5][5] for region in event.image.get("regions", []) if region[5])])
            most = max([most, *(piece.shared for piece in pieces)])
        return most


def _copy(trace: TraceReader, hash_: str, path: str) -> None:
    """Puts a stored file of a trace at a path."""
    with suppress(OSError):
        os.link(os.path.join(trace.path, "files", hash_), path)
        return
    with trace.packed_file(hash_) as source, open(path, "xb") as target:
        while data := source.read(1 << 20):
            target.write(data)
