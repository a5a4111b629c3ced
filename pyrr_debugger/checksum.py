"""Checksums of all writable memory, by page: what `pyrr verify` compares (native/engine/checksum.h)."""

from __future__ import annotations

import os
import stat
import struct

from . import _engine, procfs, registers, snapshot
from .light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator

Range = tuple[int, int, bool, bytes]
"""Start, end, whether untouched pages count as zero, and the sums of the pages that are not zero."""

_PAGE = struct.Struct("<4Q")  # address, hash, sum, weighted sum: struct page_sum
_WORDS = 512
_RED_ZONE = 128
_PAGE_BYTES = 4096
_LARGE = 1 << 26
"""From here on a shared mapping is read only where its file has data."""
_WRITE = 2
_MASK = (1 << 64) - 1
_NOT_MEMORY = ("[vvar", "[vsyscall]", "[vdso]")


def of_task(tid: int, maps: list[procfs.Mapping], merged: bool = False) -> list[Range]:
    """Checksums of everything that a stopped task with these mappings can write, but for the dead part of its stack.
    Raises OSError where it cannot be read.

    What lies below the red zone of the stack pointer belongs to nobody (System V ABI, 3.2.2). Dead parts of other
    stacks are compared.

    With `merged`, mappings that follow on each other are one: how the kernel divides memory depends on when the process
    was forked (is_mergeable_anon_vma, mm/vma.c).
    """
    live = registers.unpack(_engine.registers(tid))["rsp"] - _RED_ZONE
    ranges = [(live if start < live < end else start, end, sparse) for start, end, sparse in spans(maps, merged)]
    return [(s, e, sparse, _sums(tid, s, e, sparse)) for s, e, sparse in ranges]


def spans(maps: list[procfs.Mapping], merged: bool = False) -> list[tuple[int, int, bool]]:
    """Everything that a task with these mappings can write, dead parts of stacks too, and whether pages that were
    never touched count as zero."""
    spans: list[tuple[int, int, bool]] = []
    for mapping in maps:
        if mapping.prot & _WRITE and not mapping.name.startswith(_NOT_MEMORY) and not snapshot.is_agent(mapping):
            sparse, start = mapping.inode == 0 and not mapping.shared, mapping.start
            if merged and spans and spans[-1][1:] == (start, sparse):
                start = spans.pop()[0]
            spans.append((start, mapping.end, sparse))
    return spans


def again(pid: int, ranges: tuple[Range, ...], memory: tuple[int, int] = (-1, 0)) -> list[Range]:
    """The same ranges of a replayed process. `memory` is the file of shared memory: its descriptor and its inode.
    A damaged trace may name terabytes that are not there."""
    return [(s, e, sparse, _sums(pid, s, e, sparse, memory)) for s, e, sparse, _ in ranges]


def _sums(pid: int, start: int, end: int, sparse: bool, memory: tuple[int, int] = (-1, 0)) -> bytes:
    if sparse:
        return _engine.checksum(pid, start, end, sparse)
    return b"".join(_engine.checksum(pid, low, high, False) for low, high in filled(pid, start, end, memory))


def filled(pid: int, start: int, end: int, memory: tuple[int, int] = (-1, 0)) -> list[tuple[int, int]]:
    """The parts of memory that may be other than zero: of what is large and shared, those that its file has. `memory`
    as above."""
    if end - start <= _LARGE:
        return [(start, end)]
    parts: list[tuple[int, int]] = []
    for mapping in procfs.read_maps(pid):
        low, high = max(start, mapping.start), min(end, mapping.end)
        if low < high:
            parts += _filled(pid, mapping, low, high, memory)
    return parts


def _filled(
    pid: int, mapping: procfs.Mapping, low: int, high: int, memory: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Where a part of a mapping may be other than zero. To read a hole of a file in memory fills it: 100 GB of nothing
    would be more than the machine has."""
    file = _open(pid, mapping, memory) if mapping.shared else -1
    if file < 0:
        yield low, high
        return
    try:
        there = mapping.offset - mapping.start
        while low < high:
            try:
                start = os.lseek(file, low + there, os.SEEK_DATA)
                end = os.lseek(file, start, os.SEEK_HOLE)
            except OSError:  # ENXIO: no more data
                return
            start, end = (
                start // _PAGE_BYTES * _PAGE_BYTES - there,
                -(-end // _PAGE_BYTES) * _PAGE_BYTES - there,
            )
            if start < high:
                yield max(low, start), min(high, end)
            low = max(low + _PAGE_BYTES, end)
    finally:
        os.close(file)


def _open(pid: int, mapping: procfs.Mapping, memory: tuple[int, int]) -> int:
    """The file of a mapping; -1 where it cannot be had."""
    if memory[0] >= 0 and mapping.inode == memory[1]:
        return os.dup(memory[0])
    # The first needs a privilege; the second may be another file by now. To open a device may do something.
    for name in (f"map_files/{mapping.start:x}-{mapping.end:x}", f"root{mapping.name}"):
        try:
            status = os.stat(path := f"/proc/{pid}/{name}")
            if status.st_ino == mapping.inode and stat.S_ISREG(status.st_mode):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
    return -1


class Difference(NamedTuple):
    """A page whose content is not the recorded one. `word` is the address of the one word that differs, with
    its recorded and replayed values; None where more than one does."""

    page: int
    word: int | None = None
    recorded: int = 0
    replayed: int = 0

    def __str__(self) -> str:
        if self.word is None:
            return f"page {self.page:#x}: more than one word differs"
        return f"page {self.page:#x}, word {self.word:#x}: recorded {self.recorded:#x}, replayed {self.replayed:#x}"


def pages(sums: bytes) -> dict[int, list[int]]:
    """The sums of a range by the addresses of its pages."""
    return {address: of_page for address, *of_page in _PAGE.iter_unpack(sums)}


def differences(pid: int, recorded: tuple[Range, ...], replayed: list[Range]) -> Iterator[Difference]:
    """The pages that differ between a recording and its replay, by address."""
    for (start, end, _, old), (_, _, _, new) in zip(recorded, replayed, strict=True):
        if old == new:
            continue
        if len(old) % _PAGE.size:
            raise ValueError("page sums of an impossible size")
        before, after = pages(old), pages(new)
        for page in sorted(before.keys() | after.keys()):
            if before.get(page) != after.get(page) and start - _PAGE_BYTES < page < end:
                yield _locate(pid, page, before.get(page, [0, 0, 0]), after.get(page, [0, 0, 0]))


def _locate(pid: int, page: int, old: list[int], new: list[int]) -> Difference:
    """If one word differs by d, the sums differ by d and the weighted sums by (index + 1) * d, modulo 2^64."""
    by, weighted = (new[1] - old[1]) & _MASK, (new[2] - old[2]) & _MASK
    found = [i for i in range(_WORDS) if by and ((i + 1) * by) & _MASK == weighted]
    if len(found) != 1:
        return Difference(page)
    word = page + 8 * found[0]
    present = int.from_bytes(_engine.read(pid, word, 8), "little")
    return Difference(page, word, (present - by) & _MASK, present)
