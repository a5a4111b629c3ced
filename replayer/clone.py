"""Clones answer questions: real Python is run in a throw-away copy of a task, and the replay never knows.

A clone has no more authority than a replayed process has: its calls stop at their entry and are not made. The few that
an evaluation needs are answered here: memory is given; of files, sockets and other processes there are none.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import _engine, procfs, registers
from ..errors import PyrrError
from ..snapshot import PAGE

if TYPE_CHECKING:
    from .session import ReplaySession

_RETURN = _engine.GATE_PAGE + 2  # the gate's int3 behind its syscall
_STACK = 8 << 20
_LARGEST_SHARED = 64 << 20
_SECONDS = 10.0
_MOST_CALLS = 1_000_000
_SIGTRAP, _SIGSEGV = 5, 11
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000
_MMAP, _MPROTECT, _MUNMAP, _BRK, _MADVISE, _MREMAP = 9, 10, 11, 12, 28, 25
_ENOENT, _EBADF, _EAGAIN, _ESPIPE, _ENOSYS, _ETIMEDOUT = 2, 9, 11, 29, 38, 110
_FUTEX_COMMAND, _FUTEX_WAIT, _FUTEX_WAIT_BITSET = 0x7F, 0, 9
_DIRECTION_FLAG = 0x400
_MINUS_ONE = (1 << 64) - 1


class Clone:
    """A copy of one task that runs what it is told to. A context manager: nothing is left of it."""

    def __init__(self, session: ReplaySession, task: int) -> None:
        """Raises PyrrError where the task cannot be copied."""
        try:
            self._pid = session.clone(task)
        except OSError as error:
            raise PyrrError(f"task {task} cannot be cloned here: {error.strerror}") from None
        self._process, self._task = session.process_of(task), task
        self._brk = session.brk(task)
        event = session.next_event()
        self._time = int(session.trace.header.get("started", 0) * 1_000_000) + (event.time if event else 0)
        self._random = random.Random(0)
        self._late = False
        self._start = registers.unpack(_engine.registers(self._pid))
        try:
            self._part_from_others()
            self._top = self.memory(_STACK) + _STACK
        except PyrrError:
            self.close()
            raise

    def __enter__(self) -> Clone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Throws the clone away."""
        with suppress(OSError):
            _engine.clone_end(self._pid)

    def _part_from_others(self) -> None:
        """Makes a copy of all memory that the clone shares."""
        for mapping in procfs.read_maps(self._pid):
            if not mapping.shared:
                continue
            size = mapping.end - mapping.start
            if size > _LARGEST_SHARED:
                raise PyrrError(f"the process shares {size} bytes of memory, which is too much for a clone")
            data = _engine.read(self._pid, mapping.start, size)
            flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS | _MAP_NORESERVE
            self._inject(_MMAP, mapping.start, size, mapping.prot, flags, _MINUS_ONE, 0)
            _engine.write(self._pid, mapping.start, data)

    def _inject(self, number: int, *arguments: int) -> int:
        result = _engine.clone_inject(self._pid, number, *arguments)
        if -4096 < result < 0:
            raise PyrrError(f"the clone gets no memory: {os.strerror(-result)}")
        return result

    def memory(self, size: int) -> int:
        """Fresh memory of the clone: its address."""
        flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE
        return self._inject(_MMAP, 0, -(-size // PAGE) * PAGE, 3, flags, _MINUS_ONE, 0)

    def put(self, data: bytes) -> int:
        """Bytes in fresh memory, with a NUL behind them: their address."""
        address = self.memory(len(data) + 1)
        _engine.write(self._pid, address, data + b"\0")
        return address

    def read(self, address: int, size: int) -> bytes:
        """Memory of the clone."""
        return _engine.read(self._pid, address, size)

    def call(self, function: int, *arguments: int) -> int:
        """Calls a C function with up to six integers: what it returns. Raises PyrrError when it does not return."""
        named = dict(zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), arguments, strict=False))
        flags = self._start["eflags"] & ~_DIRECTION_FLAG
        present = {**self._start, **named, "rip": function, "rsp": self._top - 8, "rax": 0, "orig_rax": _MINUS_ONE}
        _engine.write(self._pid, self._top - 8, _RETURN.to_bytes(8, "little"))
        _engine.set_registers(self._pid, registers.pack({**present, "eflags": flags}), b"")
        timer = threading.Timer(_SECONDS, self._give_up)
        timer.start()
        try:
            return self._run()
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._late = True
        with suppress(OSError):
            os.kill(self._pid, 9)

    @property
    def registers(self) -> dict[str, int]:
        """Its general registers."""
        return registers.unpack(_engine.registers(self._pid))

    @property
    def xstate(self) -> bytes:
        """Its vector registers: an XSAVE area."""
        return _engine.xstate(self._pid)

    def set_registers(self, general: dict[str, int], xstate: bytes = b"") -> None:
        """Changes them."""
        _engine.set_registers(self._pid, registers.pack({**general, "orig_rax": _MINUS_ONE}), xstate)

    def write(self, address: int, data: bytes) -> None:
        """Changes its memory."""
        _engine.write(self._pid, address, data)

    def run_to(self, breakpoints: Collection[int]) -> int:
        """Runs until it comes to one of these addresses: the signal of its stop, SIGTRAP there."""
        originals = {}
        for address in breakpoints:
            with suppress(OSError):
                originals[address] = self.read(address, 1)
                self.write(address, b"\xcc")
        timer = threading.Timer(_SECONDS, self._give_up)
        timer.start()
        try:
            return self._run_to(originals)
        finally:
            timer.cancel()
            for address, byte in originals.items():
                with suppress(OSError):
                    self.write(address, byte)

    def _run_to(self, originals: dict[int, bytes]) -> int:
        for _ in range(_MOST_CALLS):
            stop, signal = _engine.clone_run(self._pid)
            if stop == "dead":
                raise PyrrError(f"it took longer than {_SECONDS:.0f} s" if self._late else "the clone died of it")
            present = self.registers
            if stop == "call":
                present["rax"] = self._answer(present) & _MINUS_ONE
            elif signal == _SIGTRAP and present["rip"] - 1 in originals:
                self.set_registers({**present, "rip": present["rip"] - 1})
                return signal
            elif not (signal == _SIGSEGV and self._is_time_stamp(present)):
                return signal
            self.set_registers(present)
        raise PyrrError("it makes too many system calls")

    def _run(self) -> int:
        for _ in range(_MOST_CALLS):
            stop, signal = _engine.clone_run(self._pid)
            if stop == "dead":
                raise PyrrError(f"it took longer than {_SECONDS:.0f} s" if self._late else "the clone died of it")
            present = registers.unpack(_engine.registers(self._pid))
            if stop == "call":
                present["rax"] = self._answer(present) & _MINUS_ONE
                present["orig_rax"] = _MINUS_ONE
            elif signal == _SIGTRAP and present["rip"] == _RETURN + 1:
                return present["rax"]
            elif not (signal == _SIGSEGV and self._is_time_stamp(present)):
                raise PyrrError(f"it failed with signal {signal} at {present['rip']:#x}")
            _engine.set_registers(self._pid, registers.pack(present), b"")
        raise PyrrError("it makes too many system calls")

    def _is_time_stamp(self, present: dict[str, int]) -> bool:
        """Answers rdtsc and rdtscp, which fault, with 0."""
        code = self.read(present["rip"], 3)
        size = 2 if code[:2] == b"\x0f\x31" else 3 if code == b"\x0f\x01\xf9" else 0
        if size:
            present.update(rax=0, rdx=0, rip=present["rip"] + size)
        return bool(size)

    def _answer(self, present: dict[str, int]) -> int:
        """The result of a system call."""
        number = present["orig_rax"]
        arguments = [present[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9")]
        if number in _RESULTS:
            return _RESULTS[number]
        handler = _HANDLERS.get(number)
        try:
            return handler(self, arguments) if handler else -_ENOSYS
        except OSError:
            return -14  # EFAULT

    def _map(self, arguments: list[int]) -> int:
        if not arguments[3] & _MAP_ANONYMOUS:
            return -_EBADF
        flags = arguments[3] & ~_MAP_SHARED | _MAP_PRIVATE
        return _engine.clone_inject(self._pid, _MMAP, *arguments[:3], flags, _MINUS_ONE, 0)

    def _protect(self, arguments: list[int]) -> int:
        return _engine.clone_inject(self._pid, _MPROTECT, *arguments)

    def _unmap(self, arguments: list[int]) -> int:
        return _engine.clone_inject(self._pid, _MUNMAP, *arguments)

    def _advise(self, arguments: list[int]) -> int:
        return _engine.clone_inject(self._pid, _MADVISE, *arguments)

    def _remap(self, arguments: list[int]) -> int:
        return _engine.clone_inject(self._pid, _MREMAP, *arguments)

    def _move_brk(self, arguments: list[int]) -> int:
        old, new = -(-self._brk // PAGE) * PAGE, -(-arguments[0] // PAGE) * PAGE
        if arguments[0] and self._brk and new > old:
            flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS | _MAP_NORESERVE
            if _engine.clone_inject(self._pid, _MMAP, old, new - old, 3, flags, _MINUS_ONE, 0) != old:
                return self._brk
            self._brk = arguments[0]
        return self._brk

    def _futex(self, arguments: list[int]) -> int:
        address, operation, value, timeout = arguments[:4]
        if operation & _FUTEX_COMMAND not in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET):
            return 0
        if int.from_bytes(self.read(address, 4), "little") != value & 0xFFFFFFFF:
            return -_EAGAIN
        if timeout:
            return -_ETIMEDOUT
        raise PyrrError("it waits for a lock that another thread, or this one, holds at this position")

    def _clock(self, arguments: list[int]) -> int:
        self._time += 1
        seconds, rest = divmod(self._time, 1_000_000)
        data = seconds.to_bytes(8, "little") + (rest * 1000).to_bytes(8, "little")
        _engine.write(self._pid, arguments[1], data)
        return 0

    def _chance(self, arguments: list[int]) -> int:
        size = min(arguments[1], 256)
        _engine.write(self._pid, arguments[0], self._random.randbytes(size))
        return size

    def _own_process(self, _: list[int]) -> int:
        return self._process

    def _own_task(self, _: list[int]) -> int:
        return self._task


_RESULTS = {
    **dict.fromkeys((0, 1, 17, 18, 19, 20, 5, 72), -_EBADF),  # read, write, fstat, fcntl and their kin
    **dict.fromkeys((2, 4, 6, 21, 89, 257, 262, 267, 269, 332, 439, 79), -_ENOENT),  # open, stat and their kin
    **dict.fromkeys((3, 13, 14, 24, 35, 131, 230), 0),  # close, signals, yield, sleep
    **dict.fromkeys((56, 57, 58, 435), -_EAGAIN),  # clone, fork, vfork, clone3
    8: -_ESPIPE,  # lseek
    16: -25,  # ioctl: ENOTTY
}
_HANDLERS: dict[int, Callable[[Clone, list[int]], int]] = {
    _MMAP: Clone._map,
    _MPROTECT: Clone._protect,
    _MUNMAP: Clone._unmap,
    _MADVISE: Clone._advise,
    _MREMAP: Clone._remap,
    _BRK: Clone._move_brk,
    39: Clone._own_process,
    186: Clone._own_task,
    202: Clone._futex,
    228: Clone._clock,
    318: Clone._chance,
}
