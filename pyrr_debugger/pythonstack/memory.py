"""Reading a process's memory, where nothing that is read may be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

# What one read costs beside its bytes, so that a budget also bounds the number of reads.
_COST_OF_A_READ = 64

# User space ends far below; a larger "address" is garbage, and would overflow an offset into /proc/PID/mem.
_HIGHEST_ADDRESS = 1 << 62


class Memory(Protocol):
    """The memory of a stopped process."""

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes at `address`; where memory is unmapped raise OSError or return fewer bytes."""


class UnreadableError(Exception):
    """Memory is unmapped there, or what it holds cannot be what it should be."""


class Reader:
    """Reads words and follows pointers until a budget is used up: garbage costs bounded time, never more.

    The budget (bytes, plus a constant for each read) is far above what real stacks need: 32 MiB are
    100,000 frames. Once it is used up, all memory seems unmapped.
    """

    def __init__(self, memory: Memory, budget: int = 32 << 20) -> None:
        self._memory = memory
        self._budget = budget

    def charge(self, cost: int) -> None:
        """Take `cost` from the budget, for work other than reading."""
        self._budget -= cost
        if self._budget < 0:
            raise UnreadableError("too much memory to read")

    def read(self, address: int, size: int) -> bytes:
        """Return exactly `size` bytes."""
        if not 0 < address < _HIGHEST_ADDRESS or not 0 <= size < _HIGHEST_ADDRESS:
            raise UnreadableError(f"no address: {address:#x}")
        self.charge(size + _COST_OF_A_READ)
        try:
            data = self._memory.read(address, size)
        except OSError as error:
            raise UnreadableError(str(error)) from error
        if len(data) != size:
            raise UnreadableError(f"unmapped: {address:#x}")
        return data

    def unsigned(self, address: int, size: int = 8) -> int:
        """Return a little-endian unsigned integer of `size` bytes; by default a pointer or a size_t."""
        return int.from_bytes(self.read(address, size), "little")

    def signed(self, address: int, size: int = 4) -> int:
        """Return a little-endian signed integer of `size` bytes; by default an int."""
        return int.from_bytes(self.read(address, size), "little", signed=True)

    def chain(self, first: int, next_offset: int) -> Iterator[int]:
        """Yield the addresses in a linked list up to NULL, to what cannot be read or to one seen before."""
        seen = set()
        address = first
        while address and address not in seen:
            seen.add(address)
            yield address
            try:
                address = self.unsigned(address + next_offset)
            except UnreadableError:
                return
