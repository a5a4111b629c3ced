"""`pyrr pack`: a trace as one file that needs nothing else, with what is to stay private replaced.

docs/trace-format.md, "Packed traces", says what such a file is; trace_place.py reads it.
"""

from __future__ import annotations

import os
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _engine
from .encoded import encoded
from .errors import PyrrError
from .events import SyscallEvent
from .redaction import Redaction
from .state.contents import Contents
from .state.descriptors import status_of
from .state.history import History
from .syscalls import TABLE
from .trace_format import CHECKPOINTS, HEAD, HEAD_BYTES, HEAD_CRC, SKIPPABLE_MAGIC, hash_of
from .trace_reader import TraceReader
from .zstd import zstandard

if TYPE_CHECKING:
    from .state.call import Call
    from .state.world import World
    from .trace_place import Part

_LEVEL = 9
_LARGE = 1 << 31
_AT_ONCE = 1 << 20
_LONGEST_SOURCE = 1 << 24
_NAMES_A_FILE = {"open": None, "stat": None, "lstat": None, "openat": 0, "newfstatat": 0, "statx": 0}
"""Calls that name a file: which argument is the directory."""


@dataclass
class Packed:
    """What was packed. `stops_at` is the event at which a replay of what was redacted is not the recording any more."""

    sources: int
    redacted: int
    stops_at: int | None
    size: int


@dataclass
class _Source:
    path: str
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Sizes and times of change that the program was told."""


def pack(reader: TraceReader, output: str, redaction: Redaction | None = None) -> Packed:
    """Writes a trace to a new file. Raises PyrrError where it is damaged, or cannot be written."""
    reader.check()
    reader.check_files()
    if redaction is not None:
        redaction.learn(reader)
    sources = dict(_sources(reader, redaction))
    packed = Packed(len(sources), redaction.count if redaction else 0, None, 0)
    temporary = f"{output}.{os.getpid()}"
    if os.path.lexists(output):
        raise PyrrError(f"{output} exists already: name another file, or remove it")
    try:
        _write(reader, temporary, sources, redaction, None)
        if redaction is not None:
            packed.stops_at = _replay(temporary)
            if packed.stops_at is not None:
                os.unlink(temporary)
                _write(reader, temporary, sources, redaction, packed.stops_at)
        packed.size = os.path.getsize(temporary)
        os.rename(temporary, output)
    except OSError as error:
        raise PyrrError(f"{output} cannot be written: {error.strerror}") from None
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    return packed


def _write(
    reader: TraceReader, path: str, sources: dict[str, bytes], redaction: Redaction | None, stops_at: int | None
) -> None:
    header = dict(reader.header)
    header["packed"] = time.time()
    stored = set(reader.files())
    header["sources"] = {name: hash_of(content) for name, content in sources.items()}
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
    with file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for content in sources.values():
            if hash_of(content) not in stored:
                stored.add(hash_of(content))
                _add(archive, f"files/{hash_of(content)}", _compress(content))
        sums: dict[str, int] = {}
        for hash_ in reader.files():
            changed = redaction.file(hash_, reader.file(hash_)) if redaction else None
            if changed is None:
                with reader.packed_file(hash_) as part:
                    sums[hash_] = _copy(archive, f"files/{hash_}", part)
            elif (name := hash_of(changed)) not in stored:
                stored.add(name)
                data = _compress(changed)
                sums[name] = zlib.crc32(data)
                _add(archive, f"files/{name}", data)
        if redaction is None:
            _copy(archive, "events", reader.packed_events())
            if checkpoints := reader.checkpoints():
                with checkpoints:
                    _copy(archive, CHECKPOINTS, checkpoints)
        else:
            header = redaction.value(header)
            header["redacted"] = {**redaction.statement(), "stops_at": stops_at}
            with archive.open(zipfile.ZipInfo("events"), "w", force_zip64=True) as target:
                for chunk in _redacted(reader, redaction, sums):
                    target.write(chunk)
        _add(archive, "header", _compress(_engine.pack(header)))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # without a time: two packs of a trace differ by their header alone


def _copy(archive: zipfile.ZipFile, name: str, part: Part) -> int:
    """Copies a member as it is; its CRC-32."""
    crc = 0
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=part.size >= _LARGE) as target:
        while data := part.read(_AT_ONCE):
            crc = zlib.crc32(data, crc)
            target.write(data)
    return crc


def _compress(data: bytes) -> bytes:
    packed: bytes = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)
    return packed


def _redacted(reader: TraceReader, redaction: Redaction, sums: dict[str, int]) -> Iterator[bytes]:
    """The chunks of events, with other content."""
    for index, chunk in enumerate(reader.chunks):
        stored = encoded(reader.data_of(index))
        events = [redaction.event(chunk.first + at, event.wire, sums) for at, event in enumerate(stored)]
        frame = _compress(b"".join(map(_engine.pack, events)))
        head = HEAD.pack(SKIPPABLE_MAGIC, HEAD_BYTES - 8, chunk.first, chunk.events, len(frame), zlib.crc32(frame))
        yield head + HEAD_CRC.pack(zlib.crc32(head)) + frame


def _replay(path: str) -> int | None:
    """The event at which a replay is not the recording; None if it is to its end."""
    from .replayer.session import DivergenceError, ReplaySession

    with TraceReader(path) as reader, ReplaySession(reader) as session:
        try:
            session.run()
        except DivergenceError as error:
            return error.event.number
    return None


# ---- the sources of the modules that a program has seen ----


def _sources(reader: TraceReader, redaction: Redaction | None) -> Iterator[tuple[str, bytes]]:
    """Path and content of each Python source that the program looked at, as it was then: from the disk if it has not
    changed, or from what the program has read of it."""
    history = History()
    found: dict[str, _Source] = {}
    for event in reader.events():
        if isinstance(event, SyscallEvent) and event.result >= 0:
            row, call = TABLE.get(event.nr), history.call(event)
            if row and call and row.name in _NAMES_A_FILE:
                _see(history.world, call, row.name, found)
        history.apply(event)
    contents: Contents | None = None
    files = history.world.files
    for source in found.values():
        if redaction is not None and redaction.names_file(source.path):
            continue
        content = _unchanged(source, reader.header.get("started", 0))
        if content is None and (file := files.get(source.path)) is not None and file.reads:
            contents = contents or Contents(reader, history.state())
            content, gaps = contents.of_file(file)
            if gaps:
                continue
        if content is not None:
            yield source.path, redaction.scrub(content) if redaction else content


def _see(world: World, call: Call, name: str, found: dict[str, _Source]) -> None:
    directory = _NAMES_A_FILE[name]
    text = call.text(0 if directory is None else 1)
    if not text.endswith(".py"):
        return
    path = world.resolve(call, None if directory is None else call.signed(directory), text)
    source = found.setdefault(path, _Source(path))
    status = status_of(name, call) if "stat" in name else None
    if status is not None:
        source.seen.add((status[3], status[4]))


def _unchanged(source: _Source, started: float) -> bytes | None:
    """A source as it is on the disk, if it is what the program saw."""
    try:
        with open(source.path, "rb") as file:
            present = os.fstat(file.fileno())
            if not stat.S_ISREG(present.st_mode) or present.st_size > _LONGEST_SOURCE:
                return None
            same = (present.st_size, present.st_mtime_ns) in source.seen
            if same or (not source.seen and present.st_mtime < started):
                return file.read()
    except OSError:
        pass
    return None
