"""Where the bytes of a trace lie: in a folder, or in one file (`pyrr pack`), which is read in place.

A packed trace is a zip archive of stored members, so that any unzip gives the folder. Nothing is ever extracted by
it here: names are looked up, never used as paths, and every extent is checked to lie within the file.
"""

from __future__ import annotations

import os
import struct
import zlib

from .errors import TraceError
from .light import NamedTuple
from .trace_format import CHECKPOINTS

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Protocol

    class TracePlace(Protocol):
        """Where the members of a trace are: `header`, `events`, `checkpoints`, `files/HASH`. All raise TraceError."""

        def part(self, name: str) -> Part:
            """A member, to be closed by the caller."""
            ...

        def stored(self) -> list[str]:
            """The names of the stored files."""
            ...

        def size(self) -> int:
            """Bytes in all."""
            ...

        def close(self) -> None: ...


_END = struct.Struct("<IHHHHIIH")  # end of central directory (APPNOTE.TXT, 4.3.16)
_END_MAGIC = 0x06054B50
_LOCATOR = struct.Struct("<IIQI")
_LOCATOR_MAGIC = 0x07064B50
_END64 = struct.Struct("<IQHHIIQQQQ")
_END64_MAGIC = 0x06064B50
_ENTRY = struct.Struct("<IHHHHHHIIIHHHHHII")
_ENTRY_MAGIC = 0x02014B50
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LOCAL_MAGIC = 0x04034B50
_LARGE, _MANY = 0xFFFFFFFF, 0xFFFF
_ZIP64 = 1  # number of the extra field
_LARGEST_DIRECTORY = 1 << 28
_FILES = "files/"
MEMBERS = ("header", "events")
"""What every trace has beside its stored files."""


