"""A process that is being rebuilt: stopped, traced, empty but for a page of ours, with all the authority that we have.

Its kernel objects are made by system calls of its own, which are injected (native/engine/live.h).
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

from .. import _engine
from ..errors import PyrrError
from ..syscalls import name as call_name

_SEED = os.fsencode(os.path.join(os.path.dirname(_engine.__file__), "seed"))
_SCRATCH, _SCRATCH_BYTES = _engine.LIVE_ARGUMENTS
_MUNMAP, _CLONE3, _EXIT_GROUP, _PRLIMIT = 11, 435, 231, 302
_RLIMIT_CORE = 4
_CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000  # VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
_CLONE_VM = 0x100
_SIGCHLD = 17
_CLONE_ARGS = struct.Struct("<11Q")
MINUS_ONE = (1 << 64) - 1


class LiveTask:
    """One stopped thread of a process that is being rebuilt. `tid` is its id in this system."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self._used = 0

    def put(self, data: bytes) -> int:
        """Bytes for the arguments of the next call: their address."""
        at = self._used
        self._used += -(-len(data) // 16) * 16
        if self._used > _SCRATCH_BYTES:
            raise PyrrError(f"{len(data)} bytes are too much for the arguments of a call")
        if data:
            _engine.write(self.tid, _SCRATCH + at, data)
        return _SCRATCH + at

    def try_call(self, number: int, *arguments: int, here: bool = False) -> int:
        """Makes a system call; its result, negative for an error."""
        try:
            result = _engine.live_call(self.tid, here, number, *(argument & MINUS_ONE for argument in arguments))
        except OSError:
            raise PyrrError(f"the process that was to go live has ended in {call_name(number)}") from None
        self._used = 0
        return result

    def call(self, number: int, *arguments: int) -> int:
        """Makes a system call. Raises OSError."""
        result = self.try_call(number, *arguments)
        if -4096 < result < 0:
            raise OSError(-result, f"{call_name(number)}: {os.strerror(-result)}")
        return result

    def read(self, address: int, size: int) -> bytes:
        return _engine.read(self.tid, address, size)

    def write(self, address: int, data: bytes) -> None:
        _engine.write(self.tid, address, data)

    def clone(self, flags: int, wanted: int) -> LiveTask:
        """A child or a thread, with the id `wanted` if that is to be had. Raises OSError."""
        result = self._clone(flags, wanted)
        if wanted and result < 0:  # it exists, or only the privileged may choose
            result = self._clone(flags, 0)
        if result < 0:
            raise OSError(-result, f"clone: {os.strerror(-result)}")
        _engine.live_wait(result)
        return LiveTask(result)

    def _clone(self, flags: int, wanted: int) -> int:
        ids = self.put(wanted.to_bytes(4, "little"))
        signal = 0 if flags == _CLONE_THREAD_FLAGS else _SIGCHLD
        arguments = _CLONE_ARGS.pack(flags, 0, 0, 0, signal, 0, 0, 0, ids if wanted else 0, 1 if wanted else 0, 0)
        return self.try_call(_CLONE3, self.put(arguments), _CLONE_ARGS.size)


class LiveProcess(LiveTask):
    """A process that is being rebuilt, and its first task. `recorded` is the id that it had."""

    def __init__(self, pid: int, recorded: int) -> None:
        super().__init__(pid)
        self.recorded = recorded
        self.threads: dict[int, LiveTask] = {recorded: self}

    @classmethod
    def start(cls, recorded: int, keep_id: bool = True) -> LiveProcess:
        """An empty child of ours. It inherits all descriptors that are not closed on exec. Raises PyrrError."""
        try:
            try:
                pid = _engine.live_start(_SEED, recorded if keep_id else 0)
            except OSError:
                if not keep_id:
                    raise
                pid = _engine.live_start(_SEED, 0)
        except OSError as error:
            raise PyrrError(f"no process can be started to go live: {error.strerror}") from None
        return cls(pid, recorded)

    def child(self, recorded: int, shares_memory: bool = False, keep_id: bool = True) -> LiveProcess:
        """A child process as empty as this one. Raises OSError."""
        task = self.clone(_CLONE_VM if shares_memory else 0, recorded if keep_id else 0)
        return LiveProcess(task.tid, recorded)

    def zombie(self, recorded: int, status: int, keep_id: bool = True) -> None:
        """A child that has ended with a wait status, to be waited for. Raises OSError."""
        child = self.clone(0, recorded if keep_id else 0)
        if signal := status & 0x7F:
            child.call(_PRLIMIT, 0, _RLIMIT_CORE, child.put(bytes(16)), 0)
            _engine.set_mask(child.tid, 0)  # it was cloned amid a call, in which all are blocked
            os.kill(child.tid, signal)
            try:
                _engine.live_release(child.tid)
            except OSError:  # SIGKILL does not wait for us; its parent is told when we have been
                with suppress(OSError):
                    _engine.live_wait(child.tid)
        else:
            with suppress(PyrrError):
                child.try_call(_EXIT_GROUP, status >> 8)

    def thread(self, recorded: int, keep_id: bool = True) -> LiveTask:
        """One more thread. Raises OSError."""
        self.threads[recorded] = self.clone(_CLONE_THREAD_FLAGS, recorded if keep_id else 0)
        return self.threads[recorded]

    def leave_page(self) -> None:
        """Unmaps our page, by a system call from the program's own code."""
        self.try_call(_MUNMAP, _engine.GATE_PAGE, _engine.GATE_BYTES + _SCRATCH_BYTES, here=True)

    def release(self) -> None:
        """Lets all threads go on, untraced."""
        for task in self.threads.values():
            with suppress(OSError):
                _engine.live_release(task.tid)
