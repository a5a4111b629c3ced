"""The files that a recorded program maps: read once, stored under the hash of their content."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator

from .. import procfs
from ..light import NamedTuple
from ..trace_format import FilePiece, hash_of
from ..trace_writer import TraceWriter

_ELF_MAGIC = b"\x7fELF"
_WHOLE_FILE_LIMIT = 1 << 20
"""Data files up to this size are stored whole; of larger ones only what is mapped."""
_PIECE_LIMIT = 1 << 24
"""A piece of a large file is at most this long: as much of it is in memory at a time."""


class MappedFile(NamedTuple):
    """What is stored of a mapped file: at least one piece, each with its distance from the start of the mapping;
    between them lie zeros. `identity` is its device and inode."""

    pieces: list[tuple[int, FilePiece]]
    is_elf: bool
    identity: tuple[int, int]


class FileRecorder:
    """Stores mapped files in a trace. ELF files are stored whole, for their symbols."""

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._whole: dict[tuple[int, int, int, int], str] = {}

    def store_mapped(self, pid: int, mapping: procfs.Mapping) -> FilePiece | None:
        """Stores the file behind a mapping of a process, if it can still be opened by its name."""
        path = f"/proc/{pid}/root{mapping.name}" if mapping.name.startswith("/") else ""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        try:
            if os.fstat(file).st_ino != mapping.inode:
                return None
            stored = self._store(file, mapping.name, mapping.offset, mapping.end - mapping.start)
            if stored is None:
                return None
            # At exec only the program and its loader are mapped, which are ELF files: one piece.
            ((_, piece),) = stored.pieces
            return piece
        finally:
            os.close(file)

    def store_descriptor(self, pid: int, descriptor: int, offset: int, length: int) -> MappedFile | None:
        """Stores what a process maps of an open file; None when that is not a regular file it can read."""
        link = f"/proc/{pid}/fd/{descriptor}"
        try:
            # Only regular files: opening a device or a pipe once more may do something.
            if not stat.S_ISREG(os.stat(link).st_mode):
                return None
            file = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._store(file, os.readlink(link), offset, length)
        finally:
            os.close(file)

    def content(self, pid: int, piece: FilePiece) -> bytes | None:
        """The whole file that a process maps a stored piece of, if it is still there by its name."""
        try:
            with open(f"/proc/{pid}/root{piece.name}", "rb") as file:
                content = file.read()
        except OSError:
            return None
        return content if hash_of(content) == piece.hash else None

    def _store(self, file: int, name: str, offset: int, length: int) -> MappedFile | None:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return None
        identity = (status.st_dev, status.st_ino)
        length = -(-length // mmap.PAGESIZE) * mmap.PAGESIZE  # whole pages are mapped
        length = max(0, min(length, status.st_size - offset))
        is_elf = os.pread(file, 4, 0) == _ELF_MAGIC
        if is_elf or status.st_size <= _WHOLE_FILE_LIMIT:
            hash_ = self._store_whole(file, status, is_elf)
            return MappedFile([(0, FilePiece(hash_, offset, length, name))], is_elf, identity)
        parts = _data(file, offset, offset + length)
        pieces = [(start - offset, self._store_part(file, name, start, end)) for start, end in parts]
        return MappedFile(pieces or [(0, self._store_part(file, name, offset, offset))], is_elf, identity)

    def _store_part(self, file: int, name: str, start: int, end: int) -> FilePiece:
        content = _read(file, start, end - start)
        hash_ = hash_of(content)
        self._writer.add_file(content, hash_)
        return FilePiece(hash_, 0, len(content), name, start)

    def _store_whole(self, file: int, status: os.stat_result, is_elf: bool) -> str:
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        hash_ = self._whole.get(identity) or self._writer.cache.find(status)
        if hash_ is None or not self._writer.add_stored(hash_):
            content = _read(file, 0, status.st_size)
            hash_ = hash_of(content)
            self._writer.cache.learn(status, hash_)
            self._writer.add_file(content, hash_)
        if is_elf:
            self._whole[identity] = hash_
        return hash_


def _data(file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, which is not in its holes: whole pages, a piece's worth at a time."""
    while start < end:
        try:
            start = os.lseek(file, start, os.SEEK_DATA) // mmap.PAGESIZE * mmap.PAGESIZE
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        hole = min(os.lseek(file, start, os.SEEK_HOLE), end)
        while start < hole:
            stop = min(start + _PIECE_LIMIT, hole)
            yield start, stop
            start = stop


def _read(file: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(file, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
