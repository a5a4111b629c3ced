"""Components of a state in words: one line each."""

from __future__ import annotations

import os
import socket
import struct

from ..replayer.description import signal_name
from .model import (
    Description,
    Device,
    Epoll,
    EventFd,
    File,
    Inotify,
    Lock,
    Mapping,
    MemFd,
    MessageQueue,
    Namespace,
    OpenDirectory,
    OpenFile,
    OpenPath,
    PidFd,
    PipeEnd,
    ProcFile,
    Pty,
    PtyMaster,
    SignalFd,
    Socket,
    Span,
    Terminal,
    Timer,
    TimerFd,
    Unknown,
)

_ACCESS = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read and write"}
_FLAGS = {os.O_APPEND: "append", os.O_NONBLOCK: "non-blocking"}
_TYPES = {1: "stream", 2: "datagram", 3: "raw", 5: "seqpacket"}
_NANO = 1e9


def access(description: Description) -> str:
    """`read, append`: how a description is open."""
    flags = [name for bit, name in _FLAGS.items() if description.flags & bit]
    return ", ".join([_ACCESS.get(description.flags & 3, "no access"), *flags])


def name_of(file: File) -> str:
    """The path of a file, with what became of it."""
    if file.path.endswith("/#"):
        return f"a file without a name in {file.path[:-2]}"
    return f"{file.path} (deleted)" if file.deleted and not file.path.startswith("/memfd:") else file.path


def describe(description: Description) -> str:
    """One description."""
    match description:
        case OpenFile() | MemFd():
            file = description.file
            size = "" if file.size is None else f" of {file.size}"
            place = "its unknown end" if description.offset is None else f"{description.offset}{size}"
            return f"{name_of(file)}: {access(description)}, at {place}{_locks(description.locks)}"
        case OpenDirectory():
            begun = f", read up to {description.offset}" if description.offset else ""
            return f"directory {name_of(description.file)}{begun}"
        case OpenPath():
            return f"place {name_of(description.file)} (O_PATH)"
        case Device() | ProcFile():
            return f"{description.path}: {access(description)}"
        case Terminal():
            size = f", {description.settings.rows} by {description.settings.columns}"
            own = " (of a pseudo-terminal of its own)" if description.pty else ""
            return f"terminal {description.path}{own}: {access(description)}{size if description.settings.rows else ''}"
        case PtyMaster():
            return f"master of pseudo-terminal {description.pty.number}{_waiting(description.pty)}"
        case PipeEnd():
            return _pipe(description)
        case Socket():
            return _socket(description)
        case Epoll():
            members = ", ".join(str(watch.number) for watch in description.watches)
            return f"epoll set of {members or 'nothing'}"
        case EventFd():
            return f"eventfd at {description.count}{' (semaphore)' if description.semaphore else ''}"
        case TimerFd():
            state = f"expires in {description.remaining_ns / _NANO:.3f} s" if description.remaining_ns else "not armed"
            every = f", then every {description.interval_ns / _NANO:g} s" if description.interval_ns else ""
            return f"timerfd: {state}{every}" + (
                f", {description.expirations} unread" if description.expirations else ""
            )
        case SignalFd():
            return f"signalfd of {signals(description.mask)}"
        case Inotify():
            return "inotify of " + (", ".join(path for path, _ in description.watches.values()) or "nothing")
        case PidFd():
            return f"pidfd of process {description.process}"
        case Namespace():
            return f"namespace {description.name}"
        case MessageQueue():
            return f"POSIX message queue {description.name}"
        case Unknown():
            return description.what
    return description.kind


def _waiting(pty: Pty) -> str:
    unread = length(pty.to_master)
    return f", {unread} bytes to be read" if unread else ""


def _locks(locks: list[Lock]) -> str:
    return "".join(f", {describe_lock(lock)}" for lock in locks)


def describe_lock(lock: Lock) -> str:
    """One lock."""
    mode = "exclusive" if lock.exclusive else "shared"
    if lock.kind == "flock":
        return f"{mode} flock"
    return f"{mode} lock of bytes {lock.start} to {'the end' if lock.end is None else lock.end}"


def length(spans: list[Span]) -> int:
    """Bytes in all."""
    return sum(span.length for span in spans)


def _pipe(end: PipeEnd) -> str:
    which = {os.O_RDONLY: "reading end", os.O_WRONLY: "writing end"}.get(end.flags & 3, "both ends")
    name = f"FIFO {end.pipe.name}" if end.pipe.name else "pipe"
    if end.pipe.foreign:
        return f"{name} to outside of the program, {which}"
    return f"{name} {end.pipe.id}, {which}, {length(end.pipe.queue)} bytes in it"


def address(data: bytes) -> str:
    """A struct sockaddr in words."""
    if len(data) < 2:
        return "nothing"
    family = struct.unpack_from("=H", data)[0]
    if family == socket.AF_UNIX:
        path = data[2:]
        text = os.fsdecode(path.split(b"\0")[0] if path[:1] != b"\0" else b"@" + path[1:].rstrip(b"\0"))
        return text or "no name"
    if family == socket.AF_INET and len(data) >= 8:
        return f"{socket.inet_ntop(family, data[4:8])}:{int.from_bytes(data[2:4], 'big')}"
    if family == socket.AF_INET6 and len(data) >= 24:
        return f"[{socket.inet_ntop(family, data[8:24])}]:{int.from_bytes(data[2:4], 'big')}"
    return f"an address of family {family}"


def _socket(one: Socket) -> str:
    try:
        family = socket.AddressFamily(one.family).name.removeprefix("AF_")
    except ValueError:
        family = f"family {one.family}"
    words = f"{family} {_TYPES.get(one.type, f'type {one.type}')} socket"
    if one.state == "listening":
        words += f" listening at {address(one.local)}, backlog {one.backlog}"
    elif one.peer == -1:
        words += " whose peer is closed"
    elif one.peer is not None:
        words += f" connected within the program (to socket {one.peer})"
    elif one.remote:
        words += f" {one.state} to {address(one.remote)}"
    elif one.local[2:]:
        words += f" bound to {address(one.local)}"
    unread = sum(length(message.spans) for message in one.queue)
    return f"{words}, socket {one.id}" + (f", {unread} bytes unread" if unread else "")


def mapping(one: Mapping) -> str:
    """One mapping."""
    prot = "".join(letter if one.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
    what = name_of(one.file) + f" from {one.offset:#x}" if one.file else one.name or "anonymous"
    return f"{one.start:012x}-{one.end:012x} {prot}{'s' if one.shared else 'p'} {what}"


def timer(one: Timer) -> str:
    """A timer of a process."""
    name = f"POSIX timer {one.number}" if one.which == "posix" else f"timer of {one.which} time"
    if not one.remaining_ns:
        return f"{name}: not armed"
    every = f", then every {one.interval_ns / _NANO:g} s" if one.interval_ns else ""
    return f"{name}: expires in {one.remaining_ns / _NANO:.3f} s{every}"


def signals(mask: int) -> str:
    """A set of signals."""
    return ", ".join(signal_name(n) for n in range(1, 65) if mask >> n - 1 & 1) or "none"
