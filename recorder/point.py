"""Where a task is left amid native code (native/engine/point.h): at an instruction that replay can put a detour in."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress

import capstone
from capstone import x86

from .. import _engine, checksum
from ..light import NamedTuple
from ..registers import LAYOUT, NAMES, unpack
from .entropy import instruction_over
from .spin import memory_of

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import procfs
    from .spin import Range, Read

_LONGEST_INSTRUCTION = 15
_JUMP_BYTES = 5
_LOWEST_FOR_FOUR = 1 << 30  # a jump over an instruction of four bytes leads 870 MB down
_FAR, _FARTHEST = 96, 256  # instructions: to find a place that is not met often, and one at all
_LONGEST_TURN, _ENOUGH_VISITS = 3000, 64
_PAGE = 4096
_PAGES_AROUND = 4  # on either side: functions whose branches come from afar are hardly ever larger
_SHORT_REACH = 130  # bytes: one displacement byte, and two that the instruction has
_LARGEST_FILE = 1 << 26  # bytes: one that is mapped privately is read whole
_RIP = 8 * NAMES.index("rip")
_PROT_WRITE = 2
_USES = 4  # of an instruction: so often it is looked at what memory it has used
_MOST_KEPT, _LARGEST_KEPT = 128, 8
_BRANCH = re.compile(rb"(?:[\x70-\x7f\xe0-\xe3\xeb](.)|(?:\x0f[\x80-\x8f]|\xe9)(....))", re.DOTALL)
_SHORT_BRANCH = re.compile(rb"[\x70-\x7f\xe0-\xe3\xeb]")
_NEVER = (capstone.CS_GRP_CALL, capstone.CS_GRP_INT, capstone.CS_GRP_IRET, capstone.CS_GRP_BRANCH_RELATIVE)
_UNMOVABLE = ("rep", "f", "pushf", "popf", "sys", "rd", "cpuid", "x", "in", "out", "enter")
"""Beginnings of the names of instructions that stay where they are: those that refer to where they lie, may not be
executed twice, or are answered by the recorder; and of the x87's, which keeps where its last one lay."""
_MOVABLE = ("xor", "xchg", "xadd", "inc", "insert")
"""And of those of them that do not."""


class _Instruction(NamedTuple):
    """Its length; where in it there is a displacement to the instruction pointer, 0 for none, or -1 where it must not
    be executed elsewhere; whether it repeats itself; where it branches to, 0 for nowhere; and all of it, None if it is
    not known."""

    length: int
    displacement: int
    repeats: bool
    target: int
    whole: capstone.CsInsn | None


class _Moved(NamedTuple):
    """The code of the instructions that a jump would overwrite, and how they may be executed elsewhere: lengths and
    displacements (as above) in turn; of the first one alone and none where they may not."""

    code: bytes
    places: list[int]


