"""A process that is being rebuilt: stopped, traced, empty but for a page of ours, with all the authority that we have.

Its kernel objects are made by system calls of its own, which are injected (native/engine/live.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from .. import _engine
from ..errors import PyrrError
from ..syscalls import name as call_name
from . import kernel

_SEED = os.fsencode(os.path.join(os.path.dirname(_engine.__file__), "seed"))
_SCRATCH, _SCRATCH_BYTES = _engine.LIVE_ARGUMENTS
_MUNMAP, _EXIT_GROUP, _PRLIMIT, _SETNS, _FCHDIR, _CHROOT = 11, 231, 302, 308, 81, 161
_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000
_RLIMIT_CORE = 4
_CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000  # VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
_CLONE_VM = 0x100
_SIGCHLD = 17
_CLONE_ARGS = struct.Struct("<11Q")
MINUS_ONE = (1 << 64) - 1


class LiveTask:
    """One stopped thread of a process that is being rebuilt. `tid` is its id as we see it, `id` as the program does."""

    def __init__(self, tid: int, id: int) -> None:
        self.tid = tid
        self.id = id
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
        result, tid = self._clone(flags, wanted)
        if wanted and result < 0:  # it exists, or only the privileged may choose
            result, tid = self._clone(flags, 0)
        if result < 0:
            raise OSError(-result, f"clone: {os.strerror(-result)}")
        _engine.live_wait(tid)
        return LiveTask(tid, result)

    def _clone(self, flags: int, wanted: int) -> tuple[int, int]:
        ids = self.put(wanted.to_bytes(4, "little"))
        signal = 0 if flags == _CLONE_THREAD_FLAGS else _SIGCHLD
        arguments = _CLONE_ARGS.pack(flags, 0, 0, 0, signal, 0, 0, 0, ids if wanted else 0, 1 if wanted else 0, 0)
        made = _engine.live_clone(self.tid, self.put(arguments), _CLONE_ARGS.size)
        self._used = 0
        return made


class LiveProcess(LiveTask):
    """A process that is being rebuilt, and its first task. `recorded` is the id that it had."""

    def __init__(self, pid: int, id: int, recorded: int) -> None:
        super().__init__(pid, id)
        self.recorded = recorded
        self.threads: dict[int, LiveTask] = {recorded: self}

    @classmethod
    def start(cls, recorded: int, keep_id: bool = True, ids: OwnIds | None = None) -> LiveProcess:
        """An empty child of ours. It inherits all descriptors that are not closed on exec. Raises PyrrError."""
        try:
            with ids.entered() if ids else nullcontext():
                try:
                    pid = _engine.live_start(_SEED, recorded if keep_id else 0)
                except OSError:
                    if not keep_id:
                        raise
                    pid = _engine.live_start(_SEED, 0)
        except OSError as error:
            raise PyrrError(f"no process can be started to go live: {error.strerror}") from None
        if ids is None:
            return cls(pid, pid, recorded)
        made = cls(pid, own_id(pid), recorded)
        ids.begin(made)
        return made

    def child(self, recorded: int, shares_memory: bool = False, keep_id: bool = True) -> LiveProcess:
        """A child process as empty as this one. Raises OSError."""
        task = self.clone(_CLONE_VM if shares_memory else 0, recorded if keep_id else 0)
        return LiveProcess(task.tid, task.id, recorded)

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


class OwnIds:
    """A namespace of process ids for a program whose own are taken here (pid_namespaces(7)), with a /proc that shows
    them."""

    def __init__(self) -> None:
        """Raises OSError where we may not make one."""
        self._begun = False
        first, self._gate = _engine.live_own_ids(_SEED)
        self._ours, self._ids, *self._view = (
            os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for pid, name in (("self", "ns/pid"), (first, "ns/pid"), (first, "ns/mnt"), (first, "root"))
        )
        kernel.setns(self._ours, _CLONE_NEWPID)

    @property
    def descriptors(self) -> list[int]:
        """What the processes must inherit."""
        return self._view

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Meanwhile our children are in it. We cannot start threads."""
        kernel.setns(self._ids, _CLONE_NEWPID)
        try:
            yield
        finally:
            kernel.setns(self._ours, _CLONE_NEWPID)

    def begin(self, root: LiveProcess) -> None:
        """Has a process see these ids in /proc. The namespace lasts as long as the first such process, and then until
        nobody is left."""
        mounts, folder = self._view
        if root.try_call(_SETNS, mounts, _CLONE_NEWNS) == 0:
            root.call(_FCHDIR, folder)
            root.call(_CHROOT, root.put(b".\0"))
        if not self._begun:
            os.write(self._gate, root.id.to_bytes(4, "little"))
            self._begun = True

    def close(self) -> None:
        """Gives up what we have of it. It ends if nothing has begun in it."""
        for descriptor in (self._gate, self._ours, self._ids, *self._view):
            os.close(descriptor)


def own_id(pid: int) -> int:
    """The id of a process in its own namespace."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[-1]) for line in status if line.startswith("NSpid:"))
