"""Timers, and the clocks they run by."""

from __future__ import annotations

import struct

from .call import Call
from .model import Timer, TimerFd
from .world import World, handles

_NANO = 1_000_000_000
_WHICH = ("real", "virtual", "prof")
_TIMER_ABSTIME = 1
_PROCESSOR_CLOCKS = (2, 3)  # CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID


def arm(world: World, timer: Timer | TimerFd, setting: bytes, absolute: bool, unit: int) -> None:
    """Sets a timer to its interval and value, each seconds and a fraction in units of some nanoseconds."""
    if len(setting) < 32:
        return
    interval_s, interval_f, value_s, value_f = struct.unpack("<qqqq", setting[:32])
    timer.interval_ns = interval_s * _NANO + interval_f * unit
    timer.value_ns = value_s * _NANO + value_f * unit
    timer.remaining_ns = timer.value_ns
    if absolute and timer.value_ns:
        now = world.nanoseconds(timer.clock)
        timer.remaining_ns = max(1, timer.value_ns - now) if now is not None else timer.value_ns
    timer.known_at = world.time


def advance(timer: Timer | TimerFd, time: int) -> None:
    """Lets a timer run to a time of the recording. One of the processor's time stands still: the log does not have
    it."""
    passed, timer.known_at = (time - timer.known_at) * 1000, time
    if not timer.remaining_ns or (isinstance(timer, Timer) and timer.clock in _PROCESSOR_CLOCKS):
        return
    left = timer.remaining_ns - passed
    expired = 0
    if left <= 0:
        expired = 1 + (-left // timer.interval_ns if timer.interval_ns else 0)
        left = left + expired * timer.interval_ns if timer.interval_ns else 0
    timer.remaining_ns = left
    if isinstance(timer, TimerFd):
        timer.expirations += expired


def _process_timer(call: Call, which: str, number: int = 0) -> Timer | None:
    return next((t for t in call.process.timers if t.which == which and t.number == number), None)


@handles("setitimer")
def _setitimer(world: World, call: Call) -> None:
    which = _WHICH[call.args[0] & 3] if call.args[0] & 3 < 3 else "real"
    _set(world, call, which, call.asked_argument(1, 32))


def _set(world: World, call: Call, which: str, setting: bytes) -> None:
    timer = _process_timer(call, which)
    if timer is None:
        timer = Timer(which, clock={"real": 1, "virtual": 2, "prof": 2}[which])
        call.process.timers.append(timer)
    arm(world, timer, setting or bytes(32), False, 1000)
    if not timer.value_ns:
        call.process.timers.remove(timer)


@handles("alarm")
def _alarm(world: World, call: Call) -> None:
    _set(world, call, "real", struct.pack("<qqqq", 0, 0, call.args[0] & 0xFFFFFFFF, 0))


@handles("timer_create")
def _create(world: World, call: Call) -> None:
    number = call.numbers("<i", call.answered_argument(2, 4))
    if number:
        event = call.asked_argument(1, 64)
        call.process.timers.append(Timer("posix", number[0], call.args[0] & 0xFFFFFFFF, sigevent=event))


@handles("timer_settime")
def _settime(world: World, call: Call) -> None:
    if timer := _process_timer(call, "posix", call.signed(0)):
        timer.flags = call.args[1] & 0xFFFFFFFF
        arm(world, timer, call.asked_argument(2, 32), bool(timer.flags & _TIMER_ABSTIME), 1)


@handles("timer_delete")
def _delete(world: World, call: Call) -> None:
    if timer := _process_timer(call, "posix", call.signed(0)):
        call.process.timers.remove(timer)
