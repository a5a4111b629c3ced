"""What writers and readers of a trace share: docs/trace-format.md in code."""

from __future__ import annotations

import struct

from .light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any

FORMAT = 6
"""Version of the format. A change of meaning raises it; readers refuse what they do not know."""

CHECKPOINTS = "checkpoints"
"""The file of checkpoints in a trace, which has no part in its meaning."""

READABLE = (1, 2, 3, 4, 5, 6)
"""Versions that this reader knows: 1 has no events of the kinds from 10 on, 2 none from 13 on, 3 no references, 4 no
branches, 5 no tasks that were left amid native code."""

SKIPPABLE_MAGIC = 0x184D2A50  # a zstd skippable frame (RFC 8878, 3.1.2): plain zstd tools pass over our heads
HEAD = struct.Struct("<IIQIII")  # magic, payload size; first event, events, bytes of the frame, its crc32
HEAD_CRC = struct.Struct("<I")
HEAD_BYTES = HEAD.size + HEAD_CRC.size


def hash_of(content: bytes) -> str:
    """The name of some content in the store."""
    from hashlib import blake2b  # loads OpenSSL: most recordings find their files in the cache

    return blake2b(content, digest_size=16).hexdigest()


class EventKind:
    """The first item of a stored event. Plain numbers: see light.py."""

    SYSCALL = 0
    EXEC = 1
    SIGNAL = 2
    SPAWN = 3
    EXIT = 4
    INSTRUCTION = 5
    CHECKSUM = 6
    END = 7
    NOTE = 8
    START = 9
    LEAVE = 10
    STOPPED = 11
    CONTINUED = 12
    TICK = 13
    FAULT = 14
    BRANCH = 15


EVENT_KINDS = tuple(value for name, value in vars(EventKind).items() if name.isupper())
"""All of them, by number: those of native/engine/events.h."""


class FilePiece(NamedTuple):
    """Memory that a call filled with part of a stored file: `length` bytes of file `hash` from `offset`.

    `name` is the path of the file when it was recorded, `start` the offset of the stored bytes in that file
    (0 where the whole file is stored). `shared` numbers the file, from 1: its mappings are of one memory, which
    may change. 0 is a file that does not change while it is mapped (an ELF file).
    """

    hash: str
    offset: int
    length: int
    name: str
    start: int = 0
    shared: int = 0

    def to_wire(self) -> list[Any]:
        return list(self)

    @classmethod
    def from_wire(cls, wire: Any) -> FilePiece:
        """Raises TypeError or ValueError when `wire` is not a piece."""
        piece = cls(*wire)
        numbers = (piece.offset, piece.length, piece.start, piece.shared)
        if not (isinstance(piece.hash, str) and isinstance(piece.name, str)):
            raise TypeError("a piece of a file has a hash and a name")
        if not all(isinstance(n, int) and 0 <= n < 1 << 62 for n in numbers):
            raise ValueError("a piece of a file has impossible numbers")
        return piece


class FileWrite(NamedTuple):
    """A mapped file changed: `data` at `offset` of file number `shared` (see FilePiece)."""

    shared: int
    offset: int
    data: bytes

    def to_wire(self) -> list[Any]:
        return [self.data, self.shared, self.offset]


class ProcessWrite(NamedTuple):
    """A call wrote `data` into the memory of another process."""

    process: int
    data: bytes

    def to_wire(self) -> list[Any]:
        return [self.process, self.data]
