"""The files that replayed programs have mapped, as memory: all their mappings see the same."""

from __future__ import annotations

import _thread
import errno
import mmap
import os
import struct

from .. import threads
from ..errors import PyrrError, TraceError
from ..store import FileCache, Original
from ..trace_format import FilePiece

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..trace_reader import StoredFile, TraceReader

_OBJECT_BITS = 42
"""Each recorded file has its own part of the one file here: 4 TB apart, which takes no room until written."""
_STORED = 1 << 19
"""The parts from here on are the files of the store; those before are numbered by the trace."""
LAST_SHARED = _STORED - 1
_WRITTEN_AT_ONCE = 1 << 18
_READ_AHEAD_AT_ONCE = 1 << 22
_ELF_HEADER = struct.Struct("<32xQ14xHH")  # where the segments are listed, the size of an entry, their number
_SEGMENT = struct.Struct("<I4xQ16xQ")  # kind, offset, length in the file
_PT_LOAD = 1


class SharedMemory:
    """One memory file that every stub holds open, so that nothing has to be opened in a replayed process."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("pyrr shared", os.MFD_CLOEXEC)
        os.truncate(self.descriptor, 1 << 62)
        self.inode = os.fstat(self.descriptor).st_ino

    def close(self) -> None:
        """Gives the memory up, as far as this process holds it."""
        os.close(self.descriptor)

    def offset(self, number: int, at: int) -> int:
        """Where byte `at` of a recorded file lies. Raises ValueError for an impossible one."""
        if not (0 < number < _STORED and 0 <= at < 1 << _OBJECT_BITS):
            raise ValueError(f"shared file {number} at {at:#x}")
        return (number << _OBJECT_BITS) + at

    def piece_at(self, offset: int, length: int) -> FilePiece:
        """What is mapped from byte `offset` of the memory file, which is no part of the store."""
        return FilePiece("", offset & (1 << _OBJECT_BITS) - 1, length, "", 0, offset >> _OBJECT_BITS)

    def fill(self, piece: FilePiece, store: StoredMemory) -> None:
        """Makes the memory as the file was when the piece was mapped."""
        content = memoryview(store.content(piece.hash))[piece.offset : piece.offset + piece.length]
        self.write(piece.shared, piece.start + piece.offset, content)

    def clear(self, number: int, start: int, end: int) -> None:
        """Makes a hole of whole pages in a recorded file."""
        start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        size = (end - start) // mmap.PAGESIZE * mmap.PAGESIZE
        if size > 0:
            with mmap.mmap(self.descriptor, size, offset=self.offset(number, start)) as memory:
                memory.madvise(mmap.MADV_REMOVE)

    def content(self) -> list[tuple[int, bytes]]:
        """All that is in the memory file but the store: (offset, bytes) of each part that is no hole."""
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
            if start >= _STORED << _OBJECT_BITS:
                return
            end = os.lseek(self.descriptor, start, os.SEEK_HOLE)
            yield start, end

    def write(self, number: int, at: int, data: bytes | memoryview) -> None:
        """Changes a recorded file."""
        os.pwrite(self.descriptor, data, self.offset(number, at))


class StoredMemory:
    """The store of a trace in the memory file. Replayed processes map it from there: nothing is copied for any of them
    but the pages that it writes.

    A thread of its own looks for damage, then reads ahead what programs map, in the order in which they were recorded;
    what is asked for before it comes to it is read by the one who asks. Where the recorded file itself still is what it
    was, that is copied, in a fraction of the time, and the stored one is not looked at.
    """

    def __init__(self, trace: TraceReader, descriptor: int, whole: bool) -> None:
        """`whole`: all stored content is compared with its name."""
        self._trace = trace
        self._descriptor = descriptor
        cache = FileCache()
        self._originals = {} if whole else {hash_: found for hash_ in trace.files() if (found := cache.original(hash_))}
        self._parts: dict[str, _Part] = {}
        self._lock = _thread.allocate_lock()
        self._failure: PyrrError | None = None
        self._closing = False
        self._checked, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._checked.acquire()
        self._ended.acquire()
        try:
            threads.start(self._work, whole)
        except RuntimeError:  # no thread is to be had
            self._work(whole)

    def check(self) -> None:
        """Waits until all stored files have been looked at. Raises PyrrError where one is damaged."""
        with self._checked:
            if self._failure:
                raise self._failure

    def offset(self, piece: FilePiece, length: int) -> int | None:
        """Where to map `length` bytes from, to have a piece of the store and zeros behind it; None where there is no
        such place. Raises TraceError on damage."""
        part = self._part(piece.hash)
        end = piece.offset + piece.length
        if piece.offset % mmap.PAGESIZE or (end < part.size and piece.length < length):
            return None
        self._fill(part, end)
        return part.offset + piece.offset

    def piece_at(self, offset: int, length: int) -> FilePiece | None:
        """What is mapped from byte `offset` of the memory file; None where the store does not lie."""
        if offset >> _OBJECT_BITS < _STORED:
            return None
        with self._lock:
            hash_ = list(self._parts)[(offset >> _OBJECT_BITS) - _STORED]
        return FilePiece(hash_, offset & (1 << _OBJECT_BITS) - 1, length, "")

    def content(self, hash_: str) -> bytes:
        """All of a stored file. Raises TraceError on damage."""
        part = self._part(hash_)
        self._fill(part, part.size)
        return os.pread(self._descriptor, part.size, part.offset)

    def close(self) -> None:
        """Ends the thread and closes the stored files."""
        self._closing = True
        with self._ended:
            for part in self._parts.values():
                if not isinstance(part.file, Original):
                    part.file.close()

    def _work(self, whole: bool) -> None:
        try:
            self._trace.check_files(whole, without=self._originals)
        except Exception as error:
            self._failure = error if isinstance(error, PyrrError) else PyrrError(f"{self._trace.path}: {error}")
        finally:
            self._checked.release()
        try:
            if self._trace.end and not self._failure:
                for hash_, _ in self._trace.end.files:
                    self._read_ahead(hash_)
        except Exception:
            pass  # who needs that file will meet it
        finally:
            self._ended.release()

    def _read_ahead(self, hash_: str) -> None:
        part = self._part(hash_)
        self._fill(part, _ELF_HEADER.size)
        end = min(_loaded(os.pread(self._descriptor, mmap.PAGESIZE, part.offset)), part.size)
        while part.filled < end and not self._closing:
            self._fill(part, min(end, part.filled + _READ_AHEAD_AT_ONCE))

    def _part(self, hash_: str) -> _Part:
        with self._lock:
            if hash_ not in self._parts:
                offset = _STORED + len(self._parts) << _OBJECT_BITS
                self._parts[hash_] = _Part(hash_, offset, self._originals.get(hash_) or self._trace.stored(hash_))
            return self._parts[hash_]

    def _fill(self, part: _Part, end: int) -> None:
        end = min(end, part.size)
        while part.filled < end:
            with part.lock:
                if part.filled < end:
                    self._fill_on(part, end)

    def _fill_on(self, part: _Part, end: int) -> None:
        file = part.file
        if isinstance(file, Original):
            size = -(-(end - part.filled) // _WRITTEN_AT_ONCE) * _WRITTEN_AT_ONCE
            if file.copy(part.filled, size, self._descriptor, part.offset + part.filled):
                part.filled = min(part.filled + size, part.size)
                return
            self._trace.check_file(part.hash)
            file = part.begin_anew(self._trace.stored(part.hash))
        size = file.read(part.buffer)
        if not size:
            raise TraceError(f"{self._trace.path}: a stored file is damaged (it ends early)")
        if os.pwrite(self._descriptor, memoryview(part.buffer)[:size], part.offset + part.filled) != size:
            raise PyrrError(f"{self._trace.path}: no memory for its stored files")
        part.filled += size


def memory_of(trace: TraceReader, whole: bool = False) -> tuple[SharedMemory, StoredMemory]:
    """The memory file for a replay, and the store of the trace in it: a thread begins to look through that at once."""
    shared = SharedMemory()
    return shared, StoredMemory(trace, shared.descriptor, whole)


class _Part:
    """Where a stored file lies in the memory file, and how much of it."""

    def __init__(self, hash_: str, offset: int, file: StoredFile | Original) -> None:
        self.hash = hash_
        self.offset = offset
        self.size = file.size
        self.filled = 0
        self.lock = _thread.allocate_lock()
        self.buffer = bytearray()
        self.file: StoredFile | Original = file
        if not isinstance(file, Original):
            self.begin_anew(file)

    def begin_anew(self, file: StoredFile) -> StoredFile:
        """Goes on with the stored file. Raises TraceError on damage."""
        self.file = file
        self.buffer = bytearray(min(self.size, _WRITTEN_AT_ONCE))
        at = 0
        while at < self.filled and (size := file.read(memoryview(self.buffer)[: self.filled - at])):
            at += size
        return file


def _loaded(page: bytes) -> int:
    """Up to where an ELF file is mapped when it is loaded, by its first page (System V gABI, chapter 5); 0 for other
    files."""
    if page[:4] != b"\x7fELF" or len(page) < _ELF_HEADER.size:
        return 0
    at, size, count = _ELF_HEADER.unpack_from(page)
    ends = [0]
    for start in range(at, min(at + count * size, len(page) - _SEGMENT.size), max(size, _SEGMENT.size)):
        kind, offset, length = _SEGMENT.unpack_from(page, start)
        if kind == _PT_LOAD:
            ends.append(offset + length)
    return max(ends)
