"""The memory of a replayed process, copied into the one that goes live."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .. import _engine, checksum, procfs, snapshot
from . import code
from .process import LiveProcess

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession

_MMAP = 9
_SHARED, _PRIVATE, _FIXED, _ANONYMOUS, _GROWS_DOWN, _NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x100, 0x4000
_RED_ZONE = 128
_PROT_EXEC = 4
_MINUS_ONE = (1 << 64) - 1
_PAGE = 4096
_AT_ONCE = 1 << 20
_LARGEST_STUBS = 1 << 20


class SharedObject(NamedTuple):
    """Memory that processes share, as a descriptor that all of them have inherited."""

    descriptor: int
    filled: set[tuple[int, int]]
    """Parts that hold what they should, by offset."""


class SharedObjects:
    """All of the memory that processes of a program share by mapping."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, int], SharedObject] = {}

    def prepare(self, session: ReplaySession) -> None:
        """Makes a memory file for each, before the processes that inherit it begin."""
        for pid in {session.real(task) for task in session.tasks}:
            for mapping in own_mappings(pid):
                key = mapping.device, mapping.inode
                if not mapping.shared or key in self._objects:
                    continue
                descriptor = os.memfd_create("pyrr", os.MFD_CLOEXEC)
                os.truncate(descriptor, 1 << 62)
                self._objects[key] = SharedObject(descriptor, set())

    @property
    def descriptors(self) -> list[int]:
        return [one.descriptor for one in self._objects.values()]

    def of(self, mapping: procfs.Mapping) -> SharedObject:
        return self._objects[mapping.device, mapping.inode]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._objects.clear()


def own_mappings(pid: int) -> list[procfs.Mapping]:
    """The mappings of a replayed process that belong to its program."""
    return [
        m
        for m in procfs.read_maps(pid)
        if m.start != _engine.GATE_PAGE and not snapshot.is_agent(m) and not m.name.startswith("[vsyscall")
    ]


def copy(session: ReplaySession, task: int, process: LiveProcess, shared: SharedObjects) -> None:
    """Gives a process the memory of the replayed process of a task. Raises OSError."""
    real = session.real(task)
    lowest, _ = session.stack_of(task)
    for mapping in own_mappings(real):
        length = mapping.end - mapping.start
        if mapping.shared:
            part = shared.of(mapping)
            flags = _SHARED | _FIXED | _NORESERVE
            process.call(_MMAP, mapping.start, length, mapping.prot, flags, part.descriptor, mapping.offset)
            if (mapping.offset, length) not in part.filled:
                part.filled.add((mapping.offset, length))
                _fill_shared(session, real, mapping, part.descriptor)
            continue
        flags = _PRIVATE | _FIXED | _ANONYMOUS | _NORESERVE
        if mapping.start == lowest:  # replay maps all that it may become; the kernel lets it grow, by its limit
            mapping = mapping._replace(start=_used_from(session, task, mapping))
            length = mapping.end - mapping.start
            flags |= _GROWS_DOWN
        process.call(_MMAP, mapping.start, length, mapping.prot, flags, _MINUS_ONE, 0)
        # What is mapped from replay's file of stored files is all of it content; else only pages that are there.
        known = [(mapping.start, mapping.end)]
        for start, end in known if mapping.inode else procfs.private_pages(real, (mapping.start, mapping.end))[0]:
            _engine.live_copy(real, process.tid, start, end)


def _used_from(session: ReplaySession, task: int, stack: procfs.Mapping) -> int:
    """The lowest page of a stack that is in use."""
    used = procfs.private_pages(session.real(task), (stack.start, stack.end))[0]
    pointers = [session.registers(one)["rsp"] for one in session.tasks]
    lowest = [pointer - _RED_ZONE for pointer in pointers if stack.start <= pointer < stack.end]
    return min([stack.end - _PAGE, *(start for start, _ in used[:1]), *lowest]) // _PAGE * _PAGE


def in_steps(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The parts of some memory, as much of it as is read at once: where each begins and how long it is."""
    for start in range(low, high, _AT_ONCE):
        yield start, min(_AT_ONCE, high - start)


def _fill_shared(session: ReplaySession, real: int, mapping: procfs.Mapping, descriptor: int) -> None:
    for low, high in checksum.filled(real, mapping.start, mapping.end, session.shared_memory):
        for start, size in in_steps(low, high):
            data = _engine.read(real, start, size)
            if data.strip(b"\0"):
                os.pwrite(descriptor, data, mapping.offset + start - mapping.start)


def clean_code(session: ReplaySession, task: int, process: LiveProcess) -> list[code.Patch]:
    """Takes out what recording has put into the code of a process, but for traps: the patches that it had."""
    found: list[code.Patch] = []
    for mapping in own_mappings(session.real(task)):
        size = mapping.end - mapping.start
        if mapping.prot & _PROT_EXEC and not mapping.inode and not mapping.shared and size <= _LARGEST_STUBS:
            found += code.patches(process.read, mapping.start, mapping.end)
    for patch in found:
        process.write(patch.start, patch.original)
    for address, original in code.uncounted(lambda at, size: session.read(task, at, size)):
        process.write(address, original)
    return found


def traps(session: ReplaySession, task: int, process: LiveProcess) -> Iterator[tuple[int, bytes]]:
    """Where recording has put a trap into code, for random numbers, and what belongs there."""
    executable = [m for m in own_mappings(session.real(task)) if m.prot & _PROT_EXEC and not m.shared]
    for part in session.mapped.get(session.process_of(task), []):
        piece = part.piece
        if piece.shared or not any(m.start <= part.start < m.end for m in executable):
            continue
        content = session.file(piece.hash)[piece.offset : piece.offset + piece.length]
        yield from code.traps(process.read, content, part.start)
