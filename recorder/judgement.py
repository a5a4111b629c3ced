"""Which `syscall` instructions of an ELF file can be overwritten with a jump, and which bytes around them.

A jump takes five bytes, a `syscall` two: neighbours move with it into the agent's stub. That is right only where the
instructions are certain to be instructions, do the same elsewhere, and nobody jumps between them. To reject a place
costs time in the recorded program, to accept a wrong one breaks it; so each search here that takes bytes for what they
may not be does it to the side of rejecting.

Who could jump to an address in a region:
- A branch in the same function, or near it: those functions are decoded from beginning to end. Where none is described,
  all bytes count that may be a short branch.
- A branch from afar, or code that takes the address (`lea`): all places in the code are looked at that could, by
  their opcode and displacement, be such an instruction.
- Whoever has the address from memory: a function pointer, a symbol, a table of absolute addresses, the address in a
  relocation. Compilers and linkers align them: all aligned words of the file are looked at. A program that does not
  lie at a random address may also have it as an immediate of four bytes, at any place.
- A jump table of distances (`switch`). They count from the table itself, whose address the code takes: all that it
  may take are taken for tables. Tables that count from a label in the code (glibc's vfprintf) are not found so: in a
  function that jumps to computed addresses no site is accepted, whatever the tables say.
- The unwinder: landing pads are read from .gcc_except_table.
- A handler that compares where a signal came (cancellation in musl and glibc 2.41): it takes the address, as above.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import capstone
from capstone import x86

from .. import _engine
from .entropy import beginning, instruction_over
from .functions import Function, Functions, Image
from .sites import LONGEST_REGION, Site

_PF_X = 1
_ET_EXEC = 2
_SHT_PROGBITS, _SHF_EXECINSTR = 1, 4
_SYSCALL = b"\x0f\x05"
_JUMP_BYTES = 5
_LONGEST_INSTRUCTION = 15
_MOST_BEFORE = 3  # instructions
_ADDRESS_MASK = (1 << 64) - 1

# Whose effect depends on registers, flags and memory alone, and who go on with the next instruction.
_MOVABLE = {
    *("mov", "movabs", "movzx", "movsx", "movsxd", "lea", "push", "pop", "leave", "nop", "xchg", "bswap"),
    *("cmp", "test", "add", "sub", "adc", "sbb", "and", "or", "xor", "not", "neg", "inc", "dec", "imul"),
    *("shl", "shr", "sar", "sal", "rol", "ror", "bt", "cbw", "cwde", "cdqe", "cwd", "cdq", "cqo"),
    *("movd", "movq", "movaps", "movups", "movapd", "movupd", "movdqa", "movdqu", "pxor", "xorps"),
}
_CONDITIONAL = re.compile("cmov|set(?!ssbsy)")  # setssbsy is of the shadow stack
_FILLING = ("nop", "int3")
# The kernel and unwinders know the end of a signal handler by these very bytes: mov $15, %eax or %rax.
_SIGRETURN = (b"\xb8\x0f\0\0\0", b"\x48\xc7\xc0\x0f\0\0\0")
# rcx and r11 are what a call changes, and the stub before it.
_NEVER_WRITTEN_BEFORE = {"rcx", "r11", "rsp", "rip"}

_ADDRESS = re.compile("0x[0-9a-f]+")
_SPECIAL = {
    *(x86.X86_REG_CS, x86.X86_REG_DS, x86.X86_REG_ES, x86.X86_REG_FS, x86.X86_REG_GS, x86.X86_REG_SS),
    *range(x86.X86_REG_CR0, x86.X86_REG_CR15 + 1),
    *range(x86.X86_REG_DR0, x86.X86_REG_DR15 + 1),
}
_WHOLE = {
    name: f"r{letters}"
    for letters in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
    for name in (f"r{letters}", f"e{letters}")
} | {name: f"r{number}" for number in range(8, 16) for name in (f"r{number}", f"r{number}d")}
"""The registers, by the names of those that are written whole."""

_SHORT_BRANCH = re.compile(rb"[\x70-\x7f\xe0-\xe3\xeb]")
_NEAR_REACH = 130  # bytes: one displacement byte, and two that the instruction has
# Of decodings that begin at wrong bytes, nearly all are in step after as many bytes.
_IN_STEP = (64, 59, 53)
_SHORT = 512
_LONGEST_TABLE = 1 << 16
# Seconds to look at. The 100,000 tables of librustc_driver.so would have ten thousand times as many entries.
_MOST_ENTRIES = 1 << 22


_Tuple = TypeVar("_Tuple")


class Rejected(NamedTuple):
    """Why a place that looks like a `syscall` is not overwritten."""

    reason: str


MISREAD = Rejected("part of another instruction, or data")
UNCERTAIN = Rejected("what surrounds it cannot be decoded")
SIGRETURN = Rejected("the return from a signal handler")
INDIRECT = Rejected("the function jumps to computed addresses")
NEIGHBOURS = Rejected("its neighbours cannot be moved")
TARGET = Rejected("something jumps, or may jump, between its neighbours")
ENDLESS = Rejected("too much of the file looks like jump tables")


class _EndlessError(Exception):
    """It would take too long to find out where jump tables lead."""


class _Code(NamedTuple):
    """Code from an address on, which is at `offset` in the file."""

    start: int
    offset: int
    content: bytes


class _Instruction(NamedTuple):
    """As capstone's disasm_lite has it."""

    address: int
    size: int
    name: str
    operands: str


