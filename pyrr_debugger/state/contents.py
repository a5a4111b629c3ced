"""The bytes that a state speaks of: what is in flight in pipes and sockets, and what files hold.

A read is in the log with all that it brought. Of a long write the log has the beginning only; the rest is in the
memory of the replayed program, just before that event.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import PyrrError, TraceError
from ..events import SyscallEvent
from .model import Description, File, MemFd, OpenFile, PipeEnd, ProgramState, PtyMaster, Socket, Span

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession
    from ..trace_reader import TraceReader

Extents = list[tuple[int, int]]
Reader = Callable[[int, int], bytes]

_WRITE, _PWRITE, _SENDTO, _SENDMSG, _SENDMMSG = 1, 18, 44, 46, 307
_READ, _PREAD = 0, 17
_WRITE_VECTORS, _READ_VECTORS = (20, 296, 328, 278), (19, 295, 327)
_MSGHDR_IOVECS = 16  # offset of msg_iov in struct msghdr, msg_iovlen follows
_LARGEST_FILE = 1 << 32
UNKNOWN_END = -1
"""As the end of a gap: to the end of the file, wherever that is."""


class Contents:
    """Reads the bytes of a state. A replay is begun only when the log does not hold what is asked for, once for all."""

    def __init__(self, trace: TraceReader, state: ProgramState) -> None:
        self._trace = trace
        self._state = state
        self._known: dict[int, builtins.bytes] = {}  # what a call transferred, by event
        self._later: dict[int, File] | None = None

    def bytes(self, spans: Iterable[Span]) -> builtins.bytes:
        """What calls wrote, one after the other. Raises PyrrError where the trace does not have it."""
        spans = list(spans)
        self._fetch(spans)
        return b"".join(self._span(span) for span in spans)

    def of_file(self, file: File) -> tuple[builtins.bytes, Extents]:
        """The content of a file at the position, as far as the trace has it, and the gaps between: (start, end),
        with zeros in their place. The last one may end at `UNKNOWN_END`."""
        parts = list(self._parts(file))
        ends = [start + len(data) for start, data in parts]
        size = file.size if file.size is not None else max(ends, default=0)
        if size > _LARGEST_FILE:
            raise PyrrError(f"{file.path} has {size} bytes: too many to be made from the trace")
        content = bytearray(size)
        covered: Extents = [(0, size)] if file.created and file.spans is not None else []
        for start, data in parts:
            data = data[: max(0, size - start)]
            content[start : start + len(data)] = data
            covered.append((start, start + len(data)))
        gaps = _gaps(covered, size)
        if file.size is None:
            gaps.append((size, UNKNOWN_END))
        return builtins.bytes(content), gaps

    def _parts(self, file: File) -> Iterator[tuple[int, builtins.bytes]]:
        """What is known of a file, from the oldest to the newest."""
        for piece in file.stored:
            yield piece.start, self._trace.file(piece.hash)
        later = [] if file.created else self._read_later(file)
        spans = sorted(file.reads + (file.spans or []) + later, key=lambda one: one.event)
        self._fetch(spans)
        for span in spans:
            is_later = span.event >= self._state.position
            if is_later and any(_overlap(span, other) for other in file.spans or []):
                continue  # what the program had written by then is known already
            yield span.offset, self._span(span)

    def _read_later(self, file: File) -> list[Span]:
        """What the program read of a file behind the position, where nobody had written since."""
        from .history import History

        if self._later is None:
            history = History()
            for event in self._trace.events():
                history.apply(event)
            self._later = {found.id: found for found in history.world.known_files()}
        # A walk of the same events numbers the same objects in the same way.
        same = self._later.get(file.id)
        if same is None or same.spans is None or same.path != file.path:
            return []
        position = self._state.position
        written = [span for span in same.spans if span.event >= position]
        read = [span for span in same.reads if span.event >= position]
        return [r for r in read if not any(w.event < r.event and _overlap(w, r) for w in written)]

    # ---- calls ----

    def _span(self, span: Span) -> builtins.bytes:
        data = self._transferred(span.event, span.skip + span.length)
        return data[span.skip : span.skip + span.length]

    def _transferred(self, number: int, length: int) -> builtins.bytes:
        """The first bytes that a call has moved."""
        data = self._known.get(number)
        if data is None:
            data = _in_log(self._call(number), length) or b""
        if len(data) < length:
            raise PyrrError(f"what event {number} has written is not in the trace, nor in the memory of the program")
        return data

    def _call(self, number: int) -> SyscallEvent:
        event = self._trace.event(number)
        if not isinstance(event, SyscallEvent):
            raise TraceError(f"{self._trace.path}: event {number} is no call")
        return event

    def needed(self) -> list[int]:
        """The events at which a replay must look into memory, to have all that is in flight and in files without a
        name."""
        return self._missing(_spans_of(self._state))

    def gather(self, session: ReplaySession, numbers: list[int] | None = None) -> None:
        """Goes to each of these events, in their order, and keeps what was written with it."""
        for number in self.needed() if numbers is None else numbers:
            session.seek(number)
            self._known[number] = _in_memory(session, self._call(number))

    def _missing(self, spans: Iterable[Span]) -> list[int]:
        """The events of some spans of which the log does not have all."""
        numbers: set[int] = set()
        for span in spans:
            if span.event not in self._known and span.event not in numbers:
                event = self._call(span.event)
                if event.sent:
                    self._known[span.event] = event.sent
                elif _in_log(event, event.result) is None:
                    numbers.add(span.event)
        return sorted(numbers)

    def _fetch(self, spans: list[Span]) -> None:
        """Replays, once, if there is something that the log does not have."""
        missing = self._missing(spans)
        if missing:
            from ..replayer.session import ReplaySession

            with ReplaySession(self._trace) as session:
                self.gather(session, sorted({*missing, *self.needed()}))


def _spans_of(state: ProgramState) -> Iterator[Span]:
    """All that was written and is neither read nor in a file that has a name."""
    seen: set[int] = set()
    waiting = [slot.description for p in state.processes.values() for slot in p.descriptors.values()]
    mapped = [m.file for p in state.processes.values() for m in p.memory.mappings if m.file]
    while waiting:
        description = waiting.pop()
        if description.id in seen:
            continue
        seen.add(description.id)
        yield from _spans_of_one(description)
        if isinstance(description, Socket):
            waiting += [passed for message in description.queue + description.early for passed in message.passed]
    for file in mapped:
        if file.deleted and file.id not in seen:
            seen.add(file.id)
            yield from file.spans or []


def _spans_of_one(description: Description) -> Iterator[Span]:
    match description:
        case PipeEnd():
            yield from description.pipe.queue
        case Socket():
            for message in description.queue + description.early:
                yield from message.spans
        case PtyMaster():
            yield from description.pty.to_slave
            yield from description.pty.to_master
        case OpenFile() | MemFd() if description.file.deleted:
            yield from description.file.spans or []


def _overlap(one: Span, other: Span) -> bool:
    return one.offset < other.offset + other.length and other.offset < one.offset + one.length


def _gaps(covered: Extents, size: int) -> Extents:
    gaps: Extents = []
    at = 0
    for start, end in sorted(covered):
        if start > at:
            gaps.append((at, start))
        at = max(at, end)
    return [*gaps, (at, size)] if at < size else gaps


# ---- where the bytes of a call lie ----


def _in_log(event: SyscallEvent, length: int) -> bytes | None:
    """What a call has moved, from its event alone: None where that has only a part."""
    if event.nr == _READ or event.nr == _PREAD:
        return _pick(event.outputs, [(event.args[1], event.result)])
    if event.nr in _READ_VECTORS:
        return _pick(event.outputs, _cut(_vectors(event, event.args[1], event.args[2]) or [], event.result))
    extents = _written(event)
    return None if extents is None else _pick(event.inputs, _cut(extents, length))


def _in_memory(session: ReplaySession, event: SyscallEvent) -> bytes:
    """What a call is about to write, from the memory of its task."""

    def read(address: int, size: int) -> bytes:
        return session.read(event.task, address, size)

    if event.task not in session.tasks:
        return b""
    extents = _written(event)
    if extents is None:
        extents = _written_by_memory(event, read)
    return b"".join(read(address, size) for address, size in extents)


def _written(event: SyscallEvent) -> Extents | None:
    """Where what a call has written lies; None where the log does not tell all of it, [] where it never was in
    memory."""
    args = event.args
    if event.nr in (_WRITE, _PWRITE, _SENDTO):
        return [(args[1], event.result)]
    if event.nr in _WRITE_VECTORS:
        found = _vectors(event, args[1], args[2])
        return None if found is None else _cut(found, event.result)
    if event.nr == _SENDMSG:
        header = _pick(event.inputs, [(args[1], 56)])
        if header is None:
            return None
        array, count = struct.unpack_from("<QQ", header, _MSGHDR_IOVECS)
        found = _vectors(event, array, count)
        return None if found is None else _cut(found, event.result)
    return None if event.nr == _SENDMMSG else []


def _written_by_memory(event: SyscallEvent, read: Reader) -> Extents:
    def vectors(array: int, count: int) -> Extents:
        words = memoryview(read(array, 16 * count)).cast("Q").tolist()
        return list(zip(words[::2], words[1::2], strict=True))

    if event.nr in _WRITE_VECTORS:
        return _cut(vectors(event.args[1], event.args[2]), event.result)
    found: Extents = []
    for index in range(event.result if event.nr == _SENDMMSG else 1):
        entry = event.args[1] + 64 * index
        extents = vectors(*struct.unpack_from("<QQ", read(entry, 56), _MSGHDR_IOVECS))
        if event.nr == _SENDMSG:
            return _cut(extents, event.result)
        sent = _pick(event.outputs, [(entry + 56, 4)]) or bytes(4)
        found += _cut(extents, int.from_bytes(sent, "little"))
    return found


def _vectors(event: SyscallEvent, array: int, count: int) -> Extents | None:
    data = _pick(event.inputs, [(array, 16 * count)])
    if data is None:
        return None
    words = struct.unpack(f"<{2 * count}Q", data)
    return list(zip(words[::2], words[1::2], strict=True))


def _cut(extents: Extents, length: int) -> Extents:
    """As much of some extents as a length goes."""
    found: Extents = []
    for address, size in extents:
        if length <= 0:
            break
        found.append((address, min(size, length)))
        length -= size
    return found


def _pick(memory: Iterable[tuple[int, bytes]], extents: Extents) -> bytes | None:
    """Bytes of the memory that an event has; None where it does not have all."""
    parts: list[bytes] = []
    chunks = list(memory)
    for address, size in extents:
        for start, data in chunks:
            if start <= address and address + size <= start + len(data):
                parts.append(data[address - start : address - start + size])
                break
        else:
            if size:
                return None
    return b"".join(parts)
