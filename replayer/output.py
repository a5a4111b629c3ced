"""What a recorded program wrote to the recorder's stdout and stderr, write by write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from ..events import SyscallEvent
from ..trace_reader import EventFilter, TraceReader

if TYPE_CHECKING:
    from .session import ReplaySession

_WRITE = 1
_OUTPUT = EventFilter(output=True)
_FIRST_LOOK = 64  # writes


def writes(trace: TraceReader) -> Iterator[tuple[SyscallEvent, bytes]]:
    """Each event that wrote to one of the two, with what it wrote, as far as is asked for."""
    with closing(_Replayed(trace)) as replayed:
        for event in trace.select(_OUTPUT):
            if isinstance(event, SyscallEvent):
                yield event, replayed.data_of(event)


def last_writes(trace: TraceReader) -> Iterator[list[tuple[SyscallEvent, bytes]]]:
    """The last writes, from the beginning of a line on; then more of them, up to all: as far as is asked for."""
    size, total = _FIRST_LOOK, -1
    known: dict[int, bytes] = {}
    while size != total:
        events = [e for e in islice(trace.select(_OUTPUT, backward=True), size) if isinstance(e, SyscallEvent)][::-1]
        if len(events) < size:
            size = total = len(events)
        with closing(_Replayed(trace)) as replayed:
            for event in events:
                if event.number not in known:
                    known[event.number] = replayed.data_of(event)
        found = [(event, known[event.number]) for event in events]
        yield found if size == total else _whole_lines(found)
        if size != total:
            size *= 8


def _whole_lines(written: list[tuple[SyscallEvent, bytes]]) -> list[tuple[SyscallEvent, bytes]]:
    begun: set[int] = set()
    found = []
    for event, data in written:
        if event.stream in begun:
            found.append((event, data))
        elif b"\n" in data:
            begun.add(event.stream)
            found.append((event, data[data.rfind(b"\n") + 1 :]))
    return found


class _Replayed:
    """What events wrote: as the trace has it, or by a replay, which goes forward only."""

    def __init__(self, trace: TraceReader) -> None:
        self._trace = trace
        self._descriptor = os.memfd_create("pyrr output", os.MFD_CLOEXEC)
        self._session: ReplaySession | None = None

    def data_of(self, event: SyscallEvent) -> bytes:
        from .session import ReplaySession

        if event.nr == _WRITE and event.inputs and 0 <= event.result <= len(event.inputs[0][1]):
            return event.inputs[0][1][: event.result]
        if self._session is None:
            self._session = ReplaySession(self._trace, self._descriptor, self._descriptor)
        self._session.approach(event.number, self._session.cost)
        self._session.run(event.number)
        self._take()
        self._session.run(event.number + 1)
        return self._take()

    def _take(self) -> bytes:
        size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        data = os.pread(self._descriptor, size, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return data

    def close(self) -> None:
        if self._session:
            self._session.close()
        os.close(self._descriptor)