class _Region(NamedTuple):
    start: int
    end: int
    before: int
    after: int


class _Candidate(NamedTuple):
    """A `syscall` whose surroundings were decoded: the regions that its neighbours allow, best first."""

    address: int
    regions: list[_Region]


def verdicts(elf: bytes, offset: int, length: int) -> dict[int, Site | Rejected]:
    """What becomes of each occurrence of the bytes of `syscall` in the code of a piece of an ELF file, by its distance
    from the beginning of the piece, in rising order."""
    return _Judge(Image(elf)).judge(offset, length)


class _Judge:
    """Judges the sites of one file. All addresses are the file's virtual ones."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._functions = Functions(image)
        self._decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._details = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._details.detail = True
        self._decoded: dict[int, list[_Instruction] | None] = {}
        self._leads_to: dict[int, set[int] | None] = {}
        # Old linkers put data in the executable segment: the sections tell, where they are known.
        sections = [
            (section.addr, section.addr + section.size)
            for section in image.headers.sections
            if section.kind == _SHT_PROGBITS and section.flags & _SHF_EXECINSTR
        ]
        self._code = [
            _Code(start, offset, image.elf[offset : offset + end - start])
            for segment in image.segments
            if segment.flags & _PF_X
            for start, end in _parts(segment.vaddr, segment.vaddr + segment.filesz, sections)
            for offset in [segment.offset + start - segment.vaddr]
        ]

    def judge(self, offset: int, length: int) -> dict[int, Site | Rejected]:
        found: dict[int, _Candidate | Rejected] = {}
        for base, at, code in self._code:
            distance = at - base - offset  # from an address to a place in the piece
            for hit in _occurrences(code, _SYSCALL):
                if 0 <= base + hit + distance <= length - len(_SYSCALL):
                    found[base + hit + distance] = self._candidate(base, code, hit)
        regions = [r for verdict in found.values() if isinstance(verdict, _Candidate) for r in verdict.regions]
        verdicts: dict[int, Site | Rejected] = {}
        try:
            taken = self._targets(regions)
        except _EndlessError:
            return {place: ENDLESS if isinstance(v, _Candidate) else v for place, v in sorted(found.items())}
        free_from = 0
        for place, verdict in sorted(found.items()):
            if isinstance(verdict, Rejected):
                verdicts[place] = verdict
                continue
            inside = [r for r in verdict.regions if r.before <= place and place + len(_SYSCALL) + r.after <= length]
            region = next((r for r in inside if r.start >= free_from and not _hit(taken, r)), None)
            if region is None:
                verdicts[place] = TARGET
                continue
            free_from = region.end
            verdicts[place] = Site(place, region.before, region.after, self._bytes(region.start, region.end))
        return verdicts

    def _bytes(self, start: int, end: int) -> bytes:
        """Code, cut at the end of its segment."""
        for base, _, code in self._code:
            if base <= start < base + len(code):
                return code[start - base : end - base]
        return b""

    def _candidate(self, base: int, code: bytes, hit: int) -> _Candidate | Rejected:
        address = base + hit
        if code[:hit].endswith(_SIGRETURN) if hit < 8 else code[hit - 8 : hit].endswith(_SIGRETURN):
            return SIGRETURN
        function = self._functions.find(address)
        if function and not self._seems_right(function, address):
            return MISREAD
        instructions = self._decode(function) if function else None
        if instructions is None:
            if beginning(self._decoder, code, hit, len(_SYSCALL), ("syscall",)) != hit:
                return MISREAD
            if function:
                return UNCERTAIN
            preceding: list[_Instruction] = []
        else:
            index = bisect_left(instructions, address, key=itemgetter(0))
            if instructions[index : index + 1] != [_Instruction(address, len(_SYSCALL), "syscall", "")]:
                return MISREAD
            if any(_is_computed_jump(instruction) for instruction in instructions):
                return INDIRECT
            preceding = instructions[max(0, index - _MOST_BEFORE) : index]
        regions = self._regions(address, preceding)
        return _Candidate(address, regions) if regions else NEIGHBOURS

    def _seems_right(self, function: Function, address: int) -> bool:
        """Whether it is worth it to decode a function for a `syscall` in it: most are seen to be none from nearby."""
        if address - function.start <= _SHORT:
            return True
        end = address + len(_SYSCALL)
        return any(
            last is not None and last[0] == address and last[2] == "syscall"
            for distance in _IN_STEP
            for last in [_last(self._decoder.disasm_lite(self._bytes(address - distance, end), address - distance))]
        )

    def _decode(self, function: Function) -> list[_Instruction] | None:
        """All instructions of a function, or None if its bytes are not instructions one after the other."""
        if function.start not in self._decoded:
            code = self._bytes(function.start, function.end)
            instructions = list(map(_Instruction._make, self._decoder.disasm_lite(code, function.start)))
            whole = instructions and instructions[-1].address + instructions[-1].size == function.end
            self._decoded[function.start] = instructions if whole else None
        return self._decoded[function.start]

    def _regions(self, address: int, preceding: list[_Instruction]) -> list[_Region]:
        """The regions that a `syscall` may be moved with: without what precedes it first."""
        regions = []
        tail = list(self._tail(address + len(_SYSCALL), address + LONGEST_REGION))
        starts = [address, *(self._heads(preceding, address))]
        for start in starts:
            for end in [address + len(_SYSCALL), *tail]:
                if _JUMP_BYTES <= end - start <= LONGEST_REGION:
                    regions.append(_Region(start, end, address - start, end - address - len(_SYSCALL)))
                    break
        return regions

    def _tail(self, address: int, limit: int) -> Iterator[int]:
        """Where the instructions end, one after the other, that may be moved from behind a `syscall`."""
        returned = False
        for instruction in self._details.disasm(self._bytes(address, limit + _LONGEST_INSTRUCTION), address):
            name = instruction.mnemonic
            if returned or name == "ret":
                # What comes behind a return is never executed: only whether it is filling counts.
                if returned and name not in _FILLING:
                    return
                returned = True
            elif not _is_movable(instruction):
                return
            yield instruction.address + instruction.size

    def _heads(self, preceding: list[_Instruction], address: int) -> Iterator[int]:
        """Where the instructions begin, from the last to the first, that may be moved from before a `syscall`."""
        written: set[str] = set()
        needed: set[str] = set()
        for lite in reversed(preceding):
            if lite.address + lite.size != address:
                return
            address = lite.address
            instruction = next(self._details.disasm(self._bytes(address, address + lite.size), address, 1))
            effect = _effect(instruction)
            if effect is None:
                return
            reads, writes = effect
            # Executed once more, all must read what they read the first time.
            needed = needed - writes | reads
            written |= writes
            if written & (_NEVER_WRITTEN_BEFORE | needed):
                return
            yield address

    def _targets(self, regions: list[_Region]) -> set[int]:
        """The addresses within regions that something jumps or may jump to."""
        inner = {address for region in regions for address in range(region.start + 1, region.end)}
        if not inner:
            return set()
        found = self._words(inner) | self._far(inner)
        for region in regions:
            function = self._functions.following(region.start)
            if function is not None and function < region.end:
                found.add(function)
            found |= self._near(region)
        return found

    def _words(self, inner: set[int]) -> set[int]:
        """Those of some addresses that are in the file as words."""
        elf = self._image.elf
        found = _set(_engine.words(elf, _packed(inner)))
        if self._image.headers.kind == _ET_EXEC:
            # In code anywhere. By the upper halves, which are few: that is quicker than to look at every four bytes.
            for high in {address >> 16 for address in inner if address < 1 << 32}:
                half = high.to_bytes(2, "little")
                places = [(elf, at) for at in _occurrences(elf, half) if at % 4 == 2]
                places += [(code, at) for _, _, code in self._code for at in _occurrences(code, half)]
                found.update(high << 16 | int.from_bytes(data[at - 2 : at], "little") for data, at in places)
        return found & inner

    def _far(self, inner: set[int]) -> set[int]:
        """Those of some addresses that instructions with a displacement of four bytes may name, and jump tables."""
        wanted = _packed(inner)
        found: set[int] = set()
        tables: set[int] = set()
        for base, _, code in self._code:
            named, taken = _engine.targets(code, base, wanted)
            found |= _set(named)
            tables |= _set(taken)
        addresses = _packed(tables)
        lowest, highest = self._code[0][0], max(base + len(code) for base, _, code in self._code)
        for segment in self._image.segments:
            first = -segment.vaddr % 4
            words = self._image.elf[segment.offset + first : segment.offset + segment.filesz]
            entries = _engine.entries(
                *(words, segment.vaddr + first, addresses, lowest, highest, _LONGEST_TABLE, _MOST_ENTRIES, wanted)
            )
            if entries is None:
                raise _EndlessError
            found |= _set(entries)
        return found

    def _near(self, region: _Region) -> set[int]:
        """Where the code goes from around a region, its own function above all."""
        found: set[int] = set()
        lowest = max(base for base, _, _ in self._code if base <= region.start)
        at, end = max(lowest, region.start - _NEAR_REACH), region.end + _NEAR_REACH
        while at < end:
            function = self._functions.find(at)
            if function:
                following = function.end
                branches = self._branches(function)
            else:
                following = self._functions.following(at) or end
                branches = None
            if branches is None:
                branches = self._short_branches(at, min(following, end), region)
            found |= branches
            at = following
        return found

    def _short_branches(self, start: int, end: int, region: _Region) -> set[int]:
        """Where in a region short branches lead that may be among bytes that nobody describes."""
        found = set()
        base, _, code = next(code for code in reversed(self._code) if code.start <= start)
        for match in _SHORT_BRANCH.finditer(code, start - base, min(end - base, len(code) - 1)):
            at = match.start()
            target = base + at + 2 + (code[at + 1] ^ 0x80) - 0x80
            if region.start < target < region.end:
                over = instruction_over(self._decoder, code, at)
                if over is None or (over[1] == at + 2 and over[2].startswith(("j", "loop", "bnd", "notrack"))):
                    found.add(target)
        return found

    def _branches(self, function: Function) -> set[int] | None:
        """Where a function goes, or is entered by the unwinder; None if its bytes are no instructions."""
        if function.start not in self._leads_to:
            instructions = self._decode(function)
            found: set[int] | None = None
            if instructions is not None:
                found = {int(i.operands, 16) for i in instructions if _ADDRESS.fullmatch(i.operands)}
                found.update(function.landing_pads)
            self._leads_to[function.start] = found
        return self._leads_to[function.start]


def _parts(start: int, end: int, sections: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What sections there are of a range, in order; all of it if none are known."""
    cut = [(max(start, low), min(end, high)) for low, high in sections or [(start, end)]]
    return sorted((low, high) for low, high in cut if low < high)


