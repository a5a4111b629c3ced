"""Writes a trace: a private directory that grows as the program runs. docs/trace-format.md specifies it.

`header` says what was recorded, `events` holds the chunks, `files/` the content-addressed store. Compressing and
writing is done by a thread of its own, in order: a chunk reaches the disk after the files it names.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import zlib
from collections.abc import Callable

import msgpack

from .store import FileCache
from .trace_format import FORMAT, HEAD, HEAD_BYTES, HEAD_CRC, SKIPPABLE_MAGIC

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any

    import zstandard

_LEVEL = 1  # 3 takes twice the time for a fifth less (docs/performance.md)


class TraceWriter:
    """Writes a new trace. After a failed write (`error` is set) everything more is dropped."""

    def __init__(self, path: str, header: Callable[[], dict[str, Any]], processors: set[int]) -> None:
        """Creates the directory, which must not exist. `header` is called in the writing thread, which runs on one of
        `processors`. Raises OSError."""
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # whatever the umask
        os.mkdir(os.path.join(path, "files"), 0o700)
        self.path = path
        self.error: OSError | None = None
        self._known: set[str] = set()
        self._compressor: zstandard.ZstdCompressor
        self._cache = FileCache()
        self._events = open(os.path.join(path, "events"), "xb", buffering=0)  # noqa: SIM115 (closed by close)
        self._queue: queue.Queue[tuple[Any, ...] | None] = queue.Queue(maxsize=64)
        self._processors = processors
        self._header = header
        self._begun = False
        self._thread = threading.Thread(target=self._work, name="trace writer", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Writes the header, if it has not begun yet. Until then the writing thread does nothing: it would import what
        it needs while the recorder has to be quick."""
        if not self._begun:
            self._begun = True
            self._queue.put((self._write_header,))

    def add_file(self, content: bytes | memoryview, hash_: str) -> None:
        """Stores content under its hash, once."""
        if hash_ not in self._known:
            self._known.add(hash_)
            self._queue.put((self._write_file, hash_, content))

    def add_stored(self, hash_: str) -> bool:
        """Takes a file over from the cache of earlier recordings; False if it is not there."""
        if hash_ not in self._known:
            if not self._cache.link(hash_, self._stored(hash_)):
                return False
            self._known.add(hash_)
        return True

    @property
    def cache(self) -> FileCache:
        """Files of earlier recordings, by identity."""
        return self._cache

    def add_chunk(self, first: int, count: int, data: bytes) -> None:
        """Appends `count` encoded events."""
        if count:
            self.begin()
            self._queue.put((self._write_chunk, first, count, data))

    def close(self) -> None:
        """Waits until all is written."""
        self._queue.put(None)
        self._thread.join()
        self._events.close()

    def discard(self) -> None:
        """Removes the trace, closed before."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)

    def _stored(self, hash_: str) -> str:
        return os.path.join(self.path, "files", hash_)

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the recorder's own thread's
        os.sched_setaffinity(0, self._processors)
        task = self._queue.get()
        if task is None:
            return
        self._compressor = _zstandard().ZstdCompressor(level=_LEVEL, write_checksum=True)
        while task is not None:
            if self.error is None:
                try:
                    task[0](*task[1:])
                except OSError as error:
                    self.error = error
            task = self._queue.get()

    def _write_header(self) -> None:
        packed = self._compressor.compress(msgpack.packb({"format": FORMAT, **self._header()}))
        with open(os.path.join(self.path, "header"), "xb", buffering=0) as file:
            _write_all(file, packed)

    def _write_file(self, hash_: str, content: bytes) -> None:
        path = self._stored(hash_)
        with open(path, "xb", buffering=0) as file:
            _write_all(file, self._compressor.compress(content))
        self._cache.keep(hash_, path)

    def _write_chunk(self, first: int, count: int, data: bytes) -> None:
        frame = self._compressor.compress(data)
        head = HEAD.pack(SKIPPABLE_MAGIC, HEAD_BYTES - 8, first, count, len(frame), zlib.crc32(frame))
        _write_all(self._events, head + HEAD_CRC.pack(zlib.crc32(head)) + frame)


def _zstandard() -> Any:
    """zstandard's extension module, without the package around it where that can be done: the package imports
    `platform`, which compiles regular expressions for longer than Python takes to start."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    package = PathFinder.find_spec("zstandard")
    spec = package and PathFinder.find_spec("zstandard.backend_c", package.submodule_search_locations)
    if spec and spec.loader:
        module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            return module
        except ImportError:
            pass
    import zstandard

    return zstandard


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
