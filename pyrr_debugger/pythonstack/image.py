"""An ELF file as it is mapped in a process, and the symbols it exports."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .memory import Memory, Reader, UnreadableError

_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_PT_LOAD = 1
_PT_DYNAMIC = 2
_PF_W = 2
_DT_NULL = 0
_DT_STRTAB = 5
_DT_SYMTAB = 6
_DT_GNU_HASH = 0x6FFFFEF5
_SHN_UNDEF = 0

# A hash chain of a real file has a handful of entries.
_LONGEST_CHAIN = 10_000


@dataclass(frozen=True)
class Module:
    """An ELF file mapped in a process."""

    path: str
    """Where the file was when it was mapped; only its last component is ever looked at."""
    start: int
    """The lowest address at which it is mapped."""
    load_bias: int
    """What to add to an address in the file (a symbol's value) to have an address in the process;
    0 for an executable linked at fixed addresses."""
    elf: bytes | memoryview
    """The file's contents, or their first part; what lies past its end is read from memory instead."""


@dataclass(frozen=True)
class _Segment:
    address: int  # as in the file, without the load bias
    offset: int
    size: int  # in the file: without .bss
    writable: bool


class Image:
    """A module's contents by their addresses in the file ("virtual addresses", without the load bias)."""

    def __init__(self, reader: Reader, module: Module) -> None:
        """Raises UnreadableError if the module is no ELF file for x86-64's class and byte order."""
        self._reader = reader
        self._module = module
        # The headers lie on the first page of the first mapping: enough to find out about all others.
        self._segments = [_Segment(module.start - module.load_bias, 0, 4096, False)]
        self._dynamic: dict[int, int] = {}
        self._read_headers()

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes as they are in the file, or else in memory."""
        for segment in self._segments:
            start = address - segment.address
            if start >= 0 and start + size <= segment.size:
                start += segment.offset
                if start + size <= len(self._module.elf):
                    return bytes(self._module.elf[start : start + size])
        return self._reader.read(self._module.load_bias + address, size)

    def constants(self) -> Iterator[bytes]:
        """Yield the contents of each segment that cannot be written to."""
        for segment in self._segments:
            if not segment.writable:
                try:
                    yield self.read(segment.address, segment.size)
                except UnreadableError:
                    continue

    def symbol(self, name: str) -> int | None:
        """Return the address of an exported symbol, found as the dynamic linker does: by its GNU hash."""
        try:
            return self._symbol(name.encode())
        except (KeyError, UnreadableError, ZeroDivisionError):
            return None

    def _symbol(self, name: bytes) -> int | None:
        hash_of_name = 5381
        for byte in name:
            hash_of_name = (hash_of_name * 33 + byte) & 0xFFFFFFFF
        table = self._dynamic[_DT_GNU_HASH]
        bucket_count, first_symbol, bloom_size, _ = struct.unpack("<4I", self.read(table, 16))
        buckets = table + 16 + 8 * bloom_size
        chains = buckets + 4 * bucket_count
        start = self._uint32(buckets + 4 * (hash_of_name % bucket_count))
        if start < first_symbol:
            return None
        for index in range(start, start + _LONGEST_CHAIN):
            entry = self._uint32(chains + 4 * (index - first_symbol))
            if entry | 1 == hash_of_name | 1:
                symbol = self.read(self._dynamic[_DT_SYMTAB] + 24 * index, 24)
                name_offset, _, section, value, _ = struct.unpack("<IHHQQ", symbol)
                found = self.read(self._dynamic[_DT_STRTAB] + name_offset, len(name) + 1)
                if found == name + b"\0" and section != _SHN_UNDEF:
                    return int(value)
            if entry & 1:
                return None
        return None

    def _uint32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def _read_headers(self) -> None:
        (headers,) = self._segments
        header = self.read(headers.address, 64)
        if not header.startswith(_ELF64_LITTLE_ENDIAN):
            raise UnreadableError("not an ELF file")
        (table,) = struct.unpack_from("<Q", header, 32)
        entry_size, count = struct.unpack_from("<HH", header, 54)
        dynamic = None
        segments = []
        for index in range(count):
            entry = self.read(headers.address + table + index * entry_size, 56)
            kind, flags, offset, address, _, size, _, _ = struct.unpack("<IIQQQQQQ", entry)
            if kind == _PT_LOAD:
                segments.append(_Segment(address, offset, size, bool(flags & _PF_W)))
            elif kind == _PT_DYNAMIC:
                dynamic = (address, size)
        self._segments = segments
        if dynamic is not None:
            for tag, value in struct.iter_unpack("<qQ", self.read(dynamic[0], dynamic[1] & ~15)):
                if tag == _DT_NULL:
                    break
                # In memory, glibc has added the load bias to the addresses among the values.
                bias = self._module.load_bias
                self._dynamic[tag] = value - bias if 0 < bias <= value else value


def exported(memory: Memory, module: Module, names: tuple[str, ...]) -> dict[str, int] | None:
    """The addresses of exported symbols in a process; None if the module has not all of them."""
    try:
        image = Image(Reader(memory), module)
    except UnreadableError:
        return None
    found = {name: image.symbol(name) for name in names}
    known = {name: module.load_bias + value for name, value in found.items() if value is not None}
    return known if len(known) == len(names) else None
