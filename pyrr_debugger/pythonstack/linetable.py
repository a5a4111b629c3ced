"""From an instruction to its line, in the three encodings CPython has had since 3.8.

Each function returns what PyCode_Addr2Line (Objects/codeobject.c) returns for the byte offset of an
instruction in its code: a line number, the first line for a negative offset (a frame that has not begun), or
NO_LINE. Nothing is assumed of the table: it may be cut off or garbage.

This file runs on 3.8 too, so that the tests can ask each interpreter about its own tables.
"""

from __future__ import annotations

NO_LINE = 0
"""The instruction belongs to no line of the source (Python's f_lineno is None)."""


def line_in_lnotab(table: bytes, first_line: int, offset: int) -> int:
    """3.8 and 3.9, co_lnotab: pairs of (bytes of code, signed number of lines) (Objects/lnotab_notes.txt)."""
    line = first_line
    start = 0
    for index in range(0, len(table) - 1, 2):
        start += table[index]
        if start > offset:
            break
        line += _signed(table[index + 1])
    return line


def line_in_line_ranges(table: bytes, first_line: int, offset: int) -> int:
    """3.10, co_linetable: pairs of (bytes of code in a range, signed number of lines to it from the last).

    A range with -128 lines has none (Objects/lnotab_notes.txt).
    """
    if offset < 0:
        return first_line
    line = first_line
    end = 0
    for index in range(0, len(table) - 1, 2):
        end += table[index]
        delta = _signed(table[index + 1])
        if delta != -128:
            line += delta
        if offset < end:
            return line if delta != -128 else NO_LINE
    return NO_LINE


def line_in_locations(table: bytes, first_line: int, offset: int) -> int:
    """3.11 and later, co_linetable: an entry for each run of code units (Objects/locations.md).

    An entry's first byte has bit 7 set, a kind in bits 3 to 6 and, in bits 0 to 2, its number of code units
    (2 bytes each) less one. No other byte has bit 7 set.
    """
    if offset < 0:
        return first_line
    line = first_line
    end = 0
    index = 0
    while index < len(table):
        kind = table[index] >> 3 & 15
        end += 2 * ((table[index] & 7) + 1)
        index += 1
        if kind in (13, 14):  # without columns, and the long form
            line += _signed_varint(table, index)
        elif 10 <= kind <= 12:  # one line, with columns
            line += kind - 10
        # 0 to 9: same line as before, with columns; 15: no line.
        if offset < end:
            return line if kind != 15 else NO_LINE
        while index < len(table) and not table[index] & 0x80:
            index += 1
    return NO_LINE


def spans(kind: str, table: bytes, first_line: int, size: int) -> list[tuple[int, int, int]]:
    """The lines of code of `size` bytes: (first byte, byte behind the last, line or NO_LINE), in the order of the code.

    `kind` is `lnotab`, `ranges` or `locations`, as in the functions above.
    """
    found: list[tuple[int, int, int]] = []
    line, start, index = first_line, 0, 0
    while index < len(table):
        if kind == "locations":
            code = table[index] >> 3 & 15
            length, none = 2 * ((table[index] & 7) + 1), code == 15
            index += 1
            line += _signed_varint(table, index) if code in (13, 14) else code - 10 if 10 <= code <= 12 else 0
            while index < len(table) and not table[index] & 0x80:
                index += 1
            found.append((start, start + length, NO_LINE if none else line))
            start += length
            continue
        if index + 1 >= len(table):
            break
        length, delta = table[index], _signed(table[index + 1])
        index += 2
        if kind == "lnotab":  # the line changes behind the bytes
            if length:
                found.append((start, start + length, line))
            line += delta
        else:
            line += delta if delta != -128 else 0
            if length:
                found.append((start, start + length, NO_LINE if delta == -128 else line))
        start += length
    if kind == "lnotab" and start < size:
        found.append((start, size, line))
    return [(first, min(end, size), at) for first, end, at in found if first < size]


def _signed(byte: int) -> int:
    return byte - 256 if byte >= 128 else byte


def _signed_varint(table: bytes, index: int) -> int:
    """Decode groups of 6 bits, lowest first; bit 6 tells that more follow; bit 0 of the whole is the sign."""
    value = 0
    shift = 0
    while index < len(table):
        value |= (table[index] & 63) << shift
        shift += 6
        # No line number needs more; a longer run is garbage, and would make a number of thousands of digits.
        if not table[index] & 64 or shift >= 36:
            break
        index += 1
    return -(value >> 1) if value & 1 else value >> 1
