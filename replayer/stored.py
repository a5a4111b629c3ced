"""Checkpoints on disk: the file `checkpoints` of a trace (docs/trace-format.md), from which a session begins anywhere.

Each page is stored once, whoever has it: a checkpoint names its pages by number.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _engine, snapshot
from ..errors import TraceError
from ..trace_format import CHECKPOINTS, FilePiece, hash_of
from ..wire import UnpackException, unpacked
from ..zstd import zstandard
from .session import MappedPiece
from .tree import Actor, Space, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..trace_reader import TraceReader

_VERSION = 1
_PAGE = snapshot.PAGE
_ZEROS = bytes(_PAGE)
_TRAILER = struct.Struct("<IIQQI")  # magic, size behind it; where the index begins, its length, its crc32
_TRAILER_CRC = struct.Struct("<I")
_MAGIC = 0x184D2A51  # a zstd skippable frame (RFC 8878, 3.1.2), not the one of chunks
_TRAILER_BYTES = _TRAILER.size + _TRAILER_CRC.size
_LARGEST = 1 << 30
_LEVEL = 1
_CHUNK = struct.Struct("<QQQI")
_SYMPTOMS = OSError, LookupError, TypeError, ValueError, OverflowError, zstandard.ZstdError, UnpackException


class StoredCheckpoint(NamedTuple):
    """All processes at a position, and what a session knows of them. `cost`: how many seconds of replay lead there."""

    position: int
    cost: float
    tree: Tree
    process: dict[int, int]
    mapped: dict[int, list[MappedPiece]]
    stack: dict[int, tuple[int, int]]


class Place(NamedTuple):
    """Where a checkpoint lies in the file; before it the pages that are its own, up to number `pages`."""

    position: int
    cost: float
    pages: int
    offset: int
    length: int


def identity(trace: TraceReader) -> str:
    """What tells the events of a trace from those of any other, packed or not."""
    return hash_of(b"".join(_CHUNK.pack(chunk.first, chunk.events, chunk.length, chunk.crc) for chunk in trace.chunks))


class Writer:
    """Writes the checkpoints of a trace, in the place of those that are there; a context manager."""

    def __init__(self, trace: TraceReader) -> None:
        """Raises OSError."""
        self._identity = identity(trace)
        self._path = os.path.join(trace.path, CHECKPOINTS)
        self._temporary = f"{self._path}.{os.getpid()}"
        self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._known: dict[str, int] = {}
        self._lengths = array("H")
        self._places: list[Place] = []
        self._end = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._end

    @property
    def count(self) -> int:
        """Checkpoints written."""
        return len(self._places)

    def add(self, checkpoint: StoredCheckpoint) -> None:
        """Appends a checkpoint, behind all others. Raises OSError."""
        tree = checkpoint.tree
        wire = {
            "actors": [list(actor) for actor in tree.actors],
            "spaces": [
                [task, [self._region(one) for one in space.regions], self._runs(space.trampolines, True)]
                for task, space in tree.spaces.items()
            ],
            "files": self._runs(tree.files, True),
            "process": list(checkpoint.process.items()),
            "mapped": [
                [process, [[start, end, piece.to_wire()] for start, end, piece in parts]]
                for process, parts in checkpoint.mapped.items()
            ],
            "stack": [[process, *span] for process, span in checkpoint.stack.items()],
        }
        frame = self._compressor.compress(_engine.pack(wire))
        place = Place(checkpoint.position, checkpoint.cost, len(self._lengths), self._end, len(frame))
        self._write(frame)
        self._places.append(place)

    def finish(self) -> None:
        """Puts the file into its place. Raises OSError."""
        index = {
            "version": _VERSION,
            "trace": self._identity,
            "pages": self._lengths.tobytes(),
            "checkpoints": [list(place) for place in self._places],
        }
        frame = self._compressor.compress(_engine.pack(index))
        trailer = _TRAILER.pack(_MAGIC, _TRAILER_BYTES - 8, self._end, len(frame), zlib.crc32(frame))
        self._write(frame)
        self._write(trailer + _TRAILER_CRC.pack(zlib.crc32(trailer)))
        self._file.close()
        os.rename(self._temporary, self._path)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._end += len(data)

    def _region(self, region: snapshot.Region) -> list[Any]:
        piece = region.piece.to_wire() if region.piece else None
        pages = self._runs(region.pages, region.piece is None)
        return [region.start, region.end, region.prot, region.shared, region.name, piece, pages]

    def _runs(self, runs: Sequence[tuple[int, bytes]], over_zeros: bool) -> list[int | bytes]:
        """Addresses, each with the numbers of the pages that lie there; without zeros where there are zeros anyhow."""
        packed: list[int | bytes] = []
        for start, data in runs:
            numbers = array("I")
            for at in range(0, len(data), _PAGE):
                page = data[at : at + _PAGE]
                if over_zeros and page == _ZEROS[: len(page)]:
                    if numbers:
                        packed += start + at - len(numbers) * _PAGE, numbers.tobytes()
                        numbers = array("I")
                else:
                    numbers.append(self._number(page))
            if numbers:
                packed += start + -(-len(data) // _PAGE) * _PAGE - len(numbers) * _PAGE, numbers.tobytes()
        return packed

    def _number(self, page: bytes) -> int:
        name = hash_of(page)
        number = self._known.setdefault(name, len(self._known))
        if number == len(self._lengths):
            frame = self._compressor.compress(page.ljust(_PAGE, b"\0"))
            self._lengths.append(len(frame))
            self._write(frame)
        return number


class Stored:
    """The checkpoints that a trace has on disk."""

    def __init__(self, trace: TraceReader) -> None:
        """Raises TraceError where they are damaged, or of another trace."""
        self._path = trace.path
        self.places: list[Place] = []
        self._frames: list[array[int]] = []  # of each checkpoint: where its pages end
        self._counts: list[int] = []
        self._file = trace.checkpoints()
        self.size = self._file.size if self._file else 0
        if self._file is None:
            return
        try:
            self._read_index(identity(trace))
        except (*_SYMPTOMS, struct.error) as error:
            self.close()
            raise self.damaged(error) from None
        except TraceError:
            self.close()
            raise

    def close(self) -> None:
        if self._file:
            self._file.close()

    def damaged(self, reason: object) -> TraceError:
        """What there is to be said of them."""
        return TraceError(f"{self._path}: its checkpoints are damaged ({reason}): without {self._advice}")

    @property
    def _advice(self) -> str:
        return f"the file '{CHECKPOINTS}' it is what it was, and 'pyrr checkpoint' makes them anew"

    def _read(self, offset: int, length: int) -> bytes:
        assert self._file is not None
        if not 0 <= offset <= offset + length <= self._file.size:
            raise ValueError("it ends early")
        return self._file.pread(length, offset)

    def _read_index(self, trace: str) -> None:
        trailer = self._read(self.size - _TRAILER_BYTES, _TRAILER_BYTES)
        magic, size, offset, length, crc = _TRAILER.unpack_from(trailer)
        known = magic == _MAGIC and size == _TRAILER_BYTES - 8
        if not known or zlib.crc32(trailer[: _TRAILER.size]) != _TRAILER_CRC.unpack_from(trailer, _TRAILER.size)[0]:
            raise ValueError("its end")
        frame = self._read(offset, length)
        if zlib.crc32(frame) != crc:
            raise ValueError("checksum of the index")
        index = _unpacked(frame)
        if index["version"] != _VERSION:
            raise TraceError(f"{self._path}: its checkpoints have version {index['version']}: without {self._advice}")
        if index["trace"] != trace:
            raise TraceError(f"{self._path}: its checkpoints are those of another trace: without {self._advice}")
        lengths = array("H", index["pages"])
        self.places = [Place(*map(_number, place)) for place in index["checkpoints"]]
        before, end = 0, 0
        for place in self.places:
            own = lengths[before : place.pages]
            self._frames.append(array("Q", accumulate(own, initial=end)))
            end = place.offset + place.length
            if len(own) != place.pages - before or self._frames[-1][-1] != place.offset or end > offset:
                raise ValueError("the index does not fit")
            self._counts.append(before)
            before = place.pages

    def before(self, position: int) -> Place | None:
        """The last one that is not behind a position."""
        return next((place for place in reversed(self.places) if place.position <= position), None)

    def load(self, place: Place) -> StoredCheckpoint:
        """Raises TraceError on damage."""
        try:
            wire = _unpacked(self._read(place.offset, place.length))
            pages = self._pages(_numbers_in(wire), place.pages)
            return StoredCheckpoint(
                place.position,
                place.cost,
                _tree(wire, pages),
                {int(task): int(process) for task, process in wire["process"]},
                {int(process): [_mapped(*part) for part in parts] for process, parts in wire["mapped"]},
                {int(process): (int(low), int(high)) for process, low, high in wire["stack"]},
            )
        except _SYMPTOMS as error:
            raise self.damaged(error) from None

    def _pages(self, wanted: set[int], limit: int) -> dict[int, bytes]:
        """Pages by number. Raises ValueError, OSError or ZstdError."""
        decompressor = zstandard.ZstdDecompressor()
        found: dict[int, bytes] = {}
        for first, end in _runs_of(sorted(wanted)):
            if end > limit:
                raise ValueError(f"it has no page {end - 1}")
            while first < end:
                index = bisect_right(self._counts, first) - 1
                count = self._counts[index]
                ends = self._frames[index]
                last = min(end, count + len(ends) - 1)
                start = ends[first - count]
                data = self._read(start, ends[last - count] - start)
                for number in range(first, last):
                    frame = data[ends[number - count] - start : ends[number - count + 1] - start]
                    found[number] = decompressor.decompress(frame, max_output_size=_PAGE)
                first = last
        return found


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)) or value < 0:
        raise TypeError("a number")
    return value


def _mapped(start: int, end: int, piece: Any) -> MappedPiece:
    return MappedPiece(int(start), int(end), FilePiece.from_wire(piece))


def _unpacked(frame: bytes) -> dict[str, Any]:
    plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=_LARGEST)
    wire = unpacked(plain)
    if not isinstance(wire, dict):
        raise TypeError("no map")
    return wire


def _runs_of(numbers: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield numbers[start], numbers[at - 1] + 1
            start = at


def _numbers_in(wire: dict[str, Any]) -> set[int]:
    found: set[int] = set()
    runs = [wire["files"]]
    for _, regions, trampolines in wire["spaces"]:
        runs += [trampolines, *(region[6] for region in regions)]
    for run in runs:
        for numbers in run[1::2]:
            found.update(array("I", numbers))
    return found


def _tree(wire: dict[str, Any], pages: dict[int, bytes]) -> Tree:
    def content(runs: list[Any]) -> list[tuple[int, bytes]]:
        pairs = zip(runs[::2], runs[1::2], strict=True)
        return [(int(at), b"".join(pages[number] for number in array("I", numbers))) for at, numbers in pairs]

    def region(
        start: int, end: int, prot: int, shared: bool, name: str, piece: Any, runs: list[Any]
    ) -> snapshot.Region:
        return snapshot.region(start, end, prot, shared, name, piece, content(runs))

    spaces = {
        int(task): Space(tuple(region(*one) for one in regions), tuple(content(trampolines)))
        for task, regions, trampolines in wire["spaces"]
    }
    return Tree(tuple(Actor(*actor) for actor in wire["actors"]), spaces, content(wire["files"]))