class Part:
    """A member of a trace: some bytes of a file, read from their beginning, or anywhere."""

    def __init__(self, descriptor: int, start: int, size: int, own: bool) -> None:
        self._descriptor = descriptor
        self._start = start
        self._own = own
        self._at = 0
        self.size = size

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._own:
            os.close(self._descriptor)
            self._own = False

    def pread(self, size: int, at: int) -> bytes:
        """Bytes from a place on; fewer at the end. Raises OSError."""
        return os.pread(self._descriptor, max(0, min(size, self.size - at)), self._start + at)

    def read(self, size: int = -1) -> bytes:
        """What follows. Raises OSError."""
        data = self.pread(self.size if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fills a buffer with what follows: the number of bytes. Raises OSError."""
        wanted = memoryview(buffer)[: max(0, self.size - self._at)]
        size = os.preadv(self._descriptor, [wanted], self._start + self._at)
        self._at += size
        return size


def _raise(error: OSError) -> None:
    raise error


class TraceFolder:
    """A trace as it was recorded."""

    def __init__(self, path: str) -> None:
        self._path = path

    def part(self, name: str) -> Part:
        descriptor = os.open(os.path.join(self._path, name), os.O_RDONLY | os.O_CLOEXEC)
        return Part(descriptor, 0, os.fstat(descriptor).st_size, own=True)

    def stored(self) -> list[str]:
        return os.listdir(os.path.join(self._path, "files"))

    def size(self) -> int:
        walk = os.walk(self._path, onerror=_raise)
        files = [os.path.join(folder, name) for folder, _, names in walk for name in names]
        return sum(os.path.getsize(file) for file in files)

    def close(self) -> None:
        pass


class _Member(NamedTuple):
    start: int
    size: int
    crc: int


class TracePack:
    """A trace in one file."""

    def __init__(self, path: str) -> None:
        """Raises TraceError for a file that is not one."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TraceError(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._size = os.fstat(self._file).st_size
            self._members = self._read_directory()
            self._check()
        except (struct.error, UnicodeDecodeError, OSError) as error:
            self.close()
            raise TraceError(f"{path} is damaged, or no packed trace ({error})") from None
        except TraceError:
            self.close()
            raise

    def part(self, name: str) -> Part:
        member = self._members.get(name)
        if member is None:
            raise FileNotFoundError(2, "not in the file")
        return Part(self._file, member.start, member.size, own=False)

    def stored(self) -> list[str]:
        return [name[len(_FILES) :] for name in self._members if name.startswith(_FILES)]

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        os.close(self._file)

    def _damaged(self, what: str) -> TraceError:
        return TraceError(f"{self._path} is damaged, or no packed trace ({what})")

    def _read(self, at: int, size: int) -> bytes:
        if not 0 <= at <= at + size <= self._size:
            raise self._damaged("it ends early")
        data = os.pread(self._file, size, at)
        if len(data) != size:
            raise self._damaged("it ends early")
        return data

    def _read_directory(self) -> dict[str, _Member]:
        count, size, offset = self._find_directory()
        if size > _LARGEST_DIRECTORY:
            raise self._damaged("its list of members is too long")
        directory = self._read(offset, size)
        members: dict[str, _Member] = {}
        at = 0
        for _ in range(count):
            fields = _ENTRY.unpack_from(directory, at)
            magic, _, _, flags, method, _, _, crc, packed, plain, name_size, extra_size, comment_size = fields[:13]
            at += _ENTRY.size
            if magic != _ENTRY_MAGIC or at + name_size + extra_size + comment_size > len(directory):
                raise self._damaged("its list of members")
            name = directory[at : at + name_size].decode("ascii")
            extra = directory[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            plain, packed, local = _large(extra, [plain, packed, int(fields[16])])
            if flags & ~0x800 or method != 0 or packed != plain:
                raise self._damaged(f"{name!r} is compressed or encrypted")
            if name in members or not _is_member(name):
                raise self._damaged(f"{name!r} does not belong to a trace")
            members[name] = _Member(self._begin(name, local, offset, plain), plain, crc)
        if at != len(directory):
            raise self._damaged("its list of members")
        return members

    def _find_directory(self) -> tuple[int, int, int]:
        """Number of members, bytes of their list, and where that begins."""
        at = self._size - _END.size
        fields = _END.unpack(self._read(at, _END.size))
        magic, disk, first_disk, on_disk, count, size, offset, comment = fields
        if magic != _END_MAGIC or disk or first_disk or on_disk != count or comment:
            raise self._damaged("it has no end")
        if _MANY not in (count,) and _LARGE not in (size, offset):
            if offset + size != at:
                raise self._damaged("its list of members is not at its end")
            return count, size, offset
        magic, _, where, _ = _LOCATOR.unpack(self._read(at - _LOCATOR.size, _LOCATOR.size))
        if magic != _LOCATOR_MAGIC:
            raise self._damaged("it has no end")
        large = _END64.unpack(self._read(where, _END64.size))
        if large[0] != _END64_MAGIC or large[8] + large[9] != where:
            raise self._damaged("its list of members is not at its end")
        return large[7], large[8], large[9]

    def _begin(self, name: str, local: int, directory: int, size: int) -> int:
        """Where the bytes of a member begin: behind its own head, which must be of the same name."""
        fields = _LOCAL.unpack(self._read(local, _LOCAL.size))
        magic, name_size, extra_size = fields[0], fields[9], fields[10]
        start: int = local + _LOCAL.size + name_size + extra_size
        if magic != _LOCAL_MAGIC or start + size > directory:
            raise self._damaged(f"{name!r} lies outside of it")
        if self._read(local + _LOCAL.size, name_size) != name.encode():
            raise self._damaged(f"{name!r} has another name")
        return start

    def _check(self) -> None:
        """Compares the header with its checksum; events and stored files have checksums of their own."""
        for name in MEMBERS:
            if name not in self._members:
                raise self._damaged(f"it has no {name!r}")
        header = self._members["header"]
        if header.size > 1 << 26 or zlib.crc32(self._read(header.start, header.size)) != header.crc:
            raise self._damaged("the checksum of its header")


def _large(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and offset of a member, out of the extra field where they are too large for the list."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64:
            wide = [number for (number,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + size // 8 * 8])]
        at += 4 + size
    result: list[int] = []
    for value in values:
        if value == _LARGE:
            if not wide:
                raise struct.error("a size is missing")
            value = wide.pop(0)
        result.append(value)
    return result


def _is_member(name: str) -> bool:
    return name in (*MEMBERS, CHECKPOINTS) or (name.startswith(_FILES) and name[len(_FILES) :].isalnum())


def place_of(path: str) -> TracePlace:
    """The trace at a path. Raises TraceError for a file that is no packed trace."""
    return TracePack(path) if os.path.isfile(path) else TraceFolder(path)
