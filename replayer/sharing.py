"""The files that replayed programs have mapped, as memory: all their mappings see the same."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Iterator

from ..trace_format import FilePiece

_OBJECT_BITS = 42
"""Each recorded file has its own part of the one file here: 4 TB apart, which takes no room until written."""


class SharedMemory:
    """One memory file that every stub holds open, so that nothing has to be opened in a replayed process."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("pyrr shared", os.MFD_CLOEXEC)
        os.truncate(self.descriptor, 1 << 62)

    def close(self) -> None:
        """Gives the memory up, as far as this process holds it."""
        os.close(self.descriptor)

    def offset(self, number: int, at: int) -> int:
        """Where byte `at` of a recorded file lies. Raises ValueError for an impossible one."""
        if not (0 < number < 1 << 19 and 0 <= at < 1 << _OBJECT_BITS):
            raise ValueError(f"shared file {number} at {at:#x}")
        return (number << _OBJECT_BITS) + at

    def fill(self, piece: FilePiece, file: Callable[[str], bytes]) -> None:
        """Makes the memory as the file was when the piece was mapped."""
        content = memoryview(file(piece.hash))[piece.offset : piece.offset + piece.length]
        self.write(piece.shared, piece.start + piece.offset, content)

    def clear(self, number: int, start: int, end: int) -> None:
        """Makes a hole of whole pages in a recorded file."""
        start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        size = (end - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if size > 0:
            with mmap.mmap(self.descriptor, size, offset=self.offset(number, start)) as memory:
                memory.madvise(mmap.MADV_REMOVE)

    def content(self) -> list[tuple[int, bytes]]:
        """All that is in the memory file: (offset, bytes) of each part that is no hole."""
        found = []
        for start, end in self._parts():
            found.append((start, os.pread(self.descriptor, end - start, start)))
        return found

    def size(self) -> int:
        """The bytes that `content` gives."""
        return sum(end - start for start, end in self._parts())

    def put_back(self, content: list[tuple[int, bytes]]) -> None:
        """Makes the memory file what it was."""
        for start, end in list(self._parts()):
            with mmap.mmap(self.descriptor, end - start, offset=start) as memory:
                memory.madvise(mmap.MADV_REMOVE)
        for start, data in content:
            os.pwrite(self.descriptor, data, start)

    def _parts(self) -> Iterator[tuple[int, int]]:
        end = 0
        while True:
            try:
                start = os.lseek(self.descriptor, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            end = os.lseek(self.descriptor, start, os.SEEK_HOLE)
            yield start, end

    def write(self, number: int, at: int, data: bytes | memoryview) -> None:
        """Changes a recorded file."""
        os.pwrite(self.descriptor, data, self.offset(number, at))
