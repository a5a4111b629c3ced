"""System call sites: where machine code can be made to jump to the agent in place of a `syscall` instruction.

What is known of a file is kept in the cache: a recording starts often, and must not import a disassembler to do so.
`judgement.py` finds the sites. A place that it is not certain of is no site: it merely is slower.
"""

from __future__ import annotations

import struct

from ..light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import FileCache
    from ..trace_format import FilePiece

JUDGEMENT = 4
"""Version of the rules in judgement.py and of a record: a change makes what the cache holds of earlier ones unknown."""

LONGEST_REGION = 16
_RECORD = struct.Struct("<IBB17sB")
_SYSCALL_BYTES = 2


class Site(NamedTuple):
    """A `syscall` instruction, `offset` bytes behind the beginning of the mapped piece, in a region that may be
    overwritten: `before` bytes of whole instructions, the `syscall`, and `after` bytes of whole instructions. `code` is
    the region's content. Those before it may be executed twice, and have no effect on rcx and r11; of all, none knows
    where it lies, and only a `ret` leaves the region. Nothing jumps to a byte of the region but its first."""

    offset: int
    before: int
    after: int
    code: bytes


def pack(sites: list[Site]) -> bytes:
    """The sites as the engine takes them: little-endian records of 24 bytes, by rising offset; uint32 offset, uint8
    before, uint8 after, the region's bytes, padded with zeros to 17, and uint8 whether a call has come from it (the
    engine's to say)."""
    return b"".join(_RECORD.pack(site.offset, site.before, site.after, site.code, 0) for site in sorted(sites))


def unpack(packed: bytes) -> list[Site]:
    """The sites in what `pack` has made."""
    return [
        Site(offset, before, after, code[: before + _SYSCALL_BYTES + after])
        for offset, before, after, code, _ in _RECORD.iter_unpack(packed)
    ]


def sites_of(cache: FileCache, piece: FilePiece, content: Callable[[], bytes | None]) -> bytes:
    """The sites of a mapped piece of an ELF file, packed: from the cache, or else found in the file's whole content,
    for which `content` is called (None if it cannot be had)."""
    packed = known_sites(cache, piece)
    if packed is None:
        elf = content()
        if elf is None:
            return b""
        packed = pack(syscall_sites(elf, piece.offset, piece.length))
        remember_sites(cache, piece, packed)
    return packed


def syscall_sites(elf: bytes, offset: int, length: int) -> list[Site]:
    """The sites in a piece of an ELF file, whose whole content is given, by rising offset. None in other files."""
    from .judgement import verdicts

    return [verdict for verdict in verdicts(elf, offset, length).values() if isinstance(verdict, Site)]


def known_sites(cache: FileCache, piece: FilePiece) -> bytes | None:
    """The sites of a piece of a file, packed, as `remember_sites` kept them; empty if it has none, None if that is not
    known or what was kept is damaged."""
    return cache.recall_records(_name(piece), _RECORD.size)


def remember_sites(cache: FileCache, piece: FilePiece, packed: bytes) -> None:
    """Keeps the packed sites of a piece of a file for later recordings."""
    cache.remember_records(_name(piece), packed)


def note_used(cache: FileCache, piece: FilePiece, known: bytes, met: bytes) -> None:
    """Keeps what a recording has met of the sites that it knew, both packed: later ones patch these at once."""
    if met != known:
        remember_sites(cache, piece, met)


def _name(piece: FilePiece) -> str:
    return f"{piece.hash}-{piece.offset}-{piece.length}-syscalls-{JUDGEMENT}"
