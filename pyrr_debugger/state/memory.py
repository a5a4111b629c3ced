"""Address spaces: what calls make of them."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from dataclasses import replace

from ..trace_format import FilePiece
from .call import Call
from .model import File, Mapping, MemFd, Memory, OpenFile
from .world import World, handles

_PAGE = mmap.PAGESIZE
_SHARED_TYPES = (1, 3)
_MAP_ANONYMOUS, _MAP_GROWSDOWN, _MAP_LOCKED = 0x20, 0x100, 0x2000
_MREMAP_DONTUNMAP = 4
_PROT_MASK = 7
_LASTING = {10: (10, True), 11: (10, False), 18: (18, True), 19: (18, False), 16: (16, True), 17: (16, False)}
"""Advice that a mapping keeps (DONTFORK, WIPEONFORK, DONTDUMP), by the call that sets or takes it."""


def pages(length: int) -> int:
    """A length in whole pages."""
    return -(-length // _PAGE) * _PAGE


def remove(memory: Memory, start: int, end: int) -> list[Mapping]:
    """Takes a range out of an address space: what was mapped there."""
    kept: list[Mapping] = []
    removed: list[Mapping] = []
    for mapping in memory.mappings:
        if mapping.end <= start or mapping.start >= end:
            kept.append(mapping)
            continue
        if mapping.start < start:
            kept.append(part(mapping, mapping.start, start))
        removed.append(part(mapping, max(mapping.start, start), min(mapping.end, end)))
        if mapping.end > end:
            kept.append(part(mapping, end, mapping.end))
    memory.mappings = kept
    return removed


def part(mapping: Mapping, start: int, end: int) -> Mapping:
    """A mapping as far as it lies between two addresses."""
    skipped = start - mapping.start
    piece = mapping.piece
    if piece is not None:
        left = max(0, piece.length - skipped)
        piece = piece._replace(offset=piece.offset + min(skipped, piece.length), length=min(left, end - start))
    offset = mapping.offset + skipped if mapping.file else 0
    return replace(mapping, start=start, end=end, offset=offset, piece=piece)


def add(memory: Memory, mapping: Mapping) -> None:
    """Maps, in the place of what is there."""
    remove(memory, mapping.start, mapping.end)
    memory.mappings.insert(bisect_left([m.start for m in memory.mappings], mapping.start), mapping)


def joined(mappings: list[Mapping]) -> list[Mapping]:
    """The mappings, neighbours that are alike as one."""
    result: list[Mapping] = []
    for mapping in mappings:
        last = result[-1] if result else None
        if last is not None and last.end == mapping.start and _alike(last, mapping):
            piece = last.piece
            if piece and mapping.piece:
                piece = piece._replace(length=mapping.start - last.start + mapping.piece.length)
            result[-1] = replace(last, end=mapping.end, piece=piece)
        else:
            result.append(mapping)
    return result


def _alike(one: Mapping, other: Mapping) -> bool:
    """Whether two mappings, the second right behind the first, are parts of one."""
    same = all(
        getattr(one, name) == getattr(other, name)
        for name in ("prot", "shared", "kind", "name", "locked", "advice", "group")
    )
    if not same or one.file is not other.file:
        return False
    if one.file is not None and one.offset + one.end - one.start != other.offset:
        return False
    if (one.piece is None) != (other.piece is None):
        return False
    if one.piece is not None and other.piece is not None:
        follows = one.piece.offset + one.end - one.start == other.piece.offset
        return one.piece.hash == other.piece.hash and follows
    return True


def _change(memory: Memory, start: int, end: int, **fields: object) -> None:
    for mapping in remove(memory, start, end):
        add(memory, replace(mapping, **fields))  # type: ignore[arg-type]


@handles("mmap")
def _mmap(world: World, call: Call) -> None:
    _, length, prot, flags, _, offset = call.args
    start, end = call.result, call.result + pages(length)
    shared = flags & 0xF in _SHARED_TYPES
    mapping = Mapping(start, end, prot & _PROT_MASK, shared, locked=bool(flags & _MAP_LOCKED))
    if flags & _MAP_ANONYMOUS:
        if shared:
            world.shared_groups += 1
            mapping.group = world.shared_groups
        if flags & _MAP_GROWSDOWN:
            mapping.kind = "stack"
    else:
        description = call.description(4)
        pieces = [piece for address, piece in call.event.pieces if address == start]
        mapping.offset = offset
        mapping.piece = pieces[0] if len(call.event.pieces) == 1 and pieces else None
        if isinstance(description, OpenFile) and pieces:
            world.find_out(description.file, pieces[0].name)
        if isinstance(description, (OpenFile, MemFd)):
            mapping.kind, mapping.file, mapping.name = "file", description.file, description.file.path
            if shared and prot & 2:
                description.file.mapped = True
        elif pieces:
            mapping.kind, mapping.file = "file", world.file_at(pieces[0].name)
            mapping.name = pieces[0].name
        else:
            mapping.kind = "device"
            mapping.name = world.path_of(call.process, call.signed(4)) or "a device"
        for _, piece in call.event.pieces:
            remember(mapping.file, piece)
    add(call.process.memory, mapping)


def remember(file: File | None, piece: FilePiece) -> None:
    """Notes that the trace holds a part of a file."""
    if file is not None and not any(p.hash == piece.hash and p.start == piece.start for p in file.stored):
        file.stored.append(piece)


@handles("munmap")
def _munmap(world: World, call: Call) -> None:
    remove(call.process.memory, call.args[0], call.args[0] + pages(call.args[1]))


@handles("mprotect", "pkey_mprotect")
def _mprotect(world: World, call: Call) -> None:
    start = call.args[0]
    _change(call.process.memory, start, start + pages(call.args[1]), prot=call.args[2] & _PROT_MASK)


@handles("mremap")
def _mremap(world: World, call: Call) -> None:
    old, old_size, new_size, flags = call.args[0], pages(call.args[1]), pages(call.args[2]), call.args[3]
    memory = call.process.memory
    there = [m for m in memory.mappings if m.start <= old < m.end]
    if not there:
        return
    source = part(there[0], old, min(there[0].end, old + max(old_size, _PAGE)))
    if old_size and not flags & _MREMAP_DONTUNMAP:
        remove(memory, old, old + old_size)
    piece = source.piece
    add(memory, replace(source, start=call.result, end=call.result + new_size, piece=piece))


@handles("brk")
def _brk(world: World, call: Call) -> None:
    memory = call.process.memory
    if not memory.brk_start:
        memory.brk_start = call.result
        memory.brk = call.result
        return
    old, new = pages(memory.brk), pages(call.result)
    if new > old:
        add(memory, Mapping(old, new, 3, False, "heap", "[heap]"))
    elif new < old:
        remove(memory, new, old)
    memory.brk = call.result


@handles("MADV_DONTFORK", "MADV_DOFORK", "MADV_WIPEONFORK", "MADV_KEEPONFORK", "MADV_DONTDUMP", "MADV_DODUMP")
def _advise(world: World, call: Call) -> None:
    kind, wanted = _LASTING[call.signed(2)]
    memory, start = call.process.memory, call.args[0]
    for mapping in remove(memory, start, start + pages(call.args[1])):
        advice = mapping.advice | {kind} if wanted else mapping.advice - {kind}
        add(memory, replace(mapping, advice=advice))


@handles("mlock", "mlock2", "munlock")
def _lock(world: World, call: Call) -> None:
    start = call.args[0] // _PAGE * _PAGE
    end = pages(call.args[0] + call.args[1])
    _change(call.process.memory, start, end, locked=call.event.nr != 150)


@handles("mlockall", "munlockall")
def _lock_all(world: World, call: Call) -> None:
    if call.event.nr == 152 or call.args[0] & 1:
        for mapping in call.process.memory.mappings:
            mapping.locked = call.event.nr == 151


@handles("PR_SET_VMA")
def _name(world: World, call: Call) -> None:
    """The name of anonymous memory is for people only."""


@handles("shmat")
def _attach(world: World, call: Call) -> None:
    size = world.segments.get(call.signed(0), 0)
    call.process.shared_memory[call.result] = call.signed(0)
    end = call.result + pages(size or _PAGE)
    prot = 1 if call.args[2] & 0o10000 else 3
    add(call.process.memory, Mapping(call.result, end, prot, True, "sysv", f"/SYSV{call.signed(0)}"))


@handles("shmdt")
def _detach(world: World, call: Call) -> None:
    call.process.shared_memory.pop(call.args[0], None)
    for mapping in [m for m in call.process.memory.mappings if m.start == call.args[0] and m.kind == "sysv"]:
        remove(call.process.memory, mapping.start, mapping.end)


@handles("shmget")
def _make_segment(world: World, call: Call) -> None:
    if call.args[1]:
        world.segments[call.result] = call.args[1]
    world.ipc[f"System V shared memory {call.result}"] = None


@handles("semget")
def _make_semaphores(world: World, call: Call) -> None:
    world.ipc[f"System V semaphores {call.result}"] = None


@handles("msgget")
def _make_queue(world: World, call: Call) -> None:
    world.ipc[f"System V message queue {call.result}"] = None


@handles("IPC_RMID")
def _remove_object(world: World, call: Call) -> None:
    what = {31: "shared memory", 66: "semaphores", 71: "message queue"}.get(call.event.nr)
    world.ipc.pop(f"System V {what} {call.signed(0)}", None)
