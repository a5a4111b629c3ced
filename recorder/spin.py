"""Whether a loop that comes back to its registers waits for another task, or has its progress in memory.

The recorder has stepped through one turn of it. Decoded with the registers that they ran with, its instructions tell
what memory a turn uses. What the next turn changes of that must not matter: neither where it reads and writes, nor
where it jumps to. Then all turns are the same but for that, and whatever else there is in memory stays as it is.
"""

from __future__ import annotations

import capstone
from capstone import x86

from ..light import NamedTuple
from ..registers import LAYOUT, unpack

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Read = Callable[[int, int], bytes]
    Range = tuple[int, int]

_LONGEST_INSTRUCTION = 15
_BASES = {x86.X86_REG_FS: "fs_base", x86.X86_REG_GS: "gs_base"}
_PUSHES = ("push", "pushfq", "call")
_POPS = ("pop", "popfq", "ret")
_UNUSED = ("lea", "nop", "endbr", "prefetch")
"""Beginnings of the names of instructions that do not use what is an operand of theirs in memory."""
_STORES = ("mov", "set", "pop")
"""And of those that do not read what they write."""
_UNTOLD = ("rep", "enter", "x", "fx", "fn", "fsave", "frstor", "v", "maskmov")
"""And of those that use more memory than their operands tell, or registers that are not looked at."""
_TOLD = ("xor", "xchg", "xadd")
"""Those that begin with x and are no such ones."""
_BITS = ("bt", "bts", "btr", "btc")
_ALL_FLAGS = ("cmp", "test", "add", "sub", "and", "or", "xor")
_REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)))
_PLAIN = frozenset((*_REGISTERS, "rip", "rflags"))
_HALVES = {"eip": "rip", "eflags": "rflags"} | {
    f"{name}d" if name[1:].isdigit() else f"e{name[1:]}": name for name in _REGISTERS
}
_NARROW = {
    **{f"{name}{part}": f"r{name}x" for name in "abcd" for part in "lhx"},
    **{f"{name}{part}": f"r{name}" for name in ("si", "di", "bp", "sp") for part in ("", "l")},
    **{f"r{number}{part}": f"r{number}" for number in range(8, 16) for part in "bw"},
}
_JUMPS = (capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_RET)


class _Step(NamedTuple):
    """An instruction: the memory that it reads and writes, the registers that say where, those that it reads for
    anything else, and those that it writes, of these the ones that it writes as a whole."""

    reads: tuple[Range, ...]
    writes: tuple[Range, ...]
    places: frozenset[str]
    sources: frozenset[str]
    results: frozenset[str]
    whole: frozenset[str]
    jumps: bool


class Turn(NamedTuple):
    """One turn of a loop."""

    steps: tuple[_Step, ...]

    @property
    def written(self) -> list[Range]:
        """Addresses and sizes of the memory that it writes."""
        return list(dict.fromkeys(part for step in self.steps for part in step.writes))

    @property
    def used(self) -> list[Range]:
        """And of that which it reads or writes."""
        return list(dict.fromkeys(part for step in self.steps for part in (*step.reads, *step.writes)))

    def depends_on(self, changed: list[Range]) -> bool:
        """Whether what another turn does depends on memory that turns change, but for what it leaves there."""
        known, registers = {at for part in changed for at in _bytes(part)}, set[str]()
        for step in self.steps * 2:  # what one turn leaves in registers is met by the next
            if step.places & registers:
                return True
            changes = bool(step.sources & registers) or any(at in known for part in step.reads for at in _bytes(part))
            if changes and (step.jumps or any(at not in known for part in step.writes for at in _bytes(part))):
                return True
            registers = registers | step.results if changes else registers - step.whole
        return False


