"""Reads a trace. docs/trace-format.md specifies it."""

from __future__ import annotations

import os
import zlib

from . import _engine
from .encoded import encoded
from .errors import TraceError
from .events import EndEvent, decode
from .light import NamedTuple
from .trace_format import CHECKPOINTS, HEAD, HEAD_BYTES, HEAD_CRC, READABLE, SKIPPABLE_MAGIC, EventKind, hash_of
from .trace_place import place_of
from .wire import UnpackException, unpacked
from .zstd import zstandard

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from typing import Any

    from .events import Event
    from .trace_place import Part

_LARGEST_FRAME = 1 << 32
_KEPT_CHUNKS = 4
_CALLS = 1 << 12  # Linux has some hundred system calls
_PART = 1 << 18  # bytes of a stored file that are read at a time


class Chunk(NamedTuple):
    """Where the frame of some whole events lies in the file `events`."""

    first: int
    events: int
    offset: int
    length: int
    crc: int


class _Indexed(NamedTuple):
    """A chunk, decompressed: where its events begin (packed, and as numbers), and the times of those before."""

    data: bytes
    packed: bytes
    offsets: memoryview
    times: memoryview


class EventFilter(NamedTuple):
    """Events that are looked for in a long trace without decoding the others: of some kinds, system calls by their
    numbers, and those that wrote to stdout or stderr. A number that no kernel has lets every call through."""

    kinds: tuple[int, ...] = ()
    calls: tuple[int, ...] = ()
    output: bool = False

    def __or__(self, other: EventFilter) -> EventFilter:
        return EventFilter(self.kinds + other.kinds, self.calls + other.calls, self.output or other.output)


