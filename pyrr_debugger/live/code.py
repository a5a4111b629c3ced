"""What recording has put into a program's code, taken out again: jumps to the agent, traps for random numbers, and the
counting of bytecodes.

All that is needed is in memory: a site's stub (native/agent/agent.h) holds the instructions that were moved there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .. import _engine
from ..recorder.entropy import random_sites, trap_bytes

_STUB_BYTES, _, _STUB_AFTER = _engine.SITE_STUB
_WAY_IN = b"\x48\x8d\x0d\x17\x00\x00\x00\x49\xbb" + _engine.AGENT[0].to_bytes(8, "little") + b"\x41\xff\xe3"
_SITE_AT = len(_WAY_IN)
_SYSCALL = b"\x0f\x05"
_JUMP = struct.Struct("<Bi")
_JUMP_OPCODE = 0xE9
_LONGEST_SITE = 18
_TICK_BEGINS = 0x48  # sub
_WAY_TO_TICK = 14  # bytes of a stub's jump to its trampoline
_SHORT_JUMP = 0xEB
_RANDOM = re.compile(rb"\x0f\xc7[\xf0-\xff]")

Read = Callable[[int, int], bytes]


class Patch(NamedTuple):
    """A patched site: `original` belongs at `start`. `site` is the address behind the system call instruction, `after`
    the same in the stub."""

    start: int
    original: bytes
    site: int
    after: int


def patches(read: Read, start: int, end: int) -> Iterator[Patch]:
    """The sites whose stubs lie in a part of memory and are in use. `read(address, size)` reads memory."""
    memory = read(start, end - start)
    at = memory.find(_WAY_IN)
    while at >= 0:
        found = _patch(read, start, memory, at)
        if found is not None:
            yield found
        at = memory.find(_WAY_IN, at + 1)


def _patch(read: Read, base: int, memory: bytes, at: int) -> Patch | None:
    slot = at // _STUB_BYTES * _STUB_BYTES
    after = at + _STUB_AFTER
    site = int.from_bytes(memory[at + _SITE_AT : at + _SITE_AT + 8], "little")
    moved_before = memory[slot:at]
    moved_after = _moved_behind(base, memory[after : slot + _STUB_BYTES], after, site)
    start = site - len(_SYSCALL) - len(moved_before)
    if moved_after is None or read(start, _JUMP.size) != _jump(start, base + slot):
        return None
    return Patch(start, moved_before + _SYSCALL + moved_after, site, base + after)


def _moved_behind(base: int, code: bytes, after: int, site: int) -> bytes | None:
    """The instructions between the system call and the jump back."""
    for size in range(min(_LONGEST_SITE, len(code) - _JUMP.size) + 1):
        if code[size : size + _JUMP.size] == _jump(base + after + size, site + size):
            return code[:size]
    return None


def _jump(start: int, target: int) -> bytes:
    distance = target - (start + _JUMP.size)
    return _JUMP.pack(_JUMP_OPCODE, distance) if -(1 << 31) <= distance < 1 << 31 else b""


def uncounted(read: Read) -> Iterator[tuple[int, bytes]]:
    """What makes the interpreter's bytecodes uncounted again: (address, what belongs there). `read` reads the memory
    of the replayed process, which has the trampolines (native/agent/agent.h)."""
    start, most, size, word_at, target_at = _engine.TICKS
    memory = read(start, most * size)
    for at in range(0, len(memory) - size + 1, size):
        if memory[at] != _TICK_BEGINS:
            return
        word = int.from_bytes(memory[at + word_at : at + target_at], "little")
        target = int.from_bytes(memory[at + target_at : at + target_at + 8], "little")
        if word:
            yield word, target.to_bytes(8, "little")
        else:  # a function's entry, or a jump table's: its stub jumps over the way to the trampoline
            yield target - _WAY_TO_TICK, bytes([_SHORT_JUMP, _WAY_TO_TICK - 2])


def traps(read: Read, content: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Where the instruction that a file has for random numbers has been replaced: (address, what belongs there).
    `content` is what of the file is mapped at `start`."""
    if not _RANDOM.search(content):
        return
    for site in random_sites(content, start):
        if read(site.address, site.length) == trap_bytes(site):
            at = site.address - start
            yield site.address, content[at : at + site.length]
