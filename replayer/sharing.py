"""The memory that replayed processes share, where the program had mapped files shared."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..events import FilePiece

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

    def offset(self, piece: FilePiece) -> int:
        """Where a mapped piece of a recorded file lies. Raises ValueError for an impossible piece."""
        inside = piece.start + piece.offset
        if not (0 < piece.shared < 1 << 19 and 0 <= inside < 1 << _OBJECT_BITS):
            raise ValueError(f"shared file {piece.shared} at {inside:#x}")
        return (piece.shared << _OBJECT_BITS) + inside

    def fill(self, piece: FilePiece, file: Callable[[str], bytes]) -> None:
        """Makes the memory as the file was when the piece was mapped."""
        content = memoryview(file(piece.hash))[piece.offset : piece.offset + piece.length]
        self.write(piece, 0, content)

    def write(self, piece: FilePiece, at: int, data: bytes | memoryview) -> None:
        """Writes into a mapped piece, `at` bytes behind its start."""
        os.pwrite(self.descriptor, data, self.offset(piece) + at)