def _occurrences(code: bytes, pattern: bytes) -> Iterator[int]:
    at = code.find(pattern)
    while at >= 0:
        yield at
        at = code.find(pattern, at + 1)


def _packed(addresses: set[int]) -> bytes:
    """Addresses as the engine takes them: 64 bits each, sorted."""
    return struct.pack(f"<{len(addresses)}Q", *sorted(address & _ADDRESS_MASK for address in addresses))


def _set(packed: bytes) -> set[int]:
    return set(memoryview(packed).cast("Q"))


def _hit(taken: set[int], region: _Region) -> bool:
    return any(address in taken for address in range(region.start + 1, region.end))


def _last(items: Iterable[_Tuple]) -> _Tuple | None:
    return next(iter(deque(items, maxlen=1)), None)


def _is_computed_jump(instruction: _Instruction) -> bool:
    # One through the global offset table leaves the function.
    name, operands = instruction.name, instruction.operands
    return name.endswith("jmp") and not operands.startswith("0x") and "[rip" not in operands


def _is_movable(instruction: Any) -> bool:
    name = instruction.mnemonic
    if instruction.bytes == b"\0\0":
        return False  # these are data
    return (name in _MOVABLE or _CONDITIONAL.match(name) is not None) and all(map(_is_free, instruction.operands))


