"""Snapshots: the memory and registers of a process, taken from a living one and rebuilt in an empty one.

Every program image of a replay starts from one. A region's content is a part of a stored file, where it is mapped
from one, and the pages that differ from it.
"""

from __future__ import annotations

import mmap
import os

from . import _engine, procfs
from .errors import PyrrError, TraceError
from .light import NamedTuple
from .trace_format import FilePiece

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class StoredMemory(Protocol):
        """The stored files, for replay: see replayer/sharing.py."""

        def offset(self, piece: FilePiece, length: int) -> int | None: ...

        def content(self, hash_: str) -> bytes: ...


PAGE = mmap.PAGESIZE
_MMAP, _MUNMAP = 9, 11
_PROT_READ, _PROT_WRITE = 1, 2
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000
_ADDRESS_LIMIT = 0x7FFFFFFFF000  # TASK_SIZE on x86-64 with four levels of page tables
_KERNEL_OWN = ("[vvar", "[vsyscall]")  # changes by itself, or is everywhere the same
_LARGEST_STACK = 1 << 30
_STACK_GUARD = 1 << 20  # stack_guard_gap, mm/mmap.c


class Region(NamedTuple):
    """One mapping and its content. `pages` are (address, bytes) runs that may differ from `piece`, or from zero."""

    start: int
    end: int
    prot: int
    shared: bool
    name: str
    piece: FilePiece | None
    pages: tuple[tuple[int, bytes], ...]


