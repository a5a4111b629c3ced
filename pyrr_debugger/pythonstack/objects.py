"""Python's own objects in another process's memory: strings, bytes and code."""

from __future__ import annotations

from dataclasses import dataclass

from .layouts import Layout, Lines
from .linetable import line_in_line_ranges, line_in_lnotab, line_in_locations, spans
from .memory import Reader, UnreadableError

# The longest co_filename, co_name or co_qualname that is read in full, in characters.
_LONGEST_STRING = 1 << 16

# A module of a million lines has a table of a few MB.
_LONGEST_LINE_TABLE = 16 << 20

# By PyASCIIObject.state.kind, the size of a character. Python's strings may hold lone surrogates: a file name
# that is no UTF-8 does.
ENCODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}

# PyCodeObject up to 3.10 (Include/cpython/code.h): co_code, a bytes object.
_OLD_CODE = 48
_LARGEST_CODE = 16 << 20

_KINDS = {Lines.LNOTAB: "lnotab", Lines.RANGES: "ranges", Lines.LOCATIONS: "locations"}

_LINE_FUNCTIONS = {
    Lines.LNOTAB: line_in_lnotab,
    Lines.RANGES: line_in_line_ranges,
    Lines.LOCATIONS: line_in_locations,
}


@dataclass(frozen=True)
class Code:
    """What is needed of a PyCodeObject."""

    name: str
    file: str
    first_line: int
    lines: Lines
    line_table: bytes
    units: int
    """Address of the first instruction; 0 up to 3.10."""
    first_traceable: int
    """A frame whose instruction is before this one, in bytes, has not begun; 0 up to 3.10."""
    words: int
    """Address of the instructions, in every version."""
    size: int
    """Of the instructions, in bytes."""
    address: int

    def line(self, offset: int) -> int:
        """Return the line of the instruction at a byte offset."""
        return _LINE_FUNCTIONS[self.lines](self.line_table, self.first_line, offset)

    def spans(self) -> list[tuple[int, int, int]]:
        """The lines of its instructions: (first byte, byte behind the last, line or NO_LINE)."""
        return spans(_KINDS[self.lines], self.line_table, self.first_line, self.size)


def read_code(reader: Reader, layout: Layout, address: int) -> Code:
    """Read a PyCodeObject."""
    first_traceable = 0
    if layout.code_first_traceable is not None:
        first_traceable = 2 * reader.signed(address + layout.code_first_traceable)
    if layout.code_units is None:
        instructions = reader.unsigned(address + _OLD_CODE)
        words, size = instructions + layout.bytes_data, reader.unsigned(instructions + layout.bytes_size)
    else:
        words, size = address + layout.code_units, 2 * reader.unsigned(address + layout.bytes_size)
    if size > _LARGEST_CODE:
        raise UnreadableError(f"no code: {address:#x}")
    return Code(
        name=read_string(reader, layout, reader.unsigned(address + layout.code_name)),
        file=read_string(reader, layout, reader.unsigned(address + layout.code_file)),
        first_line=reader.signed(address + layout.code_first_line),
        lines=layout.lines,
        line_table=_read_bytes(reader, layout, reader.unsigned(address + layout.code_lines)),
        units=0 if layout.code_units is None else address + layout.code_units,
        first_traceable=first_traceable,
        words=words,
        size=size,
        address=address,
    )


def read_string(reader: Reader, layout: Layout, address: int) -> str:
    """Read a str; the beginning of a very long one."""
    # 2 bits tell whether it is interned; then kind, 3 bits; then compact and ascii, 1 bit each.
    # No code object's strings are other than compact.
    state = reader.unsigned(address + layout.string_state, 4)
    kind = state >> 2 & 7
    if kind not in ENCODINGS or not state & 1 << 5:
        raise UnreadableError(f"no string: {address:#x}")
    is_ascii = state & 1 << 6
    length = min(reader.unsigned(address + layout.string_length), _LONGEST_STRING)
    start = address + (layout.string_ascii if is_ascii else layout.string_compact)
    try:
        return reader.read(start, length * kind).decode(ENCODINGS[kind], "surrogatepass")
    except UnicodeError as error:
        raise UnreadableError(f"no string: {address:#x}") from error


def _read_bytes(reader: Reader, layout: Layout, address: int) -> bytes:
    size = reader.unsigned(address + layout.bytes_size)
    if size > _LONGEST_LINE_TABLE:
        raise UnreadableError(f"no line table: {address:#x}")
    return reader.read(address + layout.bytes_data, size)
