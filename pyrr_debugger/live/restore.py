"""Makes the processes of a program that goes live. They stand still, complete, until they are released."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import _engine
from ..errors import PyrrError
from . import clocks, memory, pauses, tasks
from .code import Patch
from .descriptors import Descriptors
from .mapped import MappedFiles
from .policy import Policy
from .process import LiveProcess, OwnIds

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession
    from ..state.model import Process, ProgramState

_CHDIR, _UMASK, _SETPGID, _SETSID, _PRLIMIT, _PRCTL = 80, 95, 109, 112, 302, 157
_PR_SET_TSC, _PR_TSC_SIGSEGV = 26, 2
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_MM, _PR_SET_MM_MAP = 4, 36, 35, 14
_MM_MAP = struct.Struct("<12Q2I")
_UNLIMITED = (1 << 64) - 1
_AT_NULL = 0
_SIGNALS = 64


class Restoration:
    """The processes that go live, by their recorded ids. A context manager: what has not been released is killed."""

    def __init__(
        self,
        session: ReplaySession,
        state: ProgramState,
        descriptors: Descriptors,
        mapped: MappedFiles,
        policy: Policy,
        recorded: bool = False,
    ) -> None:
        """`recorded`: it is to be recorded again."""
        self._recorded = recorded
        self._session = session
        self._state = state
        self._descriptors = descriptors
        self._mapped = mapped
        self._policy = policy
        self._keep_ids = policy.choice("pid") != "new"
        self._shared = memory.SharedObjects()
        self._patches: dict[int, list[Patch]] = {}
        self._own_ids: OwnIds | None = None
        self._released = False
        self.processes: dict[int, LiveProcess] = {}
        self.traps: dict[int, list[tuple[int, bytes]]] = {}
        """Of a program that is recorded again, what has been replaced in the code of each process, by address."""
        self.notes: list[str] = []
        """What has come out differently, in words."""

    def __enter__(self) -> Restoration:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._released:
            self._end_all()
        if self._own_ids is not None:
            self._own_ids.close()
        self._shared.close()
        self._mapped.close()
        self._descriptors.close()

    def _end_all(self) -> None:
        for process in self.processes.values():
            with suppress(OSError):
                os.kill(process.tid, signal.SIGKILL)
        self.processes.clear()

    @property
    def root(self) -> LiveProcess:
        return self.processes[next(iter(self._state.processes))]

    def build(self) -> None:
        """Makes all processes, as far as the kernel lets us. Raises PyrrError where one cannot be made."""
        try:
            self._shared.prepare(self._session)
            if self._policy.choice("clock") == "continue" and not clocks.enter_time(self._state.clocks):
                self.notes.append("the monotonic clock is this machine's: time-outs that run may come early or late")
            self._start_all()
            if self._recorded and self._ids_taken():
                raise PyrrError(
                    "--record needs the program's process and thread ids, which are taken, or not ours to choose: "
                    "end who has them, or resume without it"
                )
            if self._keep_ids and self._ids_taken():
                self._start_again()
            for recorded, process in self._state.processes.items():
                self._fill(process, self.processes[recorded])
        except OSError as error:
            raise PyrrError(f"the program cannot go live: {error.strerror or error}") from None

    def _start_all(self) -> None:
        own = self._own_ids.descriptors if self._own_ids else []
        inherited = [*self._shared.descriptors, *self._descriptors.inherited, *self._mapped.inherited, *own]
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        try:
            for recorded, process in self._state.processes.items():
                parent = self.processes.get(process.parent)
                if parent is None:
                    live = LiveProcess.start(recorded, self._keep_ids, self._own_ids)
                else:
                    live = parent.child(recorded, self._shares_memory(process), self._keep_ids)
                self.processes[recorded] = live
        finally:
            for descriptor in inherited:
                os.set_inheritable(descriptor, False)
        for recorded, process in self._state.processes.items():
            live = self.processes[recorded]
            for tid in process.tasks:
                if tid != process.pid:
                    live.thread(tid, self._keep_ids)
            for zombie, status in process.zombies.items():
                live.zombie(zombie, status, self._keep_ids)

    def _ids_taken(self) -> bool:
        threads = [item for process in self.processes.values() for item in process.threads.items()]
        return any(thread.id != recorded for recorded, thread in threads)

    def _start_again(self) -> None:
        """In a namespace of ids, if we may."""
        try:
            self._own_ids = OwnIds()
        except OSError:
            return
        self._end_all()
        self.notes.append("ids of the program are taken: it has a namespace of its own, in which it has them all")
        self._start_all()

    def _shares_memory(self, process: Process) -> bool:
        parent = self._state.processes.get(process.parent)
        return parent is not None and parent.memory is process.memory

    def _fill(self, state: Process, process: LiveProcess) -> None:
        leader = next(iter(state.tasks))
        if not self._shares_memory(state):
            memory.copy(self._session, leader, process, self._shared)
            self._mapped.place(state, process)
            self._patches[state.memory.id] = memory.clean_code(self._session, leader, process)
            found = list(memory.traps(self._session, leader, process))
            if self._recorded:
                self.traps[state.pid] = found
            for address, original in () if self._recorded else found:
                process.write(address, original)
        self._descriptors.place(state, process, {recorded: one.id for recorded, one in self.processes.items()})
        self._restore_process(state, process)
        for tid, task in state.tasks.items():
            tasks.restore(self._session, task, process.threads[tid], self._patches[state.memory.id])
        if not self._recorded:  # replay knows the program's own call
            pauses.shorten(self._session, state, process, self._state.time)
        for tid, thread in process.threads.items():
            if thread.id != tid:
                self.notes.append(f"thread {tid} of process {state.pid} has the id {thread.id} now")

    def _restore_process(self, state: Process, process: LiveProcess) -> None:
        tasks.restore_actions(state, process)
        self._attempt(lambda: process.call(_CHDIR, process.put(_path(state.directories.cwd))), "its directory")
        if state.directories.umask is not None:
            process.call(_UMASK, state.directories.umask)
        for resource, (soft, hard) in state.limits.items():
            limits = process.put(struct.pack("<2q", soft, hard))
            if process.try_call(_PRLIMIT, 0, resource, limits, 0) < 0:
                self.notes.append(f"limit {resource} cannot be raised again")
        if state.dumpable is not None:
            process.try_call(_PRCTL, _PR_SET_DUMPABLE, state.dumpable)
        if state.subreaper:
            process.call(_PRCTL, _PR_SET_CHILD_SUBREAPER, 1)
        clocks.restore_timers(state, process, self.notes)
        self._restore_group(state, process)
        self._restore_map(state, process)
        self._descriptors.tidy(state, process)

    def _attempt(self, action: Callable[[], int], what: str) -> None:
        try:
            action()
        except OSError as error:
            self.notes.append(f"{what} cannot be restored: {error}")

    def _restore_group(self, state: Process, process: LiveProcess) -> None:
        """A process group or session of its own, relative to the first process, which has that of whoever resumes
        it."""
        root = next(iter(self._state.processes.values()))
        if state is root:
            return
        if state.session != root.session and state.session == state.pid:
            self._attempt(lambda: process.call(_SETSID), f"the session of process {state.pid}")
        elif state.group != root.group:
            leader = self.processes.get(state.group)
            group = leader.id if leader and leader is not process else 0
            self._attempt(lambda: process.call(_SETPGID, 0, group), f"the process group of process {state.pid}")

    def _restore_map(self, state: Process, process: LiveProcess) -> None:
        """Where the kernel believes heap, arguments and environment to be: brk(2), /proc/PID/cmdline."""
        brk = state.memory.brk or _engine.GATE_PAGE
        start_brk = min(state.memory.brk_start or brk, brk)
        start = state.memory.start_stack
        arguments, environment, auxv = _initial_stack(process, start) if start else ((0, 0), (0, 0), b"")
        page = _engine.GATE_PAGE
        anywhere = (start or page, *(x or page for x in (*arguments, *environment)))
        executable = self._descriptors.executable_of(state)
        numbers = (page, page + 1, page, page, start_brk, brk, *anywhere)
        for descriptor in (executable, 0xFFFFFFFF):
            auxv_at = process.put(auxv) if auxv else 0
            packed = _MM_MAP.pack(*numbers, auxv_at, len(auxv), descriptor & 0xFFFFFFFF)
            if process.try_call(_PRCTL, _PR_SET_MM, _PR_SET_MM_MAP, process.put(packed), len(packed), 0) == 0:
                return
        self.notes.append(f"process {state.pid}: the kernel does not let its heap be placed; it grows elsewhere")

    def release(self) -> None:
        """Lets all processes go. Raises PyrrError."""
        self.hand_over()
        for process in self.processes.values():
            process.release()

    def hand_over(self) -> None:
        """Has all processes be what they are, but for our tracing: they stand still, and are not killed by us any more.
        Raises PyrrError."""
        if self._recorded:
            for thread in (one for process in self.processes.values() for one in process.threads.values()):
                thread.try_call(_PRCTL, _PR_SET_TSC, _PR_TSC_SIGSEGV)
        for recorded, process in self.processes.items():
            process.leave_page()
            state = self._state.processes[recorded]
            for number in range(1, _SIGNALS + 1):
                if state.pending >> number - 1 & 1:
                    os.kill(process.tid, number)
            for task in state.tasks.values():
                tasks.finish(task, process)
        self._released = True


def _path(path: str) -> bytes:
    return os.fsencode(path) + b"\0"


def _initial_stack(process: LiveProcess, start: int) -> tuple[tuple[int, int], tuple[int, int], bytes]:
    """The bounds of the argument and environment strings, and the auxiliary vector, by the stack of an exec (System V
    ABI)."""
    words = struct.unpack_from("<4096Q", process.read(start, 8 * 4096).ljust(8 * 4096, b"\0"))
    count = words[0]
    if count > 2000 or words[1 + count]:
        return (0, 0), (0, 0), b""
    arguments = words[1 : 1 + count]
    end = words.index(0, 2 + count)
    environment = words[2 + count : end]
    auxv = b""
    for at in range(end + 1, len(words) - 1, 2):
        auxv += struct.pack("<2Q", words[at], words[at + 1])
        if words[at] == _AT_NULL:
            break
    return _span(process, arguments), _span(process, environment), auxv


def _span(process: LiveProcess, strings: tuple[int, ...]) -> tuple[int, int]:
    if not strings:
        return 0, 0
    last = max(strings)
    return min(strings), last + process.read(last, 131072).find(b"\0") + 1
