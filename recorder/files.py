"""The files that a recorded program maps: read once, stored under the hash of their content."""

from __future__ import annotations

import mmap
import os
import stat
from typing import NamedTuple

from .. import procfs
from ..trace_format import FilePiece, hash_of
from ..trace_writer import TraceWriter

_ELF_MAGIC = b"\x7fELF"
_WHOLE_FILE_LIMIT = 1 << 20
"""Data files up to this size are stored whole; of larger ones only what is mapped."""


class MappedFile(NamedTuple):
    """What is stored of a mapped file. `identity` is its device and inode."""

    piece: FilePiece
    is_elf: bool
    identity: tuple[int, int]


class FileRecorder:
    """Stores mapped files in a trace. ELF files are stored whole, for their symbols."""

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._whole: dict[tuple[int, int, int, int], str] = {}

    def store_mapped(self, pid: int, mapping: procfs.Mapping) -> tuple[FilePiece, bytes] | None:
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
            return stored.piece, _read(file, mapping.offset, stored.piece.length)
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
            return MappedFile(FilePiece(hash_, offset, length, name), is_elf, identity)
        content = _read(file, offset, length)
        hash_ = hash_of(content)
        self._writer.add_file(content, hash_)
        return MappedFile(FilePiece(hash_, 0, len(content), name, offset), is_elf, identity)

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


def _read(file: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(file, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
