"""What a loop writes in which a task waits for another: its instructions, decoded with the registers they ran with."""

from __future__ import annotations

import capstone
from capstone import x86

from ..light import NamedTuple
from ..registers import LAYOUT, unpack

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]

_LONGEST_INSTRUCTION = 15
_BASES = {x86.X86_REG_FS: "fs_base", x86.X86_REG_GS: "gs_base"}
_PUSHES = frozenset({"push", "pushfq", "call", "enter"})
_UNTOLD = ("rep", "xsave", "fxsave", "fnsave", "fsave", "vpscatter", "vscatter", "maskmov", "vmaskmov", "vpmaskmov")
"""Beginnings of the names of instructions that write as much as their operands do not tell."""


class _Step(NamedTuple):
    """An instruction with the registers before it, and the stack pointer behind it."""

    instruction: capstone.CsInsn
    registers: dict[str, int]
    stack: int


def written(loop: bytes, read: Read) -> list[tuple[int, int]] | None:
    """Addresses and sizes of what the instructions of a loop write in one turn; None where that cannot be told.

    `loop` has the registers (user_regs_struct) before each of them, `read` gives the task's memory and raises OSError.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    states = [unpack(loop[at : at + LAYOUT.size]) for at in range(0, len(loop), LAYOUT.size)]
    ranges: dict[tuple[int, int], None] = {}
    for state, following in zip(states, [*states[1:], *states[:1]], strict=True):
        try:
            code = read(state["rip"], _LONGEST_INSTRUCTION)
        except OSError:
            return None
        instruction = next(decoder.disasm(code, state["rip"], 1), None)
        if instruction is None or instruction.mnemonic.startswith(_UNTOLD):
            return None
        ranges |= dict.fromkeys(_writes(_Step(instruction, state, following["rsp"])))
    return list(ranges)


def _writes(step: _Step) -> Iterator[tuple[int, int]]:
    instruction = step.instruction
    if instruction.mnemonic in _PUSHES:
        yield step.stack, step.registers["rsp"] - step.stack
    for place, operand in enumerate(instruction.operands):
        # The destination comes first; what is said of the access is not complete.
        if operand.type == x86.X86_OP_MEM and (
            operand.access & capstone.CS_AC_WRITE or not (place or operand.access & capstone.CS_AC_READ)
        ):
            yield _address(step, operand.mem), operand.size


def _address(step: _Step, memory: x86.X86OpMem) -> int:
    address: int = memory.disp
    if memory.segment in _BASES:
        address += step.registers[_BASES[memory.segment]]
    for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
        if register == x86.X86_REG_RIP:
            address += step.instruction.address + step.instruction.size
        elif register not in (x86.X86_REG_INVALID, x86.X86_REG_RIZ):
            address += scale * _value(step, register)
    width: int = step.instruction.addr_size
    return address & (1 << 8 * width) - 1


def _value(step: _Step, register: int) -> int:
    """Of a 64-bit register, or the half of one that has its name with `e` (eax), or with `d` behind it (r8d)."""
    name: str = step.instruction.reg_name(register)
    if name in step.registers:
        return step.registers[name]
    return step.registers[name.removesuffix("d") if name[1:2].isdigit() else "r" + name[1:]] & (1 << 32) - 1
