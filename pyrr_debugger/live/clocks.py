"""Timers of a program that goes live, and its monotonic clock: as if no time had passed since the position."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from . import kernel

if TYPE_CHECKING:
    from ..state.model import Clocks, Process, Timer
    from .process import LiveProcess

_SETITIMER, _TIMER_CREATE, _TIMER_SETTIME, _TIMER_DELETE = 38, 222, 223, 226
_INTERVAL_TIMERS = {"real": 0, "virtual": 1, "prof": 2}
_CLONE_NEWTIME = 0x80
_NANOSECONDS = 1_000_000_000
_SIGEV_THREAD_ID = 4
_SIGEVENT = struct.Struct("<Qiii44x")
_MOST_IDS = 10_000


def enter_time(clocks: Clocks) -> bool:
    """Has our later children see the monotonic clock go on from where the program last saw it (time_namespaces(7));
    whether we are let."""
    if clocks.monotonic is None:
        return False
    offsets = [("monotonic", clocks.monotonic - time.clock_gettime_ns(time.CLOCK_MONOTONIC))]
    if clocks.boottime is not None:
        offsets.append(("boottime", clocks.boottime - time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
    with suppress(OSError):
        kernel.unshare(_CLONE_NEWTIME)
        with open("/proc/self/timens_offsets", "w") as file:
            file.writelines(f"{name} {offset // _NANOSECONDS} {offset % _NANOSECONDS}\n" for name, offset in offsets)
        return True
    return False


def restore_timers(state: Process, process: LiveProcess, notes: list[str]) -> None:
    """Arms the timers of a process with the time that was left. Raises OSError."""
    for timer in sorted(state.timers, key=lambda one: one.number):
        if timer.which == "posix":
            _restore_posix(timer, process, notes)
        elif timer.remaining_ns:
            micros = struct.pack(
                "<4q", *divmod(timer.interval_ns // 1000, 1_000_000), *divmod(-(-timer.remaining_ns // 1000), 1_000_000)
            )
            process.call(_SETITIMER, _INTERVAL_TIMERS[timer.which], process.put(micros), 0)


def _restore_posix(timer: Timer, process: LiveProcess, notes: list[str]) -> None:
    """The kernel numbers the timers of a process one after the other."""
    for _ in range(_MOST_IDS):
        event = process.put(_renamed(timer.sigevent, process)) if timer.sigevent else 0
        where = process.put(bytes(4))
        process.call(_TIMER_CREATE, timer.clock, event, where)
        number = int.from_bytes(process.read(where, 4), "little")
        if number == timer.number:
            break
        process.call(_TIMER_DELETE, number)
        if number > timer.number:
            notes.append(f"timer {timer.number} cannot be made again")
            return
    if timer.remaining_ns:
        value = process.put(kernel.interval(timer.remaining_ns, timer.interval_ns))
        process.call(_TIMER_SETTIME, timer.number, 0, value, 0)


def _renamed(sigevent: bytes, process: LiveProcess) -> bytes:
    """A struct sigevent with the present id of the thread that it may name."""
    value, signal, notify, thread = _SIGEVENT.unpack(sigevent)
    if notify != _SIGEV_THREAD_ID or thread not in process.threads:
        return sigevent
    return _SIGEVENT.pack(value, signal, notify, process.threads[thread].id)
