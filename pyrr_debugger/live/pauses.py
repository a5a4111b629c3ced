"""Sleeps and time-outs that count from when they began: what of them was left at the position is what is left now.

Where a thread is in such a call the call is made anew, and would last its whole time again. Its arguments are the
program's: a register must come back as it was, and memory is not ours. So the call is made from a few instructions of
ours, in two pages that the process has from then on. They put another time in place, make the call, put the register
back, and return to behind the program's own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from .. import _engine, registers

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession
    from ..state.model import Process
    from .process import LiveProcess

_PAGE = 4096
_MMAP, _MPROTECT = 9, 10
_READ_WRITE, _READ_EXECUTE, _PRIVATE_ANONYMOUS = 3, 5, 0x22
_MINUS_ONE = (1 << 64) - 1
_SLOT = 48  # bytes of the instructions for one thread
_LEAST_NS = 1
_SECOND, _MILLISECOND, _MICROSECOND = 1_000_000_000, 1_000_000, 1_000
_LOAD = {"rdi": b"\x48\xbf", "rdx": b"\x48\xba", "r8": b"\x49\xb8", "r10": b"\x49\xba"}  # movabs $..., %REGISTER
_SYSCALL = b"\x0f\x05"
_JUMP = b"\xff\x25\0\0\0\0"  # jmp *0(%rip)
_TIMER_ABSTIME, _FUTEX_COMMAND, _FUTEX_WAIT = 1, 127, 0
_CLOCK_NANOSLEEP, _FUTEX = 230, 202


class _Timeout(NamedTuple):
    """Which register says how long a call lasts: in milliseconds (`unit` 0), or by pointing at seconds and so many of
    what a second has."""

    register: str
    unit: int = 0


_NANOSECONDS, _MICROSECONDS = _SECOND, _SECOND // _MICROSECOND
_TIMEOUTS = {
    7: _Timeout("rdx"),  # poll
    23: _Timeout("r8", _MICROSECONDS),  # select
    35: _Timeout("rdi", _NANOSECONDS),  # nanosleep
    128: _Timeout("rdx", _NANOSECONDS),  # rt_sigtimedwait
    _FUTEX: _Timeout("r10", _NANOSECONDS),
    220: _Timeout("r10", _NANOSECONDS),  # semtimedop
    _CLOCK_NANOSLEEP: _Timeout("rdx", _NANOSECONDS),
    232: _Timeout("r10"),  # epoll_wait
    270: _Timeout("r8", _NANOSECONDS),  # pselect6
    271: _Timeout("rdx", _NANOSECONDS),  # ppoll
    281: _Timeout("r10"),  # epoll_pwait
    299: _Timeout("r8", _NANOSECONDS),  # recvmmsg
    441: _Timeout("r10", _NANOSECONDS),  # epoll_pwait2
}


class _Pause(NamedTuple):
    """The call of a thread: what its register is, and how long it is to last."""

    tid: int
    timeout: _Timeout
    value: int
    left_ns: int


def shorten(session: ReplaySession, state: Process, process: LiveProcess, now: int) -> None:
    """Has the calls in which the threads of a process stand last as long as they had left `now`, in microseconds of
    the recording. The threads have their registers. Raises OSError."""
    found = [pause for tid, task in state.tasks.items() if (pause := _pause(session, tid, now - task.since))]
    most = _PAGE // _SLOT
    if not found:
        return
    page = process.call(_MMAP, 0, 2 * _PAGE, _READ_WRITE, _PRIVATE_ANONYMOUS, _MINUS_ONE, 0)
    for number, pause in enumerate(found[:most]):
        live = process.threads[pause.tid]
        present = registers.unpack(_engine.registers(live.tid))
        start, time_at = page + number * _SLOT, page + _PAGE + number * 16
        if pause.timeout.unit:
            seconds, rest = divmod(pause.left_ns, _SECOND)
            live.write(time_at, struct.pack("<2q", seconds, rest * pause.timeout.unit // _SECOND))
            new = time_at
        else:
            new = -(-pause.left_ns // _MILLISECOND)
        load = _LOAD[pause.timeout.register]
        back = present["rip"] + len(_SYSCALL)
        words = [value.to_bytes(8, "little") for value in (new, pause.value, back)]
        live.write(start, load + words[0] + _SYSCALL + load + words[1] + _JUMP + words[2])
        _engine.set_registers(live.tid, registers.pack({**present, "rip": start}), b"")
    process.call(_MPROTECT, page, _PAGE, _READ_EXECUTE)


def _pause(session: ReplaySession, tid: int, passed_us: int) -> _Pause | None:
    """The relative time-out of the call that a task is about to make, if that has begun to run out."""
    if session.stop(tid) != "call" or passed_us <= 0:
        return None
    present = session.registers(tid)
    number = present["orig_rax"]
    timeout = _TIMEOUTS.get(number)
    if timeout is None or (number == _FUTEX and present["rsi"] & _FUTEX_COMMAND != _FUTEX_WAIT):
        return None
    if number == _CLOCK_NANOSLEEP and present["rsi"] & _TIMER_ABSTIME:
        return None
    value = present[timeout.register]
    if not timeout.unit:
        milliseconds = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        whole = milliseconds * _MILLISECOND
    else:
        data = session.read(tid, value, 16) if value else b""
        if len(data) < 16:
            return None
        seconds, parts = struct.unpack("<2q", data)
        whole = seconds * _SECOND + parts * (_SECOND // timeout.unit)
    if whole <= 0:
        return None
    return _Pause(tid, timeout, value, max(_LEAST_NS, whole - passed_us * _MICROSECOND))
