"""Names of addresses in ELF files: functions, load bias, build id.

An own small parser (System V gABI, chapters 4 and 5; <elf.h>): pyelftools needs 0.6 s for the 14,700
symbols of libpython3.11 and 0.09 s for its import, this one 0.05 s in all. It reads 64-bit little-endian
files and takes them as they come: of a damaged or foreign file it knows nothing, and says so with None.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

_PAGE = 4096
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NOTE = struct.Struct("<III")

_ET_EXEC = 2
_PT_LOAD, _PT_DYNAMIC, _PT_NOTE = 1, 2, 4
_PF_X = 1
_PN_XNUM = 0xFFFF
_SHT_SYMTAB, _SHT_NOBITS, _SHT_DYNSYM, _SHT_GNU_VERSYM = 2, 8, 11, 0x6FFFFFFF
_SHN_UNDEF, _SHN_ABS, _SHN_COMMON = 0, 0xFFF1, 0xFFF2
_STB_LOCAL = 0
_STT_SECTION, _STT_FILE, _STT_TLS = 3, 4, 6
_STT_FUNC, _STT_GNU_IFUNC = 2, 10
_VERSYM_HIDDEN = 0x8000
_NT_GNU_BUILD_ID = 3

# Longer names are cut. It bounds the work on a damaged file in which every name runs to the end of the table.
_LONGEST_NAME = 4096


class Segment(NamedTuple):
    """A program header, in the order of the file."""

    kind: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class _Section(NamedTuple):
    """A section header, in the order of the file."""

    name: int
    kind: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int

    def content(self, elf: bytes) -> bytes:
        return b"" if self.kind == _SHT_NOBITS else elf[self.offset : self.offset + self.size]


class Elf(NamedTuple):
    """The headers of an ELF file; without segments and sections if it is no 64-bit little-endian one."""

    kind: int
    segments: list[Segment]
    sections: list[_Section]

    @classmethod
    def parse(cls, elf: bytes) -> Elf:
        # "\2\1" is ELFCLASS64, ELFDATA2LSB.
        if len(elf) < _HEADER.size or not elf.startswith(b"\x7fELF\2\1"):
            return cls(0, [], [])
        (kind, _, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, _) = _HEADER.unpack_from(elf)
        sections: list[_Section] = []
        if shoff and shentsize == _SECTION.size:
            first = list(map(_Section._make, _rows(_SECTION, elf, shoff, 1)))
            if first and shnum == 0:
                shnum = first[0].size
            if first and phnum == _PN_XNUM:
                phnum = first[0].info
            sections = list(map(_Section._make, _rows(_SECTION, elf, shoff, shnum)))
        segments: list[Segment] = []
        if phentsize == _SEGMENT.size:
            segments = list(map(Segment._make, _rows(_SEGMENT, elf, phoff, phnum)))
        return cls(kind, segments, sections)


def _rows(row: struct.Struct, data: bytes, offset: int, count: int) -> Iterator[tuple[int, ...]]:
    """The rows of a table, as many as are there."""
    table = memoryview(data)[offset : offset + count * row.size]
    return row.iter_unpack(table[: len(table) // row.size * row.size])


class _Symbol(NamedTuple):
    """A symbol that has an address. `name` is an offset in the string table; of namesakes the highest `rank`
    is meant."""

    start: int
    end: int
    name: int
    function: bool
    unsized: bool
    rank: int


class SymbolTable:
    """The symbols of one ELF file, by address and by name.

    From .symtab, or .dynsym where there is no (usable) .symtab; a file without section headers has no
    symbols. All addresses are virtual addresses of the file: add `load_bias` for those of a process.
    Making one costs little; the symbols are read at the first question. It does not keep the file's bytes.
    """

    def __init__(self, symbols: bytes, strings: bytes, versions: bytes, section_ends: list[int]) -> None:
        self._raw = symbols
        self._strings = strings
        self._versions = versions
        self._section_ends = section_ends

    @classmethod
    def from_elf(cls, data: bytes) -> SymbolTable:
        """The symbol table of an ELF file's bytes; an empty one if it has none or is damaged."""
        sections = Elf.parse(data).sections
        ends = [section.addr + section.size for section in sections]
        for kind in (_SHT_SYMTAB, _SHT_DYNSYM):
            for index, section in enumerate(sections):
                symbols = section.content(data) if section.kind == kind else b""
                if len(symbols) <= _SYMBOL.size or section.link >= len(sections):
                    continue  # the first symbol of every table is empty
                strings = sections[section.link].content(data)
                versions = next(
                    (s.content(data) for s in sections if s.kind == _SHT_GNU_VERSYM and s.link == index), b""
                )
                return cls(symbols, strings, versions, ends)
        return cls(b"", b"", b"", [])

    def find(self, file_virtual_address: int) -> tuple[str, int] | None:
        """The function that holds an address, and the offset in it in bytes; None between functions.

        A function of unknown size (0) reaches to the next one or the end of its section. Where functions
        nest, the one that starts last; of several names, the one with the fewest leading underscores.
        """
        starts, functions, reach = self._by_address
        index = bisect_right(starts, file_virtual_address) - 1
        while index >= 0 and reach[index] > file_virtual_address:
            start = starts[index]
            names = []
            while index >= 0 and starts[index] == start:
                if functions[index].end > file_virtual_address:
                    names.append(self._name(functions[index].name))
                index -= 1
            if names:
                best = min(names, key=lambda name: (len(name) - len(name.lstrip("_")), name))
                return best, file_virtual_address - start
        return None

    def bounds(self, file_virtual_address: int) -> tuple[int, int] | None:
        """Where the function begins and ends that holds an address, as `find` chooses it; None if its symbol does not
        tell its size."""
        starts, functions, reach = self._by_address
        index = bisect_right(starts, file_virtual_address) - 1
        while index >= 0 and reach[index] > file_virtual_address:
            function = functions[index]
            if function.end > file_virtual_address and not function.unsized:
                return function.start, function.end
            index -= 1
        return None

    def address(self, name: str) -> int | None:
        """The address of a function or object; for an indirect function (IFUNC), of its resolver.

        Of several versions the default one, of local namesakes the first in the table.
        """
        wanted = name.encode(errors="surrogateescape")
        if not wanted or b"\0" in wanted:
            return None
        # Linkers let names share tails, so each occurrence of the text in the string table may be the one
        # that symbols refer to. Static linkers write the default version behind the name in .symtab.
        found: list[_Symbol] = []
        for text in (wanted + b"\0", wanted + b"@@"):
            offset = self._strings.find(text)
            while offset >= 0:
                found += self._by_name.get(offset, ())
                offset = self._strings.find(text, offset + 1)
        return max(found, key=lambda symbol: symbol.rank).start if found else None

    @cached_property
    def _symbols(self) -> list[_Symbol]:
        """The symbols with an address, in the order of the table."""
        count = len(self._raw) // _SYMBOL.size
        versions = [version for (version,) in _rows(struct.Struct("<H"), self._versions, 0, count)]
        symbols: list[_Symbol] = []
        for index, (name, info, _, place, value, size) in enumerate(_rows(_SYMBOL, self._raw, 0, count)):
            kind, binding = info & 15, info >> 4
            if place in (_SHN_UNDEF, _SHN_ABS, _SHN_COMMON) or kind in (_STT_SECTION, _STT_FILE, _STT_TLS):
                continue
            end = value + size
            if not size and place < len(self._section_ends):
                end = self._section_ends[place]  # cut at the next function later
            hidden = index < len(versions) and versions[index] & _VERSYM_HIDDEN
            rank = 0 if binding == _STB_LOCAL else 1 if hidden else 2
            function = kind in (_STT_FUNC, _STT_GNU_IFUNC)
            symbols.append(_Symbol(value, end, name, function, not size, rank))
        return symbols

    @cached_property
    def _by_name(self) -> dict[int, list[_Symbol]]:
        """The symbols by the offset of their name."""
        by_name: dict[int, list[_Symbol]] = {}
        for symbol in self._symbols:
            by_name.setdefault(symbol.name, []).append(symbol)
        return by_name

    @cached_property
    def _by_address(self) -> tuple[list[int], list[_Symbol], list[int]]:
        """Of the functions by rising address: where they start, themselves, the highest end so far."""
        functions = sorted(symbol for symbol in self._symbols if symbol.function)
        following = None  # where the next function starts that does not start here
        for index in range(len(functions) - 1, -1, -1):
            symbol = functions[index]
            if index + 1 < len(functions) and functions[index + 1].start > symbol.start:
                following = functions[index + 1].start
            if symbol.unsized and following is not None:
                functions[index] = symbol._replace(end=min(symbol.end, following))
        reach = list(accumulate((symbol.end for symbol in functions), max))
        return [symbol.start for symbol in functions], functions, reach

    def _name(self, offset: int) -> str:
        limit = min(offset + _LONGEST_NAME, len(self._strings))
        end = self._strings.find(b"\0", offset, limit)
        name = self._strings[offset : end if end >= 0 else limit].decode(errors="surrogateescape")
        return name.partition("@@")[0]


