"""Where functions begin and end, by what the unwinder reads: .eh_frame_hdr, .eh_frame and .gcc_except_table.

Debian's libraries are stripped of their symbols, but each function has its unwinding information: the Linux Standard
Base, "Exception Frames"; the DWARF 5 standard, 6.4; for the landing pads, gcc's unwind-pe.h and except.cc.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ..symbols import Elf, SymbolTable

_PT_LOAD, _PT_GNU_EH_FRAME = 1, 0x6474E550
_OMIT = 0xFF
_ABSOLUTE, _RELATIVE = 0x00, 0x10  # to the place of the pointer
_FORMATS = {0x00: "<Q", 0x02: "<H", 0x03: "<I", 0x04: "<Q", 0x0A: "<h", 0x0B: "<i", 0x0C: "<q"}
_ULEB, _SLEB = 0x01, 0x09
# version 1; .eh_frame by a relative 4-byte pointer; a 4-byte count; 4-byte pointers relative to this header.
_HEADER = b"\x01\x1b\x03\x3b"


class Function(NamedTuple):
    """A range of addresses that begins with an instruction and holds whole ones; `landing_pads` are where the unwinder
    may enter it."""

    start: int
    end: int
    landing_pads: tuple[int, ...]


class Image:
    """An ELF file's bytes by virtual address."""

    def __init__(self, elf: bytes) -> None:
        self.headers = Elf.parse(elf)
        self.elf = elf
        self.segments = [segment for segment in self.headers.segments if segment.kind == _PT_LOAD]

    def offset(self, address: int) -> int | None:
        """Where in the file the byte of an address is."""
        for segment in self.segments:
            if segment.vaddr <= address < segment.vaddr + segment.filesz:
                return segment.offset + address - segment.vaddr
        return None


class Functions:
    """The functions of an ELF file: by its unwinding information, or by its symbols where it has none."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._symbols: SymbolTable | None = None
        self._base = 0
        self._starts: Sequence[int] = ()
        self._entries: Sequence[int] = ()
        for segment in image.headers.segments:
            if segment.kind != _PT_GNU_EH_FRAME:
                continue
            header = image.elf[segment.offset : segment.offset + segment.filesz]
            if header.startswith(_HEADER) and len(header) >= 12:
                (count,) = struct.unpack_from("<I", header, 8)
                rows = min(count, (len(header) - 12) // 8)
                table = memoryview(header)[12 : 12 + 8 * rows].cast("i")
                self._base, self._starts, self._entries = segment.vaddr, table[::2], table[1::2]

    def find(self, address: int) -> Function | None:
        """The function that an address is in."""
        index = bisect_right(self._starts, address - self._base) - 1
        if index >= 0:
            try:
                function = self._described(self._base + self._entries[index])
            except (struct.error, IndexError, ValueError, OverflowError):
                function = None
            if function and function.start <= address < function.end:
                return function
        if self._starts:
            return None
        if self._symbols is None:
            self._symbols = SymbolTable.from_elf(self._image.elf)
        bounds = self._symbols.bounds(address)
        return Function(*bounds, ()) if bounds else None

    def following(self, address: int) -> int | None:
        """Where the next function begins behind an address, if one does."""
        index = bisect_left(self._starts, address + 1 - self._base)
        return self._base + self._starts[index] if index < len(self._starts) else None

    def _described(self, address: int) -> Function | None:
        """The function that the frame description at an address is of."""
        cursor = _Cursor.at(self._image, address)
        if cursor.take("<I") == 0xFFFFFFFF:
            return None  # of more than 4 GB
        here = cursor.address
        encoding, language, augmented = _common(_Cursor.at(self._image, here - cursor.take("<I")))
        start = cursor.pointer(encoding)
        end = start + cursor.pointer(encoding & 0x0F)
        pads: tuple[int, ...] = ()
        if augmented:
            cursor.uleb()
            # A null pointer is null before the place it is relative to is added.
            if language != _OMIT and any(self._image.elf[cursor.position : cursor.position + 4]):
                pads = _landing_pads(_Cursor.at(self._image, cursor.pointer(language)), start)
        return Function(start, end, pads)


class _Cursor:
    """Reads the tables. Raises struct.error, IndexError or OverflowError behind the end of the file, ValueError for
    what is not known here."""

    def __init__(self, elf: bytes, position: int, address: int) -> None:
        self._elf = elf
        self.position = position
        self._bias = address - position

    @classmethod
    def at(cls, image: Image, address: int) -> _Cursor:
        position = image.offset(address)
        if position is None:
            raise ValueError
        return cls(image.elf, position, address)

    @property
    def address(self) -> int:
        return self.position + self._bias

    def take(self, format_: str) -> int:
        (value,) = struct.unpack_from(format_, self._elf, self.position)
        self.position += struct.calcsize(format_)
        assert isinstance(value, int)
        return value

    def uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self._elf[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def text(self) -> bytes:
        end = self._elf.index(b"\0", self.position)
        text = self._elf[self.position : end]
        self.position = end + 1
        return text

    def pointer(self, encoding: int) -> int:
        here = self.address
        format_, base = encoding & 0x0F, encoding & 0x70
        if format_ == _ULEB:
            value = self.uleb()
        elif format_ in _FORMATS:
            value = self.take(_FORMATS[format_])
        else:
            raise ValueError
        if base not in (_ABSOLUTE, _RELATIVE):
            raise ValueError
        return value + (here if base == _RELATIVE else 0)


def _common(cursor: _Cursor) -> tuple[int, int, bool]:
    """Of a common information entry: how its functions' addresses are written, how their language-specific data's, and
    whether there is room for those."""
    cursor.take("<I")
    if cursor.take("<I"):
        raise ValueError
    version = cursor.take("<B")
    augmentation = cursor.text()
    cursor.uleb()  # code alignment
    cursor.uleb()  # data alignment: signed, but as long
    cursor.take("<B") if version == 1 else cursor.uleb()  # return address
    encoding, language = _ABSOLUTE, _OMIT
    if not augmentation.startswith(b"z"):
        if augmentation:
            raise ValueError
        return encoding, language, False
    cursor.uleb()
    for letter in augmentation[1:].decode("latin-1"):
        if letter == "R":
            encoding = cursor.take("<B")
        elif letter == "L":
            language = cursor.take("<B")
        elif letter == "P":
            cursor.pointer(cursor.take("<B") & 0x0F)
        elif letter not in "SB":
            raise ValueError
    return encoding, language, True


def _landing_pads(cursor: _Cursor, start: int) -> tuple[int, ...]:
    encoding = cursor.take("<B")
    base = start if encoding == _OMIT else cursor.pointer(encoding)
    if cursor.take("<B") != _OMIT:
        cursor.uleb()  # where the types are
    encoding = cursor.take("<B") & 0x0F
    length = cursor.uleb()
    end = cursor.position + length
    pads = []
    while cursor.position < end:
        cursor.pointer(encoding)
        cursor.pointer(encoding)
        if pad := cursor.pointer(encoding):
            pads.append(base + pad)
        cursor.uleb()
    return tuple(pads)
