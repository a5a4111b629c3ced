"""A session behind an address of this machine, for gdb."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import PyrrError
from .gdb_server import GdbServer

if TYPE_CHECKING:
    from .session import ReplaySession

_LOOPBACK = {"": "127.0.0.1", "localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1", "[::1]": "::1"}
_INTERRUPT = b"\x03"
_LOOK_EVERY = 0.2  # seconds


def listener(address: str) -> socket.socket:
    """A socket that listens at a path, or at [HOST:]PORT of this machine alone; port 0 is any free one. Raises
    PyrrError."""
    try:
        if "/" in address:
            found = socket.socket(socket.AF_UNIX)
            before = os.umask(0o177)
            try:
                found.bind(address)
            finally:
                os.umask(before)
        else:
            host, _, port = address.rpartition(":")
            if host not in _LOOPBACK:
                raise PyrrError(f"{host} is not this machine: give a port, 127.0.0.1:PORT, or the path of a socket")
            found = socket.socket(socket.AF_INET6 if ":" in _LOOPBACK[host] else socket.AF_INET)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((_LOOPBACK[host], int(port)))
        found.listen(1)
    except (OSError, ValueError, OverflowError) as error:
        reason: object = error
        if isinstance(error, ValueError):
            reason = "give a port, 127.0.0.1:PORT, or the path of a socket"
        elif isinstance(error, OSError) and error.errno:
            taken = "/" in address and error.errno == errno.EADDRINUSE
            reason = "it exists already" if taken else os.strerror(error.errno)
        raise PyrrError(f"nothing can be served at {address}: {reason}") from None
    return found


def name_of(listening: socket.socket) -> str:
    """What `target remote` takes."""
    name = listening.getsockname()
    return name if isinstance(name, str) else f"{name[0] if ':' not in name[0] else f'[{name[0]}]'}:{name[1]}"


def serve(session: ReplaySession, listening: socket.socket) -> None:
    """Serves the first gdb that comes, until it goes."""
    connection, _ = listening.accept()
    listening.close()
    with connection, connection.makefile("wb") as out, contextlib.suppress(ConnectionError, BrokenPipeError):
        GdbServer(session, _Incoming(session, connection), out).run()


class _Incoming:
    """What gdb sends; an interrupt that comes while the server is at work reaches the session."""

    def __init__(self, session: ReplaySession, connection: socket.socket) -> None:
        self._session, self._connection = session, connection

    def read1(self, size: int = io.DEFAULT_BUFFER_SIZE, /) -> bytes:
        """What is there, or comes next; empty at the end."""
        return self._connection.recv(size)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """While a move is under way."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            with contextlib.suppress(KeyboardInterrupt):
                self._session.check_interrupted()

    def _watch(self, done: threading.Event) -> None:
        while not done.is_set():
            if select.select([self._connection], [], [], _LOOK_EVERY)[0]:
                if self._connection.recv(1, socket.MSG_PEEK) == _INTERRUPT:
                    self._connection.recv(1)
                    self._session.interrupt()
                    continue
                return  # nothing else comes before our answer: gdb has gone
