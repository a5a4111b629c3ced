"""The dispatch tables of CPython in an ELF file, with or without symbols.

A CPython that is built with computed gotos goes from one bytecode to the next through a table of 256 code addresses.
That table is known by its form: all opcodes that a version leaves undefined lead to one place, and each of the others
to a place of its own. It is data, relocated when the file is mapped anywhere; where entries are the addresses of
trampolines that count and go on, bytecodes are counted.

Up to 3.10 there is a second table, of the `switch` that the same code begins with: it is gone by while the interpreter
is asked to look at something (a signal that the main thread has not handled yet), and while a trace function is set.
Its words are distances from its beginning, of four bytes; it is known by leading to the same places.

Counting changes the flags. No compiler keeps anything in them across a computed goto, but that is looked at: from every
target of the table all paths must overwrite the flags before they read them.
"""

from __future__ import annotations

import struct
from array import array
from collections import deque
from typing import NamedTuple

import capstone
from capstone import x86

from ..symbols import Elf, Segment, SymbolTable
from . import LONGEST_MOVED, Place
from .opcodes import FUNCTIONS, VERSIONS, Version

_PT_LOAD, _PT_DYNAMIC, _PF_X, _PF_W = 1, 2, 1, 2
_DT_RELA, _DT_RELASZ = 7, 8
_R_X86_64_RELATIVE = 8
_OPCODES = 256
_PAGE = 4096
_SHARED_TARGETS = 4
"""As many defined opcodes may have their code in common: compilers merge what is equal."""
_OTHER_CASES = 24
"""As many cases of the `switch` may begin elsewhere: compilers copy what is short."""
_SAMPLE = "JUMP_ABSOLUTE"
"""An opcode whose case is hardly copied."""

_ALL_FLAGS = frozenset(("CF", "PF", "AF", "ZF", "SF", "OF"))
_LONGEST_PATH = 400
_LONGEST_INSTRUCTION = 15

_READS = {
    getattr(x86, f"X86_EFLAGS_TEST_{flag}"): flag for flag in _ALL_FLAGS if hasattr(x86, f"X86_EFLAGS_TEST_{flag}")
}
_WRITES = {
    getattr(x86, f"X86_EFLAGS_{how}_{flag}"): flag
    for flag in _ALL_FLAGS
    for how in ("MODIFY", "RESET", "SET", "UNDEFINED")
    if hasattr(x86, f"X86_EFLAGS_{how}_{flag}")
}
# Their flags stay as they are where the count is zero.
_MOVABLE = {"push", "sub", "mov", "endbr64"}
_JUMP_BYTES = 5
_SHIFTS = {"shl", "shr", "sar", "sal", "rol", "ror", "rcl", "rcr", "shld", "shrd"}


class Table(NamedTuple):
    """A dispatch table: its version, its address in the file, and the addresses to which it leads, by opcode."""

    version: Version
    address: int
    targets: tuple[int, ...]


class Switch(NamedTuple):
    """The table of a `switch`: its address in the file, and how far from there each opcode leads, from 0 on."""

    address: int
    distances: tuple[int, ...]

    @property
    def targets(self) -> list[int]:
        return [self.address + distance for distance in self.distances]


