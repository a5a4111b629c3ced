"""One recorded call, as the handlers of the model read it."""

from __future__ import annotations

import os
import struct

from ..events import Memory, SyscallEvent
from .model import Description, Process, Slot, Task

_SIGN_32 = 1 << 31


class Call:
    """A call that has returned: its event, who made it, and the memory that went along."""

    __slots__ = ("args", "event", "number", "process", "result", "task")

    def __init__(self, event: SyscallEvent, process: Process, task: Task) -> None:
        self.event = event
        self.number = event.number
        self.process = process
        self.task = task
        self.result = event.result
        self.args = event.args + (0,) * (6 - len(event.args))

    def signed(self, position: int) -> int:
        """An argument of 32 bits, signed: a descriptor, a process id."""
        value = self.args[position] & 0xFFFFFFFF
        return value - (1 << 32) if value & _SIGN_32 else value

    def slot(self, position: int) -> Slot | None:
        """The entry of the table that a descriptor argument names."""
        return self.process.descriptors.get(self.signed(position))

    def description(self, position: int) -> Description | None:
        """What a descriptor argument names."""
        slot = self.slot(position)
        return slot.description if slot else None

    def asked(self, address: int, size: int) -> bytes:
        """Memory at the entry, as far as it was recorded."""
        return _read(self.event.inputs, address, size)

    def answered(self, address: int, size: int) -> bytes:
        """Memory that the call wrote, as far as it was recorded; what it did not write is that at the entry."""
        return _read(self.event.outputs, address, size, last=True) or self.asked(address, size)

    def asked_argument(self, position: int, size: int) -> bytes:
        """What a pointer argument pointed at, as it was read; b"" for NULL and where nothing was recorded."""
        return self.asked(self.args[position], size) if self.args[position] else b""

    def answered_argument(self, position: int, size: int) -> bytes:
        """What was written at a pointer argument."""
        return self.answered(self.args[position], size) if self.args[position] else b""

    def text(self, position: int) -> str:
        """A string argument; "" where it was not recorded."""
        return os.fsdecode(self.asked_argument(position, 4096).partition(b"\0")[0])

    def numbers(self, layout: str, data: bytes) -> tuple[int, ...] | None:
        """Little-endian numbers out of memory; None where it is too short."""
        size = struct.calcsize(layout)
        return struct.unpack(layout, data[:size]) if len(data) >= size else None


def _read(memory: Memory, address: int, size: int, last: bool = False) -> bytes:
    found = b""
    for start, data in memory:
        if start <= address < start + len(data):
            found = data[address - start : address - start + size]
            if not last:
                return found
    return found