class Guide:
    """Finds a point for one task that has just executed these instructions: the registers before each."""

    def __init__(self, loop: bytes, read: Read) -> None:
        self._read = read
        self._decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._decoder.detail = True
        self._known: dict[int, _Instruction] = {}
        self._states = [loop[at : at + LAYOUT.size] for at in range(0, len(loop), LAYOUT.size)]
        self._met = Counter[int](map(_rip, self._states))
        self._entered = set[int]()  # not from the instruction before
        self._led_to: dict[int, bool] = {}
        for registers, following in zip(self._states, self._states[1:], strict=False):
            self._note(_rip(registers), _rip(following))

    def lead(self, step: Callable[[], bytes | None]) -> _Moved | None:
        """Leads the task by steps to where it may be left, if possible to where it comes seldom. None if it comes to
        no such place.

        Where it comes by with the same registers again and again, memory alone tells its turns apart: it is led
        through a whole one, to know that memory. If it has others each time, these tell."""
        moved = self._find(step)
        if moved is None:
            return None
        first, place, visits = self._states[-1], self._last, 0
        for _ in range(_LONGEST_TURN):
            if not self._follow(step):
                return None
            if self._last == place:
                visits += 1
                if self._states[-1] == first or visits == _ENOUGH_VISITS:
                    return self._moved_anew(place)
        return self._find(step)

    def _find(self, step: Callable[[], bytes | None]) -> _Moved | None:
        moved = None
        for number in range(_FARTHEST):
            if not self._follow(step):
                return None
            moved = self._moved(self._last)
            if moved and moved.places and (number >= _FAR or self._met[self._last] <= 2):
                break
        return self._moved_anew(self._last)

    def _follow(self, step: Callable[[], bytes | None]) -> bool:
        """One step. False: the task has stopped on the way."""
        registers = step()
        if registers is None:
            return False
        address = _rip(registers)
        self._note(self._last, address)
        self._states.append(registers)
        self._met[address] += 1
        return True

    @property
    def _last(self) -> int:
        return _rip(self._states[-1]) if self._states else 0

    def _note(self, address: int, following: int) -> None:
        if following != address + self._instruction(address).length:
            self._entered.add(following)

    def _moved(self, address: int) -> _Moved | None:
        """None: a task cannot be left there."""
        if self._instruction(address).repeats:
            return None  # amid its repetitions it is not met again
        moved, at, led_to = list[int](), address, set[int]()
        inner = set[int]()
        while at < address + _JUMP_BYTES:
            length, displacement, _, target, _ = self._instruction(at)
            if displacement < 0 or (at > address and (at in self._entered or self._is_led_to(at))):
                return self._unmoved(address)
            moved += [length, displacement]
            led_to.add(target)
            inner.add(at)
            at += length
        far = address < _LOWEST_FOR_FOUR and address + _JUMP_BYTES - 1 in inner
        if far or led_to & set(range(address + 1, address + _JUMP_BYTES)) - inner:
            return self._unmoved(address)
        return _Moved(self._read(address, at - address), moved)

    def _is_led_to(self, address: int) -> bool:
        """Whether a branch around it may lead there: a jump that lies over it would be met there each time."""
        if address not in self._led_to:
            base, code = self._around(address)
            here = address - base
            self._led_to[address] = bool(_engine.targets(code, base, address.to_bytes(8, "little"))[0]) or any(
                match.start() + 2 + (code[match.start() + 1] ^ 0x80) - 0x80 == here
                and (over := instruction_over(self._decoder, code, match.start())) is not None
                and over[1] == match.start() + 2
                for match in _SHORT_BRANCH.finditer(
                    code, max(0, here - _SHORT_REACH), min(here + _SHORT_REACH, len(code) - 1)
                )
            )
        return self._led_to[address]

    def _around(self, address: int) -> tuple[int, bytes]:
        """The code around an address, as far as it can be read, and where it begins."""
        first = page = address // _PAGE * _PAGE
        code = self._read(page, _PAGE)
        while first > page - _PAGES_AROUND * _PAGE and len(below := self._read(first - _PAGE, _PAGE)) == _PAGE:
            code = below + code
            first -= _PAGE
        if len(code) == page - first + _PAGE:
            code += self._read(page + _PAGE, _PAGES_AROUND * _PAGE)
        return first, code

    def _moved_anew(self, address: int) -> _Moved | None:
        """The program may have written other code there since it was decoded."""
        for at in range(address, address + _JUMP_BYTES):
            self._known.pop(at, None)
        return self._moved(address)

    def _unmoved(self, address: int) -> _Moved:
        return _Moved(self._read(address, self._instruction(address).length or 1), [])

    def _instruction(self, address: int) -> _Instruction:
        if address not in self._known:
            self._known[address] = self._decoded(address)
        return self._known[address]

    def _decoded(self, address: int) -> _Instruction:
        instruction = next(self._decoder.disasm(self._read(address, _LONGEST_INSTRUCTION), address, 1), None)
        if instruction is None:
            return _Instruction(0, -1, False, 0, None)
        size, name = instruction.size, instruction.mnemonic
        # glibc jumps over the prefix where there is one thread only.
        stays = name.startswith(("lock", *_UNMOVABLE)) and not name.startswith(_MOVABLE)
        if match := _BRANCH.fullmatch(instruction.bytes):
            return _Instruction(
                size, match.start(match.lastindex or 0), False, instruction.operands[0].imm, instruction
            )
        if stays or any(instruction.group(group) for group in _NEVER):
            return _Instruction(size, -1, name.startswith("rep"), 0, instruction)
        relative = any(
            operand.type == x86.X86_OP_MEM and operand.mem.base in (x86.X86_REG_RIP, x86.X86_REG_EIP)
            for operand in instruction.operands
        )
        displacement = (instruction.disp_offset if instruction.disp_size == 4 else -1) if relative else 0
        return _Instruction(size, displacement, False, 0, instruction)

    def near(self) -> list[Range]:
        """Memory that the last instructions have used: first what they have written, and the latest of it."""
        written, read = list[tuple[int, int]](), list[tuple[int, int]]()
        looked_at = Counter[int]()
        for registers in reversed(self._states):
            address = _rip(registers)
            looked_at[address] += 1
            if looked_at[address] > _USES:
                continue
            instruction = self._instruction(address).whole
            if instruction is None or instruction.mnemonic.startswith("rep"):
                continue
            with suppress(KeyError):  # indexed by a vector
                reads, writes, _ = memory_of(instruction, instruction.mnemonic.removeprefix("lock "), unpack(registers))
                written += writes
                read += reads
        parts = [(address, min(size, _LARGEST_KEPT)) for address, size in (*written, *read) if size > 0]
        return list(dict.fromkeys(parts))[:_MOST_KEPT]

    @property
    def address(self) -> int:
        """Of the instruction to which it has been led."""
        return self._last


def _rip(registers: bytes) -> int:
    return int.from_bytes(registers[_RIP : _RIP + 8], "little")


def spans(task: int, maps: list[procfs.Mapping]) -> list[tuple[int, int, bool]]:
    """All that a task can write and that is compared, the stack that it is on first: but for memory that is shared,
    into which calls of other processes may write, and large files. What is dead of a stack is part of it: functions
    leave gaps in their frames, where it stays."""
    own = [mapping for mapping in maps if not mapping.shared]
    found = [span for span in checksum.spans(own, merged=True) if span[2] or span[1] - span[0] <= _LARGEST_FILE]
    stack = unpack(_engine.registers(task))["rsp"]
    return sorted(found, key=lambda span: not span[0] <= stack < span[1])


def contents(parts: list[Range], read: Read, maps: list[procfs.Mapping], pending: list[Range]) -> list[object]:
    """Addresses and contents of parts of memory, but for what others may write at this moment, or cannot be read."""
    found = list[object]()
    for address, size in parts:
        shared = any(mapping.shared and mapping.start <= address < mapping.end for mapping in maps)
        if shared or any(start < address + size and address < start + length for start, length in pending):
            continue
        with suppress(OSError):
            found += [address, read(address, size)]
    return found


def protection(address: int, size: int, maps: list[procfs.Mapping]) -> int | None:
    """Of the memory of some code, if the program can write there, else 0. None where the code cannot be overwritten in
    one process alone."""
    around = next((mapping for mapping in maps if mapping.start <= address and address + size <= mapping.end), None)
    if around is None or around.shared:
        return None
    return around.prot if around.prot & _PROT_WRITE else 0
