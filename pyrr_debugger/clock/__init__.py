"""The bytecode clock: which places of a mapped interpreter are made to count.

What is known of a file is kept in the cache: a recording starts often, and must not import a disassembler to do so.
`tables.py` finds the places, `opcodes.py` says what they are in each version of CPython, native/engine/clock.c makes
them count. A file that is no CPython, or is built in a way that is not known, has none: signals wait for system calls.
So it is with a build that counts wrong when check.py tries it.
"""

from __future__ import annotations

import struct

from ..light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import FileCache
    from ..trace_format import FilePiece

RULES = 6
"""Version of the rules in tables.py and opcodes.py: a change makes what the cache holds of earlier ones unknown."""

LONGEST_MOVED = 14
_PLACE = struct.Struct(f"<qqBB{LONGEST_MOVED}s")
_NO_CLOCK = bytes(_PLACE.size)
"""In the place of the places of an interpreter that has none."""
_SIGN = b"PYTHONHASHSEED"
"""Text that all interpreters have in them, and hardly another file."""


class Place(NamedTuple):
    """Where going is a tick. Numbers are bytes behind the beginning of the mapped piece.

    Either a word at `place` that holds the address `target`. Or one of four bytes that counts from the beginning of its
    table to `target`: `moved` is what it holds. Or a function at `place`: `moved` is its beginning, whole instructions
    that may be executed elsewhere, up to `target`; `displacement` is how far behind `place` four bytes lie that count
    from the end of the last of them to what that one reads, 0 if there are none.
    """

    place: int
    target: int
    moved: bytes = b""
    displacement: int = 0


def pack(places: list[Place]) -> bytes:
    """The places as the engine takes them: little-endian records of 32 bytes; int64 place, int64 target, uint8 how many
    bytes are moved, uint8 displacement, and these bytes, padded with zeros to 14."""
    return b"".join(_PLACE.pack(p.place, p.target, len(p.moved), p.displacement, p.moved) for p in places)


def places_of(cache: FileCache, piece: FilePiece, content: Callable[[], bytes | None], process: int) -> bytes | None:
    """The places of an ELF file of which a process has mapped a piece of code, packed: from the cache, or else found in
    the file's whole content, for which `content` is called (None if it cannot be had). Empty if it is no interpreter,
    None if it is one in which none are found, or that does not tick as it should."""
    name = f"{piece.hash}-{piece.offset}-clock-{RULES}"
    packed = cache.recall_records(name, _PLACE.size)
    if packed is None:
        elf = content()
        if elf is None:
            return b""
        packed = (pack(places_in(elf, piece.offset)) or _NO_CLOCK) if is_interpreter(elf) else b""
        cache.remember_records(name, packed)
    if packed == _NO_CLOCK or (packed and not _is_right(cache, name, piece, packed, process)):
        return None
    return packed


def _is_right(cache: FileCache, name: str, piece: FilePiece, packed: bytes, process: int) -> bool:
    """Whether an interpreter ticks as it should, as far as that can be told: by the cache, or by trying once."""
    known = cache.recall(f"{name}-ticks")
    if known is None:
        from .check import ticks_rightly

        records = _PLACE.iter_unpack(packed)
        right = ticks_rightly(process, piece.name, piece.offset, [(r[0], r[1]) for r in records if not r[2]])
        if right is None:
            return True
        known = "right" if right else "wrong"
        cache.remember(f"{name}-ticks", known)
    return known == "right"


def is_interpreter(elf: bytes) -> bool:
    """Whether a file holds a Python interpreter, of whichever version and make."""
    return _SIGN in elf


def places_in(elf: bytes, offset: int) -> list[Place]:
    """The places of an ELF file, relative to where the byte of it at `offset` is mapped."""
    if not is_interpreter(elf):
        return []
    from .tables import ticking_places

    return ticking_places(elf, offset)