def _is_free(operand: Any) -> bool:
    """Whether an operand is the same anywhere, and none of the processor's special registers."""
    if operand.type == x86.X86_OP_MEM:
        # %gs is the agent's.
        return operand.mem.base not in (x86.X86_REG_RIP, x86.X86_REG_EIP) and operand.mem.segment != x86.X86_REG_GS
    return operand.type == x86.X86_OP_IMM or operand.reg not in _SPECIAL


def _effect(instruction: Any) -> tuple[set[str], set[str]] | None:
    """The registers that an instruction reads and writes, if it does nothing else and is quite harmless."""
    name, operands = instruction.mnemonic, instruction.operands
    if name == "nop":
        return set(), set()
    if len(operands) != 2 or operands[0].type != x86.X86_OP_REG or not all(map(_is_free, operands)):
        return None
    target, source = operands
    written = {_WHOLE.get(instruction.reg_name(target.reg), "")}
    if "" in written:
        return None
    if source.type == x86.X86_OP_IMM:
        return (set(), written) if name in ("mov", "movabs") else None
    if source.type == x86.X86_OP_MEM:
        registers = [r for r in (source.mem.base, source.mem.index) if r]
        if name != "lea":
            return None
    elif name in ("xor", "sub") and target.reg == source.reg:
        registers = []
    elif name in ("mov", "movzx", "movsx", "movsxd"):
        registers = [source.reg]
    else:
        return None
    reads = {_WHOLE.get(instruction.reg_name(register), "") for register in registers}
    return None if "" in reads else (reads, written)