def turn(loop: bytes, read: Read) -> Turn | None:
    """The turn that a task has made; None where not all that it does can be told.

    `loop` has the registers (user_regs_struct) before each instruction, `read` gives the task's memory and raises
    OSError.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    states = [unpack(loop[at : at + LAYOUT.size]) for at in range(0, len(loop), LAYOUT.size)]
    steps = []
    for state, following in zip(states, [*states[1:], *states[:1]], strict=True):
        try:
            code = read(state["rip"], _LONGEST_INSTRUCTION)
        except OSError:
            return None
        instruction = next(decoder.disasm(code, state["rip"], 1), None)
        step = _step(instruction, state, following["rsp"]) if instruction is not None else None
        if step is None:
            return None
        steps.append(step)
    return Turn(tuple(steps))


def without(ranges: Iterable[Range], changed: list[Range]) -> list[Range]:
    """The parts of ranges that lie in no changed one."""
    gone = {at for part in changed for at in _bytes(part)}
    left = sorted({at for part in ranges for at in _bytes(part)} - gone)
    found: list[Range] = []
    for at in left:
        if found and sum(found[-1]) == at:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((at, 1))
    return found


def _bytes(part: Range) -> range:
    return range(part[0], part[0] + part[1])


def _step(instruction: capstone.CsInsn, state: dict[str, int], stack: int) -> _Step | None:
    name = instruction.mnemonic.removeprefix("lock ")
    operands = instruction.operands
    in_memory = bool(operands) and operands[0].type == x86.X86_OP_MEM
    if name.startswith(_UNTOLD) and name not in _TOLD:
        return None
    if name in _BITS and in_memory and operands[1].type == x86.X86_OP_REG:
        return None  # the register tells where, too
    reads, writes, places = memory_of(instruction, name, state)
    if name in _PUSHES:
        writes.append((stack, state["rsp"] - stack))
    if name in _POPS:
        reads.append((state["rsp"], stack - state["rsp"]))
    if name == "leave":
        reads.append((state["rbp"], 8))
        places.add("rbp")
    if stack != state["rsp"]:
        places.add("rsp")
    used, written = ([instruction.reg_name(one) for one in ones] for ones in instruction.regs_access())
    results = frozenset(_whole_name(one) for one in written)
    if not results <= _PLAIN or any(size <= 0 for _, size in (*reads, *writes)):
        return None
    partly = {_NARROW[one] for one in written if one in _NARROW}
    if name not in _ALL_FLAGS:
        partly.add("rflags")
    zeroes = name in ("xor", "sub") and len({one.reg if one.type == x86.X86_OP_REG else None for one in operands}) == 1
    sources = frozenset() if zeroes and not in_memory else frozenset(map(_whole_name, used)) | partly & results
    whole = frozenset() if name.startswith("cmov") else results - partly
    jumps = any(instruction.group(group) for group in _JUMPS)
    return _Step(tuple(reads), tuple(writes), frozenset(places), sources, results, whole, jumps)


def memory_of(
    instruction: capstone.CsInsn, name: str, state: dict[str, int]
) -> tuple[list[Range], list[Range], set[str]]:
    """What the operands of an instruction read and write, and the registers that say where."""
    reads, writes, places = list[tuple[int, int]](), list[tuple[int, int]](), set[str]()
    for place, operand in enumerate(instruction.operands):
        if operand.type != x86.X86_OP_MEM or name.startswith(_UNUSED):
            continue
        part = (_address(instruction, state, operand.mem), operand.size)
        places |= {_whole_name(instruction.reg_name(one)) for one in (operand.mem.base, operand.mem.index) if one}
        # The destination comes first; what is said of the access is not complete.
        is_written = bool(operand.access & capstone.CS_AC_WRITE) or not (place or operand.access & capstone.CS_AC_READ)
        writes += [part] * is_written
        reads += [part] * (not is_written or not name.startswith(_STORES))
    return reads, writes, places


def _whole_name(name: str) -> str:
    return _NARROW.get(name) or _HALVES.get(name) or name


def _address(instruction: capstone.CsInsn, state: dict[str, int], memory: x86.X86OpMem) -> int:
    address: int = memory.disp
    if memory.segment in _BASES:
        address += state[_BASES[memory.segment]]
    for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
        if register == x86.X86_REG_RIP:
            address += instruction.address + instruction.size
        elif register not in (x86.X86_REG_INVALID, x86.X86_REG_RIZ):
            name = instruction.reg_name(register)
            address += scale * (state[_whole_name(name)] & (1 << 32 if name in _HALVES else 1 << 64) - 1)
    width: int = instruction.addr_size
    return address & (1 << 8 * width) - 1