class Snapshot(NamedTuple):
    """A process at a stop. `stack_limit` is its soft RLIMIT_STACK; -1 is unlimited."""

    executable: str
    regions: tuple[Region, ...]
    registers: bytes
    xstate: bytes
    stack_limit: int

    def to_wire(self) -> dict[str, Any]:
        return {
            "executable": self.executable,
            "regions": [
                [r.start, r.end, r.prot, r.shared, r.name, r.piece and r.piece.to_wire(), r.pages] for r in self.regions
            ],
            "registers": self.registers,
            "xstate": self.xstate,
            "stack_limit": self.stack_limit,
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Snapshot:
        """Raises TraceError when `wire` is not a snapshot."""
        try:
            regions = tuple(region(*r) for r in wire["regions"])
            snapshot = cls(
                str(wire["executable"]), regions, wire["registers"], wire["xstate"], int(wire["stack_limit"])
            )
            if not isinstance(snapshot.registers, bytes) or not isinstance(snapshot.xstate, bytes):
                raise TypeError("registers are bytes")
            return snapshot
        except (KeyError, TypeError, ValueError) as error:
            raise TraceError(f"a snapshot of the trace is malformed ({error}): the trace is damaged") from None


def region(start: int, end: int, prot: int, shared: bool, name: str, piece: Any, pages: Any) -> Region:
    """Raises TypeError or ValueError for what cannot be one."""
    aligned = start % PAGE == 0 and end % PAGE == 0
    if not (aligned and 0 <= start < end <= _ADDRESS_LIMIT and 0 <= prot <= 7):
        raise ValueError(f"region {start:#x}-{end:#x}")
    content = tuple((a, d) for a, d in pages)
    for address, data in content:
        if not isinstance(data, bytes) or not start <= address <= address + len(data) <= end:
            raise ValueError(f"pages outside of region {start:#x}-{end:#x}")
    found = FilePiece.from_wire(piece) if piece else None
    return Region(start, end, prot, bool(shared), str(name), found, content)


def is_agent(mapping: procfs.Mapping) -> bool:
    """Whether memory is the agent's, which is no part of the program."""
    return bool(_engine.AGENT[0] <= mapping.start < _engine.AGENT[1])


def take(pid: int, pieces: dict[int, FilePiece], maps: list[procfs.Mapping]) -> Snapshot:
    """The snapshot of a stopped process with one task and these mappings; `pieces` are those of stored files, by the
    beginnings of the mappings. Raises OSError when it is gone."""
    executable = os.readlink(f"/proc/{pid}/exe")
    registers, xstate = _engine.registers(pid), _engine.xstate(pid, True)
    return Snapshot(executable, tuple(regions(pid, pieces, own(maps))), registers, xstate, procfs.stack_limit(pid))


def own(maps: list[procfs.Mapping]) -> list[procfs.Mapping]:
    """Those that are the program's, not the kernel's or the agent's."""
    return [m for m in maps if not (m.name.startswith(_KERNEL_OWN) or is_agent(m))]


def regions(pid: int, pieces: dict[int, FilePiece], maps: list[procfs.Mapping]) -> Iterator[Region]:
    """The memory of a stopped process behind these mappings. Raises OSError when it is gone."""
    private = procfs.private_pages(pid, *((m.start, m.end) for m in maps))
    for mapping, runs in zip(maps, private, strict=True):
        piece = pieces.get(mapping.start)
        if mapping.shared and piece is not None and piece.shared:
            runs = []  # they are its file's
        elif mapping.shared or (mapping.inode and not piece):
            runs = [(mapping.start, mapping.end)]
        pages = tuple((start, _engine.read(pid, start, end - start)) for start, end in runs)
        yield Region(mapping.start, mapping.end, mapping.prot, mapping.shared, mapping.name, piece, pages)


def restore(snapshot: Snapshot, engine: _engine.Replayer, task: int, pid: int, store: StoredMemory) -> None:
    """Rebuilds a snapshot in the stub process `pid`, which stands for `task`.

    Raises PyrrError where the kernel refuses a mapping.
    """
    gate = _engine.GATE_PAGE
    for start, end in ((PAGE, gate), (gate + _engine.GATE_BYTES, _ADDRESS_LIMIT)):
        _demand(engine.inject(task, _MUNMAP, start, end - start), "clear the address space")
    for region in snapshot.regions:
        start = region.start
        if region.name == "[stack]":
            start = lowest_stack(snapshot.stack_limit, region.start, region.end)
        if _touches_gate(start, region.end - start):
            raise PyrrError(f"the program has memory at {gate:#x}, where replay needs its own page")
        if region.piece and (region.piece.shared or not region.shared):
            map_piece(engine, task, pid, start, region.end - start, region.prot, region.piece, store, region.shared)
        else:
            map_anonymous(engine, task, start, region.end - start, region.prot, region.shared)
            if region.piece:
                fill(pid, region.start, region.piece, store)
        for address, content in region.pages:
            _engine.write(pid, address, content)
    _engine.set_registers(pid, snapshot.registers, snapshot.xstate)


def _touches_gate(start: int, length: int) -> bool:
    return start < _engine.GATE_PAGE + _engine.GATE_BYTES and start + length > _engine.GATE_PAGE


def lowest_stack(limit: int, start: int, end: int) -> int:
    """The lowest address down to which the kernel would let a stack of `start` to `end` grow: no page of it grows by
    itself in replay, since neither ptrace nor process_vm_writev expand a stack (kernel commit 8d7071af8907)."""
    limit = _LARGEST_STACK if limit < 0 or limit > _LARGEST_STACK else limit
    return max(PAGE, min(start, end - limit // PAGE * PAGE))


def move_stack(engine: _engine.Replayer, task: int, pid: int, lowest: int, wanted: int) -> int:
    """Maps all that a stack may grow to, down to `wanted`, and nothing below; `lowest` is what was mapped before.
    The new lowest address. Raises PyrrError where the kernel refuses."""
    if wanted > lowest:
        _demand(engine.inject(task, _MUNMAP, lowest, wanted - lowest), "shorten the stack")
    else:
        below = max((m.end for m in procfs.read_maps(pid) if m.end <= lowest), default=0)
        wanted = min(lowest, max(wanted, below + _STACK_GUARD))
        if wanted < lowest:
            map_anonymous(engine, task, wanted, lowest - wanted, _PROT_READ | _PROT_WRITE, False)
    return wanted


def map_anonymous(engine: _engine.Replayer, task: int, start: int, length: int, prot: int, shared: bool) -> None:
    """Maps zeroed memory at exactly `start`. Raises PyrrError where the kernel refuses."""
    flags = (_MAP_SHARED if shared else _MAP_PRIVATE) | _MAP_FIXED | _MAP_ANONYMOUS | _MAP_NORESERVE
    result = engine.inject(task, _MMAP, start, length, prot, flags, (1 << 64) - 1, 0)
    _demand(result - start, f"map {length} bytes at {start:#x}")


def map_piece(
    engine: _engine.Replayer,
    task: int,
    pid: int,
    start: int,
    length: int,
    prot: int,
    piece: FilePiece,
    store: StoredMemory,
    shared: bool = False,
) -> None:
    """Maps part of a stored file, and zeros behind it, at exactly `start`: a private copy, or its very memory. Raises
    PyrrError where the kernel refuses."""
    length = -(-length // PAGE) * PAGE
    offset = store.offset(piece, length)
    if offset is None:
        map_anonymous(engine, task, start, length, prot, False)
        fill(pid, start, piece, store)
        return
    map_memory_file(engine, task, start, length, prot, offset, shared)


def map_memory_file(
    engine: _engine.Replayer, task: int, start: int, length: int, prot: int, offset: int, shared: bool
) -> None:
    """Maps part of the one memory file of a replay (replayer/sharing.py) at exactly `start`. Raises PyrrError where the
    kernel refuses, ValueError for an impossible place."""
    if _touches_gate(start, length):
        raise ValueError(f"a file is mapped at {start:#x}, over replay's own page")
    flags = (_MAP_SHARED if shared else _MAP_PRIVATE) | _MAP_FIXED | _MAP_NORESERVE
    result = engine.inject(task, _MMAP, start, length, prot, flags, _engine.SHARED_DESCRIPTOR, offset)
    _demand(result - start, f"map {length} bytes of a file at {start:#x}")


def fill(pid: int, address: int, piece: FilePiece, store: StoredMemory) -> None:
    """Writes part of a stored file into memory."""
    content = memoryview(store.content(piece.hash))[piece.offset : piece.offset + piece.length]
    if content:
        _engine.write(pid, address, content)


def _demand(result: int, purpose: str) -> None:
    if result:
        raise PyrrError(f"cannot {purpose} in the replayed process: error {result}")