def load_bias(elf: bytes, mapping_start: int, mapping_file_offset: int, executable: bool | None = None) -> int | None:
    """What to add to a virtual address of the file to get the address in the process.

    `mapping_start` and `mapping_file_offset` are of one mapping of the file, as in /proc/PID/maps. Two
    segments may begin in the same page of the file, and so have mappings with the same offset: then that of
    the lower address is meant, or with `executable` the one which is (not) so. None if no segment lies there.
    """
    headers = Elf.parse(elf)
    candidates = []
    for segment in headers.segments:
        first_page = segment.offset // _PAGE * _PAGE
        if segment.kind != _PT_LOAD or not first_page <= mapping_file_offset < segment.offset + segment.filesz:
            continue
        wrong = executable is not None and executable != bool(segment.flags & _PF_X)
        # A mapping that starts inside a segment is the rest of one split by mprotect: less likely.
        candidates.append((wrong, first_page != mapping_file_offset, segment.vaddr, segment.offset))
    if not candidates:
        return None
    _, _, vaddr, offset = min(candidates)
    return 0 if headers.kind == _ET_EXEC else mapping_start - (vaddr - offset + mapping_file_offset)


def dynamic_section(elf: bytes) -> int:
    """The virtual address of the dynamic section; 0 if the file has none."""
    return next((segment.vaddr for segment in Elf.parse(elf).segments if segment.kind == _PT_DYNAMIC), 0)


def build_id(elf: bytes) -> str | None:
    """The GNU build id in hexadecimal, as `file` and debuginfod show it; None if the file has none."""
    for segment in Elf.parse(elf).segments:
        if segment.kind != _PT_NOTE:
            continue
        notes = elf[segment.offset : segment.offset + segment.filesz]
        align = 8 if segment.align == 8 else 4
        at = 0
        while at + _NOTE.size <= len(notes):
            name_size, size, kind = _NOTE.unpack_from(notes, at)
            name_at = at + _NOTE.size
            content_at = -(-(name_at + name_size) // align) * align
            name, content = notes[name_at : name_at + name_size], notes[content_at : content_at + size]
            if (name, kind) == (b"GNU\0", _NT_GNU_BUILD_ID) and content:
                return content.hex()
            at = -(-(content_at + size) // align) * align
    return None