def dispatch_tables(elf: bytes) -> list[Table]:
    """The tables in an ELF file, by rising address: none in one that is no CPython, or is built another way."""
    headers = Elf.parse(elf)
    loads = [segment for segment in headers.segments if segment.kind == _PT_LOAD]
    code = [(s.vaddr, s.vaddr + s.memsz) for s in loads if s.flags & _PF_X]
    if not code:
        return []
    relocations = _relocations(elf, headers)
    found = {}
    for segment in loads:
        base = -(-segment.vaddr // 8) * 8
        start = segment.offset + base - segment.vaddr
        size = (segment.offset + segment.filesz - start) // 8 * 8
        if size < 8 * _OPCODES or size > len(elf) - start:
            continue
        words = array("Q", elf[start : start + size])
        for place, address in relocations:
            if base <= place < base + size and place % 8 == 0:
                words[(place - base) // 8] = address
        for table in _tables_among(words, base, min(low for low, _ in code), max(high for _, high in code)):
            found[table.address] = table
    return [found[address] for address in sorted(found)]


def ticking_places(elf: bytes, offset: int) -> list[Place]:
    """The places of an ELF file that are to tick, relative to where its byte at `offset` is mapped."""
    base = next((s.vaddr + offset - s.offset for s in Elf.parse(elf).segments if _maps(s, offset)), None)
    if base is None:
        return []
    tables = dispatch_tables(elf)
    if not tables:
        return []
    words = [
        Place(table.address + 8 * number - base, table.targets[number] - base)
        for table in tables
        if leaves_flags_free(elf, table)
        for number in sorted(table.version.ticking.values())
    ]
    entries = [entry for table in tables for entry in _switch_entries(elf, table)]
    return words + [_moved_by(place, base) for place in entries + _functions(elf)]


def _moved_by(place: Place, base: int) -> Place:
    return place._replace(place=place.place - base, target=place.target - base)


def _switch_entries(elf: bytes, table: Table) -> list[Place]:
    switch = switch_of(elf, table)
    if switch is None or not leaves_flags_free(elf, switch):
        return []
    ticking = [number for number in sorted(table.version.ticking.values()) if number < len(switch.distances)]
    return [
        Place(switch.address + 4 * number, switch.targets[number], struct.pack("<i", switch.distances[number]))
        for number in ticking
    ]


def switch_of(elf: bytes, table: Table) -> Switch | None:
    """The table of the `switch` whose cases a dispatch table leads to; None if there is none, or not of that form."""
    defined = [number for number in range(_OPCODES) if number not in table.version.undefined]
    sample = table.version.ticking.get(_SAMPLE)
    if sample is None:
        return None
    for segment in Elf.parse(elf).segments:
        if segment.kind != _PT_LOAD or segment.flags & (_PF_X | _PF_W):
            continue
        base = -(-segment.vaddr // 4) * 4
        content = elf[segment.offset + base - segment.vaddr : segment.offset + segment.filesz]
        words = array("i", content[: len(content) // 4 * 4])
        # The word of an opcode is known up to where its table begins; there the address is added to all.
        wanted = table.targets[sample] + 4 * sample - base
        for at in [at for at, word in enumerate(words) if word == wanted - 4 * at]:
            first = at - sample
            distances = tuple(words[first : first + defined[-1] + 1]) if first >= 0 else ()
            switch = Switch(base + 4 * first, distances)
            if len(distances) <= defined[-1] or switch.targets[0] != table.targets[0]:
                continue
            same = sum(switch.targets[number] == table.targets[number] for number in defined)
            if same >= len(defined) - _OTHER_CASES:
                return switch
    return None


def _functions(elf: bytes) -> list[Place]:
    """Those of `opcodes.FUNCTIONS` that can be made to tick, at their addresses in the file."""
    symbols, code = SymbolTable.from_elf(elf), _Code(elf)
    places = (code.beginning(address) for name in FUNCTIONS if (address := symbols.address(name)) is not None)
    return [place for place in places if place]


def _maps(segment: Segment, offset: int) -> bool:
    """Whether the page at `offset` of the file is mapped with a segment."""
    return segment.kind == _PT_LOAD and segment.offset // _PAGE * _PAGE <= offset < segment.offset + segment.filesz


def _relocations(elf: bytes, headers: Elf) -> list[tuple[int, int]]:
    """Places and the addresses that they hold in a file that lies at its own addresses. The packed relative
    ones (DT_RELR) are not needed: their addresses stand at their places."""
    for dynamic in headers.segments:
        if dynamic.kind != _PT_DYNAMIC:
            continue
        content = elf[dynamic.offset : dynamic.offset + dynamic.filesz // 16 * 16]
        tags = dict(struct.iter_unpack("<QQ", content))
        offset = _offset_of(headers, tags.get(_DT_RELA, 0))
        if offset is None:
            continue
        table = elf[offset : offset + tags.get(_DT_RELASZ, 0)]
        rows = struct.iter_unpack("<QQQ", table[: len(table) // 24 * 24])
        return [(place, addend) for place, info, addend in rows if info == _R_X86_64_RELATIVE]
    return []


def _offset_of(headers: Elf, address: int) -> int | None:
    for segment in headers.segments:
        if segment.kind == _PT_LOAD and segment.vaddr <= address < segment.vaddr + segment.filesz:
            return segment.offset + address - segment.vaddr
    return None


def _tables_among(words: array[int], base: int, low: int, high: int) -> list[Table]:
    """Undefined opcodes stand in rows, which show as rows of equal addresses."""
    gaps = [(version, *version.longest_gap) for version in VERSIONS]
    step = min(last - first for _, first, last in gaps) // 2
    found = []
    end = 0
    for i in range(0, len(words) - step, step):
        target = words[i]
        if i < end or not low <= target < high or words[i + step] != target or words[i + 1] != target:
            continue
        start = end = i
        while start > 0 and words[start - 1] == target:
            start -= 1
        while end < len(words) and words[end] == target:
            end += 1
        for version, first, last in gaps:
            at = start - first
            # Behind the last opcode the same address may follow.
            fits = end - start == last - first + 1 or (last == _OPCODES - 1 and end - start > last - first)
            targets = tuple(words[at : at + _OPCODES]) if fits and at >= 0 else ()
            if _is_table(targets, version, low, high):
                found.append(Table(version, base + 8 * at, targets))
    return found


def _is_table(targets: tuple[int, ...], version: Version, low: int, high: int) -> bool:
    if len(targets) < _OPCODES or not all(low <= target < high for target in targets):
        return False
    undefined = {targets[number] for number in version.undefined}
    defined = [target for number, target in enumerate(targets) if number not in version.undefined]
    return len(undefined) == 1 and not undefined & set(defined) and len(set(defined)) >= len(defined) - _SHARED_TARGETS


def leaves_flags_free(elf: bytes, table: Table | Switch) -> bool:
    """Whether nothing behind a table reads the flags that its dispatch leaves."""
    code = _Code(elf)
    return all(code.overwrites_flags(target) for target in set(table.targets))


class _Code:
    """The machine code of an ELF file, by address."""

    def __init__(self, elf: bytes) -> None:
        self._elf = elf
        self._headers = Elf.parse(elf)
        self._disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._disassembler.detail = True
        self._instructions: dict[int, capstone.CsInsn | None] = {}

    def _instruction(self, address: int) -> capstone.CsInsn | None:
        if address not in self._instructions:
            offset = _offset_of(self._headers, address)
            code = self._elf[offset : offset + _LONGEST_INSTRUCTION] if offset is not None else b""
            self._instructions[address] = next(self._disassembler.disasm(code, address, 1), None)
        return self._instructions[address]

    def beginning(self, function: int) -> Place | None:
        """A function whose first instructions make room for a jump and can be moved; None of others."""
        size, displacement, moved = 0, 0, b""
        while size < _JUMP_BYTES:
            instruction = self._instruction(function + size)
            if instruction is None or displacement or instruction.mnemonic not in _MOVABLE:
                return None
            moved += bytes(instruction.bytes)
            if any(o.type == x86.X86_OP_MEM and o.mem.base == x86.X86_REG_RIP for o in instruction.operands):
                # Counted from the end of the instruction, which must be the last one.
                displacement = size + instruction.disp_offset
                if instruction.disp_offset + 4 != instruction.size:
                    return None
            size += instruction.size
        place = Place(function, function + size, moved, displacement)
        return place if size <= LONGEST_MOVED and self.overwrites_flags(function) else None

    def overwrites_flags(self, start: int) -> bool:
        """Whether all ways from an address overwrite each flag before they read it. Calls and returns leave none to be
        read (System V ABI, 3.2.1); a computed goto leads to a place that is looked at for itself."""
        waiting = deque([(start, _ALL_FLAGS)])
        seen: set[tuple[int, frozenset[str]]] = set()
        while waiting:
            address, live = waiting.popleft()
            if (address, live) in seen:
                continue
            seen.add((address, live))
            instruction = self._instruction(address)
            if instruction is None or len(seen) > _LONGEST_PATH:
                return False
            name = instruction.mnemonic.split()[-1]
            if instruction.group(capstone.CS_GRP_CALL) or instruction.group(capstone.CS_GRP_RET):
                continue
            read, written = _flags_of(instruction)
            if read & live or name.startswith("pushf") or name in ("syscall", "lahf"):
                return False
            if name not in _SHIFTS or _shifts(instruction):
                live -= written
            if not live or instruction.id in (x86.X86_INS_UD2, x86.X86_INS_HLT):
                continue
            if instruction.group(capstone.CS_GRP_JUMP):
                target = instruction.operands[0]
                if target.type == x86.X86_OP_IMM:
                    waiting.append((target.imm, live))
                if instruction.id == x86.X86_INS_JMP:
                    continue
            waiting.append((address + instruction.size, live))
        return True


def _shifts(instruction: capstone.CsInsn) -> bool:
    """Whether a shift certainly shifts: by a constant, or by one."""
    if len(instruction.operands) == 1:
        return True
    count = instruction.operands[-1]
    return bool(count.type == x86.X86_OP_IMM and count.imm)


def _flags_of(instruction: capstone.CsInsn) -> tuple[frozenset[str], frozenset[str]]:
    """The flags that an instruction reads, and those that it overwrites."""
    bits = instruction.eflags
    read = frozenset(flag for bit, flag in _READS.items() if bits & bit)
    return read, frozenset(flag for bit, flag in _WRITES.items() if bits & bit)
