"""The files that a recorded program maps: read once, stored under the hash of their content."""

from __future__ import annotations

import errno
import mmap
import os
import stat

from .. import _engine, procfs
from ..light import NamedTuple
from ..trace_format import FilePiece, hash_of
from ..trace_writer import TraceWriter

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._elf: dict[tuple[int, int, int, int], str] = {}
        self._changing: set[tuple[int, int]] = set()
        self._content: dict[str, bytes] = {}

    def store_program(self, pid: int, maps: list[procfs.Mapping]) -> dict[int, FilePiece]:
        """Stores the files that a new program is mapped from, as far as they can still be opened by their names. The
        pieces, by the beginnings of the mappings."""
        pieces: dict[int, FilePiece] = {}
        by_name: dict[str, list[procfs.Mapping]] = {}
        for mapping in maps:
            if mapping.inode and mapping.name.startswith("/"):
                by_name.setdefault(mapping.name, []).append(mapping)
        for name, mappings in by_name.items():
            try:
                file = os.open(f"/proc/{pid}/root{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError:
                continue
            try:
                status = os.fstat(file)
                for mapping in mappings:
                    stored = None
                    if status.st_ino == mapping.inode:
                        stored = self._store(file, status, name, mapping.offset, mapping.end - mapping.start)
                    if stored is not None:
                        # These are the program and its loader, which are ELF files: one piece.
                        ((_, pieces[mapping.start]),) = stored.pieces
            finally:
                os.close(file)
        return pieces

    def store_descriptor(self, pid: int, descriptor: int, offset: int, length: int, shared: bool) -> MappedFile | None:
        """Stores what a process maps of an open file; None when that is not a regular file it can read. `shared`: what
        it writes there, it writes to the file."""
        link = f"/proc/{pid}/fd/{descriptor}"
        try:
            status, name = os.stat(link), os.readlink(link)
            # Only regular files: opening a device or a pipe once more may do something.
            if not stat.S_ISREG(status.st_mode):
                return None
            if shared and os.lstat(link).st_mode & stat.S_IWUSR:
                self._changing.add(_identity(status))
            if (hash_ := self._elf.get(_version(status))) is not None:
                return _mapped(hash_, status, name, offset, length)
            file = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._store(file, os.fstat(file), name, offset, length)
        finally:
            os.close(file)

    def store_memory(self, pid: int, mapping: procfs.Mapping) -> Iterator[tuple[int, FilePiece]]:
        """Stores what a process has mapped of a file that cannot be opened, all of it; the pieces, with their
        addresses."""
        for start in range(mapping.start, mapping.end, _PIECE_LIMIT):
            content = _engine.read(pid, start, min(_PIECE_LIMIT, mapping.end - start))
            hash_ = hash_of(content)
            self._writer.add_file(content, hash_)
            yield start, FilePiece(hash_, 0, len(content), mapping.name, start - mapping.start)

    def content(self, pid: int, piece: FilePiece) -> bytes | None:
        """The whole file that a process maps a stored piece of, if it is still there by its name. The last one is kept,
        until `forget`: to read and hash a large one again takes seconds."""
        if piece.hash not in self._content:
            try:
                with open(f"/proc/{pid}/root{piece.name}", "rb") as file:
                    content = file.read()
            except OSError:
                return None
            self._content = {hash_of(content): content}
        return self._content.get(piece.hash)

    def forget(self) -> None:
        """Lets go of the content that is kept."""
        self._content = {}

    def _store(self, file: int, status: os.stat_result, name: str, offset: int, length: int) -> MappedFile | None:
        if not stat.S_ISREG(status.st_mode):
            return None
        if (hash_ := self._elf.get(_version(status))) is not None:
            return _mapped(hash_, status, name, offset, length)
        is_elf = os.pread(file, 4, 0) == _ELF_MAGIC
        if is_elf or status.st_size <= _WHOLE_FILE_LIMIT:
            hash_ = self._store_whole(file, status, name if is_elf else None)
            if is_elf:
                self._elf[_version(status)] = hash_
            return _mapped(hash_, status, name, offset, length)._replace(is_elf=is_elf)
        parts = _data(file, offset, offset + _mapped_length(status, offset, length))
        pieces = [(start - offset, self._store_part(file, name, start, end)) for start, end in parts]
        return MappedFile(pieces or [(0, self._store_part(file, name, offset, offset))], is_elf, _identity(status))

    def _store_part(self, file: int, name: str, start: int, end: int) -> FilePiece:
        content = _read(file, start, end - start)
        hash_ = hash_of(content)
        self._writer.add_file(content, hash_)
        return FilePiece(hash_, 0, len(content), name, start)

    def _store_whole(self, file: int, status: os.stat_result, original: str | None) -> str:
        """`original`: where replay finds the file itself, if it is one that does not change while it is mapped."""
        # What is written through a mapping need not change a file's times: never in memory (shmem_fault, mm/shmem.c).
        settled = _identity(status) not in self._changing
        cache = self._writer.cache
        hash_ = cache.find(status) if settled else None
        if hash_ is not None and self._writer.add_stored(hash_):
            if original:
                cache.locate(hash_, original)
        else:
            content = _read(file, 0, status.st_size)
            hash_ = hash_of(content)
            if settled:
                cache.learn(status, hash_, original)
            self._writer.add_file(content, hash_)
            if original:
                self._content = {hash_: content}
        return hash_


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _mapped_length(status: os.stat_result, offset: int, length: int) -> int:
    """How much a mapping shows of its file: whole pages are mapped."""
    return max(0, min(-(-length // mmap.PAGESIZE) * mmap.PAGESIZE, status.st_size - offset))


def _mapped(hash_: str, status: os.stat_result, name: str, offset: int, length: int) -> MappedFile:
    """Of an ELF file that is stored whole."""
    piece = FilePiece(hash_, offset, _mapped_length(status, offset, length), name)
    return MappedFile([(0, piece)], True, _identity(status))


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
