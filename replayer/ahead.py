"""Chunks of a trace, decompressed on another processor before they are needed."""

from __future__ import annotations

import _thread
import os

from .. import threads

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from ..trace_reader import TraceReader

_LARGEST = 1 << 28  # bytes of a chunk that is decompressed ahead
_SMALL = 64  # events of a chunk that is not worth a thread


class ChunksAhead:
    """Gives the encoded events of chunks; while one is replayed, a thread decompresses the next.

    Two buffers take turns, since fresh memory costs more than decompression: what `data_of` gave is valid until
    `begin` is called for the second chunk behind it.
    """

    def __init__(self, trace: TraceReader) -> None:
        self._trace = trace
        self._processors = os.sched_getaffinity(0)
        self._buffers = [bytearray(), bytearray()]
        self._next: int | None = None  # what the thread works at, or has done
        self._data: memoryview | None = None  # of it; None where that has failed
        self._asked, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._asked.acquire()
        self._done.acquire()
        self._has_thread = False

    def data_of(self, index: int) -> bytes | memoryview:
        """The events of a chunk. Raises TraceError on damage."""
        begun, data = self._wait()
        return data if begun == index and data is not None else self._trace.data_of(index)

    def begin(self, index: int) -> None:
        """Has a chunk decompressed that will be asked for, if there is one that is worth it."""
        if index >= len(self._trace.chunks) or self._trace.chunks[index].events < _SMALL:
            return
        self._wait()
        if not self._has_thread:
            try:
                threads.start(self._work, self._processors - os.sched_getaffinity(0))
            except RuntimeError:  # none is to be had
                return
            self._has_thread = True
        self._next = index
        self._asked.release()

    def close(self) -> None:
        """Ends the thread."""
        self._wait()
        if self._has_thread:
            self._has_thread = False
            self._asked.release()

    def _wait(self) -> tuple[int | None, memoryview | None]:
        begun = self._next
        if begun is not None:
            self._done.acquire()
            self._next = None
        return begun, self._data

    def _work(self, processors: set[int]) -> None:
        if processors:
            os.sched_setaffinity(0, processors)
        while True:
            self._asked.acquire()
            if self._next is None:
                return
            try:
                self._data = self._decompress(self._next)
            except Exception:
                self._data = None  # it is tried once more by who asks
            self._done.release()

    def _decompress(self, index: int) -> memoryview:
        size = self._trace.size_of(index)
        if not 0 < size <= _LARGEST:
            raise ValueError("a chunk of unknown or impossible size")
        if size > len(self._buffers[index % 2]):
            self._buffers[index % 2] = bytearray(size)
        data = memoryview(self._buffers[index % 2])[:size]
        self._trace.read_data(index, data)
        return data
