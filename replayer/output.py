"""What a recorded program wrote to the recorder's stdout and stderr, write by write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from ..events import SyscallEvent
from ..trace_reader import TraceReader


def writes(trace: TraceReader) -> Iterator[tuple[SyscallEvent, bytes]]:
    """Each event that wrote to one of the two, with what it wrote: replayed, as far as is asked for."""
    from .session import ReplaySession

    descriptor = os.memfd_create("pyrr output", os.MFD_CLOEXEC)
    with closing(_Pipe(descriptor)) as pipe, ReplaySession(trace, descriptor, descriptor) as session:
        for event in trace.events():
            if isinstance(event, SyscallEvent) and event.stream:
                session.run(event.number + 1)
                yield event, pipe.take()


class _Pipe:
    """A memory file that is emptied as it is written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self) -> bytes:
        size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        data = os.pread(self._descriptor, size, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return data

    def close(self) -> None:
        os.close(self._descriptor)
