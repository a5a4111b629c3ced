"""Writes a trace: a private directory that grows as the program runs. docs/trace-format.md specifies it.

`header` says what was recorded, `events` holds the chunks, `files/` the content-addressed store. Compressing and
writing is done by a thread of its own, in order: a chunk reaches the disk after the files it names.
"""

from __future__ import annotations

import _thread
import errno
import os
import zlib
from _queue import SimpleQueue

from . import _engine, threads
from .light import suppress
from .store import FileCache
from .trace_format import FORMAT, HEAD, HEAD_BYTES, HEAD_CRC, SKIPPABLE_MAGIC

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import zstandard

_MOST_WAITING = 8  # chunks and files, which lie in memory meanwhile
_LEVEL = 1  # 3 takes twice the time for a fifth less (docs/performance.md)


class TraceWriter:
    """Writes a new trace. After a failed write (`error` is set) everything more is dropped."""

    def __init__(self, path: str, header: Callable[[], dict[str, Any]], processors: set[int]) -> None:
        """Creates the directory, which must not exist. `header` is called in the writing thread, which runs on one of
        `processors`. Raises OSError."""
        folder = os.path.dirname(os.path.abspath(path))
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # whatever the umask
        os.mkdir(os.path.join(path, "files"), 0o700)
        self.path = path
        self.error: OSError | None = None
        self._known: dict[str, None] = {}  # in the order in which the program came to them
        self._sums: dict[str, int] = {}
        self._compressor: zstandard.ZstdCompressor | None = None
        self._cache = FileCache()
        # An empty header tells that the recorder ended before there was anything to replay.
        self._header_file = open(os.path.join(path, "header"), "xb", buffering=0)  # noqa: SIM115 (closed when written)
        self._events = open(os.path.join(path, "events"), "xb", buffering=0)  # noqa: SIM115 (closed by close)
        self._queue: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(_MOST_WAITING):
            self._room.put(None)
        self._processors = processors
        self._header = header
        self._begun = False
        self.is_empty = True
        """No chunk has reached the disk."""
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        threads.start(self._work)

    def begin(self) -> None:
        """Writes the header, if it has not begun yet. Until then the writing thread does nothing: it would import what
        it needs while the recorder has to be quick."""
        if not self._begun:
            self._begun = True
            self._put(self._try, self._write_header)

    def _put(self, task: Callable[..., object], *arguments: object) -> None:
        self._room.get()
        self._queue.put((task, *arguments))

    def add_file(self, content: bytes | memoryview, hash_: str) -> None:
        """Stores content under its hash, once."""
        if hash_ not in self._known:
            self._known[hash_] = None
            self._put(self._try, self._write_file, hash_, content)

    def add_stored(self, hash_: str) -> bool:
        """Takes a file over from the cache of earlier recordings; False if it is not there."""
        if hash_ not in self._known:
            if not self._cache.link(hash_, self._stored(hash_)):
                return False
            self._known[hash_] = None
        return True

    def take_over(self, hash_: str, crc: int, link: Callable[[str], None]) -> None:
        """Takes a file over from another trace: `link` puts it at a path, as it lies there."""
        if hash_ not in self._known:
            self._known[hash_] = None
            self._sums[hash_] = crc
            self._put(self._try, link, self._stored(hash_))

    def add_frame(self, data: bytes) -> None:
        """Appends a chunk of another trace as it lies there, with its head."""
        self.begin()
        self._put(self._try, self._write_frame, data)

    def _write_frame(self, data: bytes) -> None:
        _write_all(self._events, data)
        self.is_empty = False

    @property
    def cache(self) -> FileCache:
        """Files of earlier recordings, by identity."""
        return self._cache

    def sums(self) -> list[str | int]:
        """Name and CRC-32 of the stored files, flat, in the order of their use. Waits until they are written."""
        self._settle()
        sums: list[str | int] = []
        for hash_ in self._known:
            with suppress(OSError, ValueError):
                sums += hash_, self._sums[hash_] if hash_ in self._sums else self._sum_of_cached(hash_)
        return sums

    def _sum_of_cached(self, hash_: str) -> int:
        if (known := self._cache.recall(f"{hash_}.crc32")) is not None:
            return int(known)
        with open(self._stored(hash_), "rb") as file:
            crc = zlib.crc32(file.read())
        self._cache.remember(f"{hash_}.crc32", str(crc))
        return crc

    def add_chunk(self, first: int, count: int, data: bytes | memoryview) -> None:
        """Appends `count` encoded events. The first of all are on the disk when this returns: on a busy machine the
        thread may not have begun, and if the recorder were killed all would be lost."""
        if count:
            self.begin()
            self._put(self._try, self._write_chunk, first, count, data)
            if first == 0:
                self._settle()

    def _settle(self) -> None:
        """Waits until everything so far is written."""
        done = _thread.allocate_lock()
        done.acquire()
        self._put(done.release)
        done.acquire()

    def close(self) -> None:
        """Waits until all is written."""
        self._queue.put(None)
        self._ended.acquire()
        self._events.close()
        self._header_file.close()

    def discard(self) -> None:
        """Removes the trace, closed before."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)

    def _stored(self, hash_: str) -> str:
        return os.path.join(self.path, "files", hash_)

    def _work(self) -> None:
        os.sched_setaffinity(0, self._processors)
        while task := self._queue.get():
            task[0](*task[1:])
            task = None  # so that the recorder has its memory again
            self._room.put(None)
        self._ended.release()

    def _try(self, write: Callable[..., None], *arguments: object) -> None:
        if self.error is not None:
            return
        try:
            if self._compressor is None:
                from .zstd import zstandard  # only now: see begin

                self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
            write(*arguments)
        except Exception as error:  # whatever it is, nobody must wait for this thread in vain
            self.error = error if isinstance(error, OSError) else OSError(errno.EIO, str(error))

    def _compress(self, content: bytes | memoryview) -> bytes:
        assert self._compressor is not None
        return self._compressor.compress(content)

    def _write_header(self) -> None:
        header = self._compress(_engine.pack({"format": FORMAT, **self._header()}))
        with self._header_file as file:
            _write_all(file, header)

    def _write_file(self, hash_: str, content: bytes) -> None:
        path = self._stored(hash_)
        packed = self._compress(content)
        with open(path, "xb", buffering=0) as file:
            _write_all(file, packed)
        self._sums[hash_] = zlib.crc32(packed)
        self._cache.keep(hash_, path)

    def _write_chunk(self, first: int, count: int, data: bytes | memoryview) -> None:
        frame = self._compress(data)
        head = HEAD.pack(SKIPPABLE_MAGIC, HEAD_BYTES - 8, first, count, len(frame), zlib.crc32(frame))
        self._write_frame(head + HEAD_CRC.pack(zlib.crc32(head)) + frame)


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
