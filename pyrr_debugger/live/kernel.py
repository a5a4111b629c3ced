"""System calls that the os module lacks before the versions of Python that we run on."""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_SIGNALFD4, _TIMERFD_CREATE, _TIMERFD_SETTIME, _INOTIFY_INIT1, _INOTIFY_ADD, _INOTIFY_RM = 289, 283, 286, 294, 254, 255
_UNSHARE, _SETNS, _TGKILL, _PIDFD_OPEN, _PIDFD_GETFD = 272, 308, 234, 434, 438
_NANOSECONDS = 1_000_000_000


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def setns(descriptor: int, flags: int) -> None:
    """os.setns, which is in Python since 3.12."""
    _call(_SETNS, descriptor, flags)


def unshare(flags: int) -> None:
    """os.unshare, which is in Python since 3.12."""
    _call(_UNSHARE, flags)


def tgkill(process: int, thread: int, number: int) -> None:
    """Sends a signal to one thread."""
    _call(_TGKILL, process, thread, number)


def descriptor_of(process: int, number: int) -> int:
    """A descriptor of the same description as a process has under a number."""
    handle = _call(_PIDFD_OPEN, process, 0)
    try:
        return _call(_PIDFD_GETFD, handle, number, 0)
    finally:
        os.close(handle)


def signalfd(mask: int, flags: int) -> int:
    return _call(_SIGNALFD4, -1, struct.pack("<Q", mask), ctypes.c_size_t(8), flags)


def timerfd(clock: int, flags: int, remaining_ns: int, interval_ns: int) -> int:
    """A timerfd, armed unless `remaining_ns` is 0."""
    descriptor = _call(_TIMERFD_CREATE, clock, flags)
    if remaining_ns:
        _call(_TIMERFD_SETTIME, descriptor, 0, interval(remaining_ns, interval_ns), None)
    return descriptor


def interval(remaining_ns: int, interval_ns: int) -> bytes:
    """struct itimerspec."""
    return struct.pack("<4q", *divmod(interval_ns, _NANOSECONDS), *divmod(remaining_ns, _NANOSECONDS))


def inotify(flags: int, watches: dict[int, tuple[str, int]]) -> tuple[int, list[str]]:
    """An inotify instance with these watches, by their descriptors, and the paths that could not be watched under
    theirs. The kernel counts watch descriptors up from 1."""
    descriptor = _call(_INOTIFY_INIT1, flags)
    failed, fillers, last = [], [], 0
    for number, (path, mask) in sorted(watches.items()):
        while last < number - 1:
            last = _call(_INOTIFY_ADD, descriptor, b"/proc/self/fd" if last % 2 else b"/", 0x100)
            _call(_INOTIFY_RM, descriptor, last)
            fillers.append(last)
        try:
            last = _call(_INOTIFY_ADD, descriptor, os.fsencode(path), mask)
        except OSError:
            failed.append(path)
            continue
        if last != number:
            failed.append(path)
    return descriptor, failed