class TraceReader:
    """Reads a trace, whole or cut. Every method raises TraceError on damage."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._place = place_of(self.path)
        try:
            self._open()
        except TraceError:
            self._place.close()
            raise

    def _open(self) -> None:
        self.header = self._read_header()
        try:
            self._file = self._place.part("events")
        except FileNotFoundError:
            raise TraceError(f"{self.path} is not a trace: it has no events") from None
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: its events: {error.strerror}") from None
        self.chunks, self._tail = self._read_chunks()
        if not self.chunks:
            raise TraceError(f"{self.path} holds no event: the recorder ended before the first one was written")
        self._indexed: dict[int, _Indexed] = {}
        self.end = self._read_end()
        """The last event of a complete trace, which is a chunk of its own; None where the recording was cut."""
        times = self.end.times if self.end else ()
        self._times = [0, *times] if len(times) == len(self.chunks) - 1 else [0]  # before each chunk, as far as known
        self._sums = dict(self.end.files) if self.end else {}

    def __enter__(self) -> TraceReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._place.close()

    def _read_header(self) -> dict[str, Any]:
        try:
            with self._place.part("header") as part:
                packed = part.read()
        except (FileNotFoundError, NotADirectoryError):
            raise TraceError(f"{self.path} is not a trace: it has no header") from None
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: its header: {error.strerror}") from None
        if not packed:
            raise TraceError(f"{self.path} holds no event: the recorder ended before the first one was written")
        try:
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=1 << 24)
            header = unpacked(plain)
            version = header["format"]
            if not isinstance(header["command"], list):
                raise TypeError("command")
        except (zstandard.ZstdError, ValueError, KeyError, TypeError, UnpackException) as error:
            raise TraceError(f"{self.path}: the header is damaged ({error})") from None
        if version not in READABLE:
            *known, last = map(str, READABLE)
            words = f"this pyrr reads formats {', '.join(known)} and {last}"
            raise TraceError(f"{self.path} has format {version}; {words}")
        if len(packed) != _frame_size(packed):
            raise TraceError(f"{self.path}: the header is damaged (bytes behind its end)")
        return dict(header)

    def _read_chunks(self) -> tuple[list[Chunk], int]:
        """The whole chunks, and the number of bytes behind the last of them."""
        chunks: list[Chunk] = []
        size = self._file.size
        offset = 0
        expected = 0
        while offset + HEAD_BYTES <= size:
            head = self._file.pread(HEAD_BYTES, offset)
            magic, payload, first, count, length, crc = HEAD.unpack_from(head)
            known = magic == SKIPPABLE_MAGIC and payload == HEAD_BYTES - 8 and first == expected
            if not known or zlib.crc32(head[: HEAD.size]) != HEAD_CRC.unpack_from(head, HEAD.size)[0]:
                raise TraceError(f"{self.path}: the head of the chunk at byte {offset} is damaged")
            if offset + HEAD_BYTES + length > size:
                break
            chunks.append(Chunk(first, count, offset + HEAD_BYTES, length, crc))
            offset += HEAD_BYTES + length
            expected += count
        return chunks, size - offset

    @property
    def count(self) -> int:
        """Number of events."""
        last = self.chunks[-1]
        return last.first + last.events

    def _read_end(self) -> EndEvent | None:
        last = self.chunks[-1]
        if last.events != 1 or self._tail:
            return None
        try:
            event = decode(last.first, 0, unpacked(self.data_of(len(self.chunks) - 1)))
        except (ValueError, UnpackException) as error:
            raise TraceError(f"{self.path}: the chunk of event {last.first} is damaged ({error})") from None
        return event if isinstance(event, EndEvent) else None

    def check(self) -> None:
        """Compares every chunk with its checksum, so that nothing damaged is ever replayed."""
        for chunk in self.chunks:
            self._frame(chunk)

    def _frame(self, chunk: Chunk) -> bytes:
        frame = self._file.pread(chunk.length, chunk.offset)
        if zlib.crc32(frame) != chunk.crc:
            raise TraceError(f"{self.path}: the chunk of event {chunk.first} is damaged (checksum)")
        return frame

    def data_of(self, index: int) -> bytes:
        """The encoded events of a chunk."""
        frame = self._frame(self.chunks[index])
        try:
            return zstandard.ZstdDecompressor().decompress(frame, max_output_size=_LARGEST_FRAME)
        except zstandard.ZstdError as error:
            first = self.chunks[index].first
            raise TraceError(f"{self.path}: the chunk of event {first} is damaged ({error})") from None

    def size_of(self, index: int) -> int:
        """The bytes of the encoded events of a chunk, as it says itself; negative where it does not."""
        return int(zstandard.frame_content_size(self._frame(self.chunks[index])))

    def read_data(self, index: int, buffer: memoryview) -> None:
        """Fills a buffer with the encoded events of a chunk. Raises ValueError where it is not as long."""
        reader = zstandard.ZstdDecompressor().stream_reader(self._frame(self.chunks[index]))
        if reader.readinto(buffer) != len(buffer) or reader.read(1):
            raise ValueError("a chunk of another size than it says")

    def _index(self, index: int) -> _Indexed:
        """A chunk, decompressed; the last few are kept."""
        found = self._indexed.pop(index, None)
        if found is None:
            data = self.data_of(index)
            try:
                offsets, times = _engine.index(data, self.chunks[index].events)
            except ValueError as error:
                first = self.chunks[index].first
                raise TraceError(f"{self.path}: the chunk of event {first} is damaged ({error})") from None
            found = _Indexed(data, offsets, memoryview(offsets).cast("Q"), memoryview(times).cast("q"))
        self._indexed[index] = found
        if len(self._indexed) > _KEPT_CHUNKS:
            del self._indexed[next(iter(self._indexed))]
        return found

    def kept_data_of(self, index: int) -> bytes:
        """As `data_of`, for a chunk that may be asked for again soon."""
        return self._index(index).data

    def _time_before(self, index: int) -> int:
        while len(self._times) <= index:
            last = len(self._times) - 1
            self._times.append(self._times[last] + self._index(last).times[-1])
        return self._times[index]

    def _decode(self, index: int, start: int, until: int) -> Iterator[Event]:
        """The events of a chunk from `start` up to and without `until`, counted from its first."""
        time, chunk = self._time_before(index), self._index(index)
        time += chunk.times[start]
        number = self.chunks[index].first + start
        try:
            for stored in encoded(chunk.data, chunk.offsets[start], chunk.offsets[until]):
                event = decode(number, time, stored.wire)
                number, time = number + 1, event.time
                yield event
        except (ValueError, UnpackException, UnicodeDecodeError) as error:
            first = self.chunks[index].first
            raise TraceError(f"{self.path}: the chunk of event {first} is damaged ({error})") from None

    def frames(self, until: int) -> Iterator[tuple[bytes, int]]:
        """The chunks that end before event `until`, or with the one before it, as they lie there with their heads, and
        the time of the last event of each."""
        for index, chunk in enumerate(self.chunks):
            if chunk.first + chunk.events > until:
                return
            self._frame(chunk)  # is whole
            yield self._file.pread(HEAD_BYTES + chunk.length, chunk.offset - HEAD_BYTES), self._time_before(index + 1)

    def rest_of_chunk(self, until: int) -> tuple[int, int, bytes]:
        """Of the chunk that event `until` lies in, without being its first: number of the first event, how many come
        before `until`, and these, encoded."""
        index = self.chunk_of(until)
        first = self.chunks[index].first
        whole = until >= first + self.chunks[index].events
        count = 0 if whole else until - first
        chunk = self._index(index)
        return first, count, chunk.data[: chunk.offsets[count]] if count else b""

    def sum_of(self, hash_: str) -> int:
        """The CRC-32 of a stored file as it lies there."""
        return self._sums[hash_] if hash_ in self._sums else self._sum_of(hash_)

    def chunk_of(self, number: int) -> int:
        """Index of the chunk that holds event `number`."""
        low, high = 0, len(self.chunks) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.chunks[middle].first <= number else (low, middle - 1)
        return low

    def event(self, number: int) -> Event:
        """Event `number`, which must exist."""
        for event in self.events(number, number + 1):
            return event
        raise IndexError(number)

    def events(self, start: int = 0, until: int | None = None) -> Iterator[Event]:
        """The events from `start` up to and without `until`."""
        until = self.count if until is None else min(until, self.count)
        if start >= until:
            return
        for index in range(self.chunk_of(start), len(self.chunks)):
            chunk = self.chunks[index]
            if chunk.first >= until:
                return
            yield from self._decode(index, max(start - chunk.first, 0), min(until - chunk.first, chunk.events))

    def select(
        self, wanted: EventFilter, start: int = 0, until: int | None = None, backward: bool = False
    ) -> Iterator[Event]:
        """The events from `start` up to and without `until` that a filter lets through; `backward`: the last first."""
        until = self.count if until is None else min(until, self.count)
        if start >= until or not any(wanted):
            return
        unknown = any(number >= _CALLS for number in wanted.calls)
        kinds = sum(1 << kind for kind in {*wanted.kinds, *([EventKind.SYSCALL] if unknown else [])})
        calls = bytes(number in wanted.calls for number in range(min(_CALLS, max(wanted.calls, default=-1) + 1)))
        indexes = range(self.chunk_of(start), self.chunk_of(until - 1) + 1)
        for index in reversed(indexes) if backward else indexes:
            chunk, first = self._index(index), self.chunks[index].first
            packed = _engine.select(chunk.data, chunk.packed, kinds, calls, wanted.output)
            found = memoryview(packed).cast("I").tolist()
            for at in reversed(found) if backward else found:
                if start <= first + at < until:
                    yield from self._decode(index, at, at + 1)

    def tally(self) -> tuple[dict[int, int], set[int]]:
        """How often each system call was made, by its number, and the tasks that have events. Decodes none of them."""
        calls: dict[int, int] = {}
        tasks: set[int] = set()
        for index in range(len(self.chunks)):
            chunk = self._index(index)
            _engine.tally(chunk.data, chunk.packed, calls, tasks)
        return calls, tasks

    @property
    def duration(self) -> int:
        """Microseconds from the start of the recording to its last event."""
        return self._time_before(len(self.chunks))

    def at_time(self, time: int) -> int:
        """The number of the first event that was recorded so many microseconds after the start, or later."""
        index = next((i for i in range(len(self.chunks)) if self._time_before(i + 1) >= time), len(self.chunks) - 1)
        return next((e.number for e in self.events(self.chunks[index].first) if e.time >= time), self.count)

    def files(self) -> list[str]:
        """The names of all stored files, and of those that are missing."""
        try:
            return sorted({*self._place.stored(), *self._sums})
        except OSError as error:
            raise TraceError(f"{self.path}: its stored files: {error.strerror}") from None

    def check_files(self, whole: bool = False, without: Container[str] = ()) -> None:
        """Looks for damage in the stored files, but for those that are named."""
        for hash_ in self.files():
            if hash_ not in without:
                self.check_file(hash_, whole)

    def check_file(self, hash_: str, whole: bool = False) -> None:
        """Compares a stored file with the checksum that the last event has of it.

        Where that has none, or if `whole`, the content is compared with its name, which takes ten times as long.
        """
        if whole or hash_ not in self._sums:
            self.file(hash_)
        elif self._sum_of(hash_) != self._sums[hash_]:
            raise TraceError(f"{self.path}: the stored file {hash_} is damaged (checksum)")

    def _sum_of(self, hash_: str) -> int:
        crc = 0
        part = bytearray(_PART)
        try:
            with self._open_file(hash_) as file:
                while size := file.readinto(part):
                    crc = zlib.crc32(memoryview(part)[:size], crc)
        except OSError as error:
            raise TraceError(f"{self.path}: the stored file {hash_}: {error.strerror}") from None
        return crc

    def stored(self, hash_: str) -> StoredFile:
        """A file of the store, to be read from its beginning."""
        stored = StoredFile(lambda: self._open_file(hash_), f"{self.path}: the stored file {hash_}")
        if stored.size < 0:
            stored.size = len(self.file(hash_))
        return stored

    def file(self, hash_: str) -> bytes:
        """Content of the store, compared with its name."""
        with self._open_file(hash_) as file:
            packed = file.read()
        try:
            content = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST_FRAME)
        except zstandard.ZstdError as error:
            raise TraceError(f"{self.path}: the stored file {hash_} is damaged ({error})") from None
        if hash_of(content) != hash_ or _frame_size(packed) != len(packed):
            raise TraceError(f"{self.path}: the stored file {hash_} is damaged (checksum)")
        return content

    def packed_file(self, hash_: str) -> Part:
        """A file of the store as it lies there, compressed; to be closed by the caller."""
        return self._open_file(hash_)

    def packed_events(self) -> Part:
        """The chunks of events as they lie there."""
        return self._place.part("events")

    @property
    def has_checkpoints(self) -> bool:
        """Whether checkpoints lie in the trace."""
        part = self.checkpoints()
        if part:
            part.close()
        return part is not None

    def checkpoints(self) -> Part | None:
        """The file of checkpoints, to be closed by the caller; None if the trace has none."""
        try:
            return self._place.part(CHECKPOINTS)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TraceError(f"{self.path}: its checkpoints: {error.strerror}") from None

    def _open_file(self, hash_: str) -> Part:
        if not hash_.isalnum():
            raise TraceError(f"{self.path}: {hash_!r} names no stored file")
        try:
            return self._place.part(f"files/{hash_}")
        except OSError as error:
            raise TraceError(f"{self.path}: the stored file {hash_}: {error.strerror}") from None

    @property
    def size(self) -> int:
        """Bytes on disk, the store included."""
        try:
            return self._place.size()
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.filename}: {error.strerror}") from None

    @property
    def event_size(self) -> int:
        """Bytes of the events on disk."""
        return self._file.size

    def source(self, path: str) -> bytes | None:
        """A source file of the recorded program, as `pyrr pack` has kept it; None if it has not."""
        hash_ = self.header.get("sources", {}).get(path)
        return None if hash_ is None else self.file(str(hash_))


class StoredFile:
    """The content of a stored file, decompressed as far as it is read; `size` is its length. The file is open only
    while it is read: a program maps more files than a process may have open (RLIMIT_NOFILE)."""

    def __init__(self, opened: Callable[[], Part], name: str) -> None:
        """Raises TraceError on damage, as does `read`."""
        self._name = name
        try:
            with opened() as file:
                head = file.pread(18, 0)  # the longest frame header (RFC 8878, 3.1.1.1)
            self.size = int(zstandard.frame_content_size(head))
            source: Any = _Reopened(opened)
            self._stream: Any = zstandard.ZstdDecompressor().stream_reader(source, read_size=_PART)
        except OSError as error:
            raise TraceError(f"{name}: {error.strerror}") from None
        except zstandard.ZstdError as error:
            raise TraceError(f"{name} is damaged ({error})") from None

    def close(self) -> None:
        self._stream.close()

    def read(self, buffer: bytearray | memoryview) -> int:
        """Fills a buffer with what follows; the number of bytes, 0 at the end."""
        try:
            return int(self._stream.readinto(buffer))
        except OSError as error:
            raise TraceError(f"{self._name}: {error.strerror}") from None
        except zstandard.ZstdError as error:
            raise TraceError(f"{self._name} is damaged ({error})") from None


class _Reopened:
    """All that zstandard asks of a file, of one that is opened anew for each read."""

    def __init__(self, opened: Callable[[], Part]) -> None:
        self._opened = opened
        self._at = 0

    def read(self, size: int) -> bytes:
        with self._opened() as file:
            data = file.pread(size, self._at)
        self._at += len(data)
        return data


def _frame_size(packed: bytes) -> int:
    """Length of the zstd frame at the start of `packed` (RFC 8878): what follows it is damage."""
    at = zstandard.frame_header_size(packed)
    last = False
    while not last:
        if at + 3 > len(packed):
            return -1
        block = int.from_bytes(packed[at : at + 3], "little")
        last = bool(block & 1)
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    return at + (4 if zstandard.get_frame_parameters(packed).has_checksum else 0)
