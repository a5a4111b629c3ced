"""What a program that goes live, and is recorded again, is at that moment: what the recorder takes over
(recorder/branch.py)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .. import _engine, checksum
from ..errors import PyrrError
from ..events import BranchEvent
from ..recorder.branch import Branch, Taken
from .memory import own_mappings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..replayer.session import ReplaySession
    from ..state.model import Process, ProgramState
    from .process import LiveProcess
    from .restore import Restoration

_BRK = 12
_PAGE = 4096
_UNMAPPED = -1

Span = tuple[int, int, int]
"""Memory from, to, and its protection."""


def branch_of(
    session: ReplaySession,
    restoration: Restoration,
    state: ProgramState,
    watched: list[tuple[int, int, int]],
    statement: str | None,
    name: str,
) -> Branch:
    """Everything stands still: the replayed program at the position, and the one that is to live on. `watched` are
    the files that it has mapped (device, inode, number in the trace). Raises PyrrError."""
    tasks: list[Taken] = []
    actions = []
    random = []
    due = session.due
    spaces: dict[int, int] = {}
    changes = _Changes()
    for recorded, process in state.processes.items():
        live = restoration.processes[recorded]
        changes.look(session, process, live, process.memory.id in spaces)
        memory_of = spaces.setdefault(process.memory.id, recorded)
        for tid, task in process.tasks.items():
            continues = session.stop(tid) == "none" and tid != due
            robust = task.robust_list[0] if task.robust_list else 0
            shared = memory_of if memory_of != recorded else 0
            undumpable = process.dumpable == 0
            one = Taken(tid, recorded, shared, task.clear_child_tid, robust, bool(task.filters), undumpable, continues)
            tasks.append(one)
        actions += [
            (recorded, signal, one.handler, one.flags, one.restorer, one.mask)
            for signal, one in process.dispositions.actions.items()
        ]
        random += [(recorded, address, original) for address, original in restoration.traps.get(recorded, [])]
    text = f"resumed from {name} at event {state.position}"
    if statement is not None:
        text += f", behind {statement!r}"
    event = BranchEvent(state.position, 0, state.time, text, *changes.parts)
    return Branch(state.position, statement, tasks, actions, random, watched, event)


class _Changes:
    """In what the memory of processes differs from what it was when it was replayed."""

    def __init__(self) -> None:
        self._mapped: list[tuple[int, int, int, int]] = []
        self._writes: list[tuple[int, int, bytes]] = []
        self._brks: list[tuple[int, int]] = []

    @property
    def parts(self) -> tuple[
        tuple[tuple[int, int, int, int], ...], tuple[tuple[int, int, bytes], ...], tuple[tuple[int, int], ...]
    ]:  # fmt: skip
        return tuple(self._mapped), tuple(self._writes), tuple(self._brks)

    def look(self, session: ReplaySession, process: Process, live: LiveProcess, known: bool) -> None:
        """Raises PyrrError where memory is another one in a way that an event cannot say."""
        if known:
            return
        pid, real = process.pid, session.real(next(iter(process.tasks)))
        brk = live.try_call(_BRK, 0)
        if brk != process.memory.brk:
            self._brks.append((pid, brk))
        # A stack grows by itself; replay has mapped all that it may become.
        lowest, top = session.stack_of(next(iter(process.tasks)))
        before = _spans(real, lowest, top)
        after = _spans(live.tid, lowest, top)
        for start, end, prot in _difference(after, before):
            self._mapped.append((pid, start, end, prot))
        for start, end, _ in _difference(before, after):
            if not any(low < end and start < high for low, high, _ in after):
                self._mapped.append((pid, start, end, _UNMAPPED))
        stack = [(m.start, m.end, m.prot) for m in own_mappings(live.tid) if lowest <= m.start < top and not m.shared]
        for start, end, prot in after + stack:
            if not prot & 1:
                continue
            fresh = [(low, high, prot) for own, low, high, p in self._mapped if own == pid and p == prot]
            old = list(_difference([(start, end, prot)], fresh))
            new = list(_difference([(start, end, prot)], old))
            for parts, is_fresh in ((old, False), (new, True)):
                self._writes += [
                    (pid, address, live.read(address, _PAGE))
                    for low, high, _ in parts
                    for address in _changed(real, live.tid, low, high, is_fresh)
                ]
        for mapping in own_mappings(live.tid):  # a file that is mapped again may have changed
            if not mapping.shared or not mapping.prot & 1:
                continue
            with suppress(OSError):  # it ends before
                filled = {
                    *checksum.filled(live.tid, mapping.start, mapping.end),
                    *checksum.filled(real, mapping.start, mapping.end, session.shared_memory),
                }
                self._writes += [
                    (pid, address, live.read(address, _PAGE))
                    for start, end in sorted(filled)
                    for address in _changed(real, live.tid, start, end, False, False)
                ]


def _spans(pid: int, lowest: int, top: int) -> list[Span]:
    """All private memory of a program but its stack, what lies side by side with one protection as one."""
    found: list[Span] = []
    for mapping in own_mappings(pid):
        if mapping.shared or lowest <= mapping.start < top or mapping.start == _engine.LIVE_ARGUMENTS[0]:
            continue
        if found and found[-1][1] == mapping.start and found[-1][2] == mapping.prot:
            found[-1] = found[-1][0], mapping.end, mapping.prot
        else:
            found.append((mapping.start, mapping.end, mapping.prot))
    return found


def _difference(spans: list[Span], others: list[Span]) -> Iterator[Span]:
    """What of some memory is not in another one with the same protection."""
    for start, end, prot in spans:
        at = start
        for low, high, same in sorted(others):
            if same != prot or high <= at or low >= end:
                continue
            if low > at:
                yield at, low, prot
            at = high
        if at < end:
            yield at, end, prot


def _changed(real: int, live: int, start: int, end: int, fresh: bool, sparse: bool = True) -> Iterator[int]:
    """The pages of a part of memory that differ from the replayed ones."""
    present = _engine.checksum(live, start, end, sparse)
    before = b""
    if not fresh:
        try:
            before = _engine.checksum(real, start, end, sparse)
        except OSError as error:
            raise PyrrError(
                f"the program cannot be recorded again: its memory at {start:#x}: {error.strerror}"
            ) from None
    if present == before:
        return
    then, now = checksum.pages(before), checksum.pages(present)
    for address in sorted(then.keys() | now.keys()):
        if then.get(address) != now.get(address):
            yield address
