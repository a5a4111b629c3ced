"""A recording session: the policy around the engine's loop."""

from __future__ import annotations

import errno
import os
import sys
import time

from .. import _engine, procfs, snapshot
from ..agent import agent_image
from ..clock import places_of
from ..errors import PyrrError, TakenError
from ..light import NamedTuple, signal, suppress
from ..trace_format import EVENT_KINDS, EventKind, FilePiece, FileWrite, ProcessWrite
from ..trace_writer import TraceWriter
from .entropy import RandomSite, known_sites, random_sites, remember_sites, trap_bytes
from .files import FileRecorder
from .inherited import inherited, status_text
from .outsiders import Outsiders, sharing
from .sites import note_used, sites_of

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, TypeAlias

assert EVENT_KINDS == _engine.EVENT_KINDS, "native/engine/events.h and events.py disagree"

_ELF_CLASS_64 = b"\2"
_AT_NULL, _AT_IGNORE, _AT_SYSINFO_EHDR = 0, 1, 33
_PROT_WRITE, _PROT_EXEC = 2, 4
_MAP_SHARED_TYPES = (1, 3)
_SYS_MMAP, _SYS_MREMAP, _SYS_FTRUNCATE, _SYS_FALLOCATE = 9, 25, 77, 285
_SYS_PWRITE64, _SYS_PWRITEV = 18, 296
_SYS_SETRLIMIT, _SYS_PRLIMIT = 160, 302
_SYS_SENDFILE, _SYS_COPY_FILE_RANGE, _SYS_PROCESS_VM_WRITEV = 40, 326, 311
_FLUSH_SECONDS = 0.25
_DEADLOCK_LOOKS = 2  # at a program that sleeps, before it is said to sleep for good
_STUB_DISTANCE = 1 << 20  # bytes from a program down to the stubs for its sites
_WINDOW = 4096  # bytes that an unknown call may have written behind each pointer
_OWN_SIGNALS = {
    *(signal.SIGALRM, signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
}
"""Signals that the recorder leaves as they are: its timer, harmless ones, and job control."""
_RSP = 19 * 8  # offset of rsp in struct user_regs_struct


class CommandError(PyrrError):
    """The program cannot be executed; `status` is what a shell would return."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CannotRecord(Exception):
    """Recording ends here, and the program goes on without; the text says why."""


class Recording(NamedTuple):
    """What came of a session. `status` is the exit status of the program as a shell gives it (128 + signal);
    `failure` says why the trace is cut, if it is; `hung` that the program was killed after its time, or when all of
    it slept for good. `path` is None where nothing could be written."""

    path: str | None
    status: int
    events: int
    failure: str | None
    hung: bool = False


def find_program(command: str) -> str:
    """The path that execvp would run. Raises CommandError with status 127 or 126."""
    folders = [""] if "/" in command else os.environ.get("PATH", os.defpath).split(":")
    for folder in folders:
        path = os.path.join(folder, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    missing = False
    try:
        os.stat(command)
    except OSError as error:
        missing = not isinstance(error, PermissionError)
    if "/" in command and not missing:
        raise CommandError(f"{command}: cannot be executed (permission denied, or a directory)", 126)
    raise CommandError(f"{command or repr(command)}: command not found", 127)


_Patches: TypeAlias = "list[tuple[int, bytes]]"
"""Addresses, and what was written there."""


class _Code(NamedTuple):
    """What is known of code that is mapped: where it asks for random numbers, relative to its beginning; the piece of
    an ELF file that it is; number and content of the engine's table of its system call sites; what ticks in it."""

    random: list[RandomSite]
    piece: FilePiece | None = None
    number: int = -1
    sites: bytes = b""
    places: bytes | None = b""


Schedule: TypeAlias = "list[tuple[int, int, int]]"
"""Decisions of the scheduler: which task, where in its course, and who goes on then (native/engine/scheduler.h)."""


class Decided(NamedTuple):
    """A decision of the scheduler: the task of that number (of their beginnings, from 0), at a place in its own
    course, was followed by another. `from_task` (0: it had ended) and `to_task` are their ids, `next_at` the place of
    the other in its course, `event` the next event then; `preempts` tells that the first could have gone on."""

    task: int
    course: int
    next: int
    from_task: int
    to_task: int
    next_at: int
    event: int
    preempts: bool

    @property
    def asked(self) -> tuple[int, int, int]:
        """As a schedule has it."""
        return self.task, self.course, self.next


class RecordingSession:
    """Records one command and all its children into a new trace."""

    def __init__(
        self,
        command: list[str],
        path: str,
        checksum_every: int = 0,
        follow: str = "all",
        wait: bool = False,
        agent: bool = True,
        seed: int | None = None,
        schedule: Schedule | None = None,
        limit: float | None = None,
    ) -> None:
        """With a `seed` tasks take turns at random; with a `schedule` as it says, and else only where one sleeps.
        After `limit` seconds the program is killed, and earlier if all of it sleeps for good.
        Raises CommandError for a command that cannot be found, PyrrError when the trace cannot be made, TakenError when
        there is something at `path`."""
        self._command = command
        self._affinity = os.sched_getaffinity(0)
        self._core = self._prepare()
        try:
            self._writer = TraceWriter(path, self._header, self._affinity - {self._core} or self._affinity)
        except FileExistsError:
            raise TakenError(f"{path} exists already: name another trace, or remove it") from None
        except OSError as error:
            raise PyrrError(f"cannot make a trace at {path}: {error.strerror}") from None
        self._files = FileRecorder(self._writer)
        self._follow = follow
        self._agent = agent
        image = agent_image() if agent else b""
        self._seed, self._schedule = seed, schedule
        self._engine = _engine.Recorder(
            checksum_every, wait, follow_forks=follow != "none", agent=image, seed=seed, schedule=schedule
        )
        self._limit = limit
        self._hung = False
        self._quiet = -1, 0
        self._outsiders = Outsiders()
        self._shared: dict[tuple[str | int, ...], int] = {}
        self._code: dict[tuple[str, int, int], _Code] = {}
        self._status = 0
        self._times: list[int] = []  # of the last event of each chunk
        self._root = 0
        self._begun = False

    def _prepare(self) -> int:
        """Looks for the program; the processor to run on. Raises CommandError."""
        self._program = find_program(self._command[0])
        return _current_core(self._affinity)

    def _header(self) -> dict[str, Any]:
        # Only here, in the thread that writes: the program starts meanwhile.
        from .. import cpu

        order: dict[str, Any] = {}
        if self._seed is not None:
            order = {"chaos": {"seed": self._seed}}
        elif self._schedule is not None:
            order = {"schedule": [list(decision) for decision in self._schedule]}
        return {
            **order,
            "command": self._command,
            "cwd": os.getcwd(),
            "started": time.time(),
            "machine": {"kernel": os.uname().release, "architecture": os.uname().machine},
            "core": self._core,
            "cpu": cpu.features(_engine.cpuid, _engine.xgetbv()).to_wire(),
        }

    def run(self) -> Recording:
        """Runs the program to its end, recorded as long as the trace can be written."""
        self._started = time.monotonic()
        # One processor for tracer and tracees: a stop then costs a tenth (docs/performance.md).
        os.sched_setaffinity(0, {self._core})
        self._begin()
        with _Signals(self._root, self._engine.knows, self._look_at_the_time):
            failure = self._record()
            for code in self._code.values():
                if code.piece:
                    note_used(self._writer.cache, code.piece, code.sites, self._engine.sites(code.number))
            if failure:
                self._live_on()
        self._writer.close()
        if not failure and self._writer.error:
            failure = _write_failure(self._writer)
        if self._writer.is_empty:
            self._writer.discard()
        path = None if self._writer.is_empty else self._writer.path
        return Recording(path, _shell_status(self._status), self._engine.events, failure, self._hung)

    def _begin(self) -> None:
        """Starts the program. Raises CommandError."""
        try:
            environment = [k + b"=" + v for k, v in os.environb.items()]
            arguments = [os.fsencode(a) for a in self._command]
            self._root = self._engine.spawn(os.fsencode(self._program), arguments, environment)
        except OSError as error:
            self._writer.close()
            self._writer.discard()
            status = 127 if error.errno == errno.ENOENT else 126
            raise CommandError(f"{self._program}: cannot be executed: {error.strerror}", status) from None

    def decisions(self) -> list[Decided]:
        """Where the turns of tasks ended otherwise than usual, in order."""
        return [Decided(*decided) for decided in self._engine.decisions()]

    def _look_at_the_time(self) -> None:
        """Called every now and then while the program runs: kills it when it hangs."""
        if self._limit is None or self._hung:
            return
        events, times = self._quiet
        asleep = events == self._engine.events and self._engine.deadlocked()
        self._quiet = self._engine.events, times + 1 if asleep else 0
        if times >= _DEADLOCK_LOOKS or time.monotonic() > self._started + self._limit:
            self._hung = True
            self._engine.kill()

    def _record(self) -> str | None:
        """Handles requests until the program has ended (None), or until recording cannot go on (the reason)."""
        handlers: dict[object, Callable[..., None]] = {
            "exec": self._exec,
            "map": self._map,
            "written": self._written,
            "unknown": self._unknown,
            "checksum": self._checksum,
            "exiting": self._exiting,
            "left": self._left,
            "flush": self._flush,
            "amid": self._amid,
            "compatibility": self._compatibility,
        }
        while self._writer.error is None:
            try:
                kind, *detail = self._engine.run()
            except OSError as error:
                self._flush()
                return f"the kernel refused to trace on ({error.strerror})"
            if kind == "done":
                (status,) = detail
                assert isinstance(status, int)
                self._status = status
                self._engine.detach("the first process had ended")
                self._flush()  # the end is a chunk of its own: whether a trace is whole is seen without reading it
                self._emit(EventKind.END, 0, self._status, self._writer.sums(), self._times)
                self._flush()
                return None
            try:
                handlers[kind](*detail)
            except CannotRecord as reason:
                self._flush()
                return str(reason)
            except Exception as error:  # whatever went wrong here, the program must live on
                return f"event {self._engine.events}: {type(error).__name__}: {error}"
        return _write_failure(self._writer)

    def _live_on(self) -> None:
        """The program goes on untraced."""
        self._engine.detach("recording stopped")
        with suppress(ChildProcessError):
            while True:
                try:
                    self._status = os.waitpid(self._root, 0)[1]
                    if not os.WIFSTOPPED(self._status):
                        return
                except InterruptedError:
                    continue

    def _emit(self, kind: int, task: int, *items: object) -> None:
        self._engine.emit(kind, task, items)

    def _flush(self) -> None:
        first, count, data, time = self._engine.take()
        self._writer.add_chunk(first, count, data)
        if count:
            self._times.append(time)

    def _amid(self, task: int, process: int, loop: bytes, repeats: bool) -> None:
        """A task amid its code, which has executed this: it stays there if it waits for another, or if a signal or
        others wait for it."""

        def read(address: int, size: int) -> bytes:
            return _engine.read(task, address, size)

        with suppress(OSError):
            if (repeats and self._rests(loop, read)) or not self._engine.may_stand():
                return
            from . import point

            guide = point.Guide(loop, read)
            moved = guide.lead(self._engine.step)
            if moved is None:
                return
            maps = procfs.read_maps(task)
            protection = point.protection(guide.address, len(moved.code), maps)
            if protection is not None:
                kept = point.contents(guide.near(), read, maps, self._engine.pending())
                self._engine.stand(point.spans(task, maps), kept, [moved.code, protection, *moved.places])

    def _rests(self, loop: bytes, read: Callable[[int, int], bytes]) -> bool:
        """Whether a task waits for another in a loop that comes back to its registers: then it is left there."""
        from . import spin

        turn = spin.turn(loop, read)
        before = {part: read(*part) for part in turn.written} if turn else {}
        if turn is None or not self._engine.turn():
            return False
        changed = [part for part, content in before.items() if read(*part) != content]
        if turn.depends_on(changed):
            return False
        self._engine.rest(_contents(changed, read), _contents(spin.without(turn.used, changed), read))
        return True

    def _follows(self, process: int) -> bool:
        """Whether a process that has just executed a program is one of those to record."""
        if process == self._root or self._follow == "all":
            return True
        return self._follow in [f"exec {name}" for name in procfs.program_names(process)]

    def _left(self, task: int, process: int, child: int) -> None:
        """A child is not recorded, and has its parent's shared memory."""
        for mapping in procfs.read_maps(task):
            if mapping.shared and mapping.prot & _PROT_WRITE:
                self._emit(EventKind.NOTE, task, sharing(mapping, child))

    def _look_for_outsiders(self, task: int, maps: list[procfs.Mapping]) -> None:
        for text in self._outsiders.look(maps):
            self._emit(EventKind.NOTE, task, text)

    def _compatibility(self, task: int, process: int) -> None:
        raise CannotRecord(f"process {process} makes a 32-bit system call (int 0x80), which cannot be recorded yet")

    def _exec(self, task: int, process: int) -> None:
        if not self._follows(process):
            self._engine.leave(task, f"{os.readlink(f'/proc/{process}/exe')} is not followed")
            return
        with open(f"/proc/{process}/exe", "rb") as file:
            if file.read(5)[4:] != _ELF_CLASS_64:
                raise CannotRecord(f"{os.readlink(file.name)} is a 32-bit program")
        maps = procfs.read_maps(process)
        _hide_vdso(task, maps)
        if agent := self._install_agent(task, process, maps):
            maps = procfs.read_maps(process)
        pieces = self._files.store_program(process, maps)
        for mapping in maps:
            if mapping.prot & _PROT_EXEC and mapping.inode and not mapping.shared:
                size, piece = mapping.end - mapping.start, pieces.get(mapping.start)
                self._learn_code(task, mapping.start, size, piece)
        image = snapshot.take(process, pieces, maps).to_wire()
        image["agent"] = _engine.AGENT[0] if agent else 0
        image["inputs"] = self._engine.inputs()
        image["cwd"] = os.readlink(f"/proc/{process}/cwd")
        image["descriptors"] = [[d.number, d.target, d.pos, d.flags] for d in procfs.descriptors(process)]
        image["status"] = status_text(process)
        if not self._begun:
            image["inherited"] = inherited(process)
            self._begun = True
        self._emit(EventKind.EXEC, task, image)
        self._writer.begin()

    def _install_agent(self, task: int, process: int, maps: list[procfs.Mapping]) -> bool:
        """Puts the agent into a new program, with room for stubs below it."""
        program = os.readlink(f"/proc/{process}/exe")
        first = next((m.start for m in maps if m.name == program), 0)
        return self._engine.install(task, max(0, first - _STUB_DISTANCE))

    def _learn_code(self, task: int, start: int, size: int, piece: FilePiece | None) -> _Patches:
        """Code has been mapped, as a piece of an ELF file or otherwise. Puts a trap in the place of each rdrand and
        rdseed, and tells the engine which system calls it may patch, and what ticks. Returns what was written."""
        code = (
            self._facts_of_code(task, piece, start)
            if piece
            else _Code(random_sites(_engine.read(task, start, size), 0))
        )
        if self._agent:
            self._engine.code(task, start, start + size, code.number)
        if piece and code.places is None:
            self._emit(EventKind.NOTE, task, f"{piece.name} has no bytecode clock: signals wait for system calls")
        elif code.places:
            self._engine.clock(task, start, start + size, code.places)
        return self._replace_random(task, start, code.random)

    def _facts_of_code(self, task: int, piece: FilePiece, start: int) -> _Code:
        """What is known of a piece that a task has mapped at `start`: from this recording, the cache, or by looking."""

        def content() -> bytes | None:
            return self._files.content(task, piece)

        key = piece.hash, piece.offset, piece.length
        if key not in self._code:
            cache = self._writer.cache
            random = known_sites(cache, piece)
            if random is None:
                whole = content()
                code = whole[piece.offset : piece.offset + piece.length] if whole else b""
                random = random_sites(code or _engine.read(task, start, piece.length), 0)
                remember_sites(cache, piece, random)
            sites = sites_of(cache, piece, content) if self._agent else b""
            places = places_of(cache, piece, content, task) if self._agent else b""
            self._code[key] = _Code(random, piece, self._engine.add_sites(sites), sites, places)
            self._files.forget()
        return self._code[key]

    def _replace_random(self, task: int, start: int, sites: list[RandomSite]) -> _Patches:
        patches = []
        for site in sites:
            address = start + site.address
            try:
                self._engine.patch(task, address, _engine.read(task, address, site.length))
            except OSError:
                self._emit(EventKind.NOTE, task, f"too many rdrand instructions: {address:#x} is not recorded")
                break
            patch = trap_bytes(site)
            _engine.write(task, address, patch)
            patches.append((address, patch))
        return patches

    def _map(self, task: int, process: int, nr: int, args: tuple[int, ...], result: int) -> None:
        if nr == _SYS_MREMAP:
            self._complete(_file_memory(task, result + args[1], result + args[2]))
            return
        if nr in (_SYS_SETRLIMIT, _SYS_PRLIMIT):
            other = args[0] if nr == _SYS_PRLIMIT and args[0] else process
            self._complete(self._lowest_of_stack(task, process, other))
            return
        if nr != _SYS_MMAP:
            maps = procfs.read_maps(task)
            self._look_for_outsiders(task, maps)
            self._complete(self._attached(task, args[0], next(m for m in maps if m.start == result)))
            return
        _, length, prot, flags, descriptor, offset = args
        descriptor &= 0xFFFFFFFF
        shared = flags & 0xF in _MAP_SHARED_TYPES
        if shared:
            self._look_for_outsiders(task, procfs.read_maps(task))
        mapped = self._files.store_descriptor(task, descriptor, offset, length, shared)
        if mapped is None:
            target = _target(task, descriptor)
            if shared:
                text = f"{target} is mapped: what others write there later is not recorded"
                self._emit(EventKind.NOTE, task, text)
            self._complete(_memory_of(task, result))
            return
        known = len(self._shared)
        own = mapped.is_elf and not shared
        number = 0 if own else self._shared.setdefault(mapped.identity, len(self._shared) + 1)
        outputs: list[tuple[int, FilePiece | bytes]] = [
            (result + distance, piece._replace(shared=number)) for distance, piece in mapped.pieces
        ]
        if prot & _PROT_EXEC and not shared:
            elf_piece = mapped.pieces[0][1] if mapped.is_elf else None
            outputs += self._learn_code(task, result, length, elf_piece)
        self._complete(outputs)
        # Later writes to the file show through the mapping. ELF files are not written while mapped.
        if len(self._shared) > known:
            self._engine.watch(*mapped.identity)

    def _attached(self, task: int, segment: int, mapping: procfs.Mapping) -> list[tuple[int, FilePiece]]:
        """A segment of System V shared memory, which is a file that has an id in its namespace for a name."""
        namespace = os.stat(f"/proc/{task}/ns/ipc").st_ino
        number = self._shared.setdefault(("System V", namespace, segment), len(self._shared) + 1)
        return [(address, piece._replace(shared=number)) for address, piece in self._files.store_memory(task, mapping)]

    def _written(self, task: int, process: int, nr: int, args: tuple[int, ...], result: int) -> None:
        """A file changed that is or was mapped: mappings show what it now holds. Or the kernel
        has copied a file to the program's stdout or stderr."""
        if nr in (_SYS_SENDFILE, _SYS_COPY_FILE_RANGE):
            self._engine.complete([], _copied(task, nr, args, result))
            return
        if nr == _SYS_PROCESS_VM_WRITEV:
            self._complete(
                self._written_to(task, process, args[0] & 0xFFFFFFFF, _vectors(task, args[3], args[4]), result)
            )
            return
        descriptor = args[0] & 0xFFFFFFFF
        if (memory := _memory_file(_target(task, descriptor))) is not None:
            start, _ = _changed_part(task, descriptor, nr, args, result)
            self._complete(self._written_to(task, process, memory, [(start, result)], result))
            return
        try:
            start, end = _changed_part(task, descriptor, nr, args, result)
            with open(f"/proc/{task}/fd/{descriptor}", "rb") as file:
                status = os.fstat(file.fileno())
                data = os.pread(file.fileno(), end - start, start)
            number = self._shared[status.st_dev, status.st_ino]
            # What lies behind the new end of a truncated file reads as zeros in its last page.
            outputs = [(0, FileWrite(number, start, data))]
            if nr == _SYS_FTRUNCATE:
                outputs.append((0, FileWrite(number, start + len(data), bytes(snapshot.PAGE - len(data)))))
            self._complete(outputs)
        except OSError as error:
            self._emit(EventKind.NOTE, task, f"a write to a mapped file was not followed: {error.strerror}")

    def _unknown(self, task: int, process: int, nr: int, args: tuple[int, ...], result: int) -> None:
        """A call that the specification does not know: whatever its arguments point at may have been written."""
        if result != -errno.ENOSYS:
            self._emit(EventKind.NOTE, task, f"unknown system call {nr} was recorded conservatively")
        outputs = [
            (address, _engine.read(task, address, min(_WINDOW, mapping.end - address)))
            for mapping in procfs.read_maps(task)
            for address in dict.fromkeys(args)
            if mapping.prot & _PROT_WRITE and mapping.start <= address < mapping.end
        ]
        self._complete(outputs)

    def _lowest_of_stack(self, task: int, process: int, target: int) -> list[tuple[int, bytes | ProcessWrite]]:
        """The lowest word of the stack of a process: its address says how far the stack has grown."""
        one = task if target == process else self._engine.task_of(target)
        start = next((m.start for m in procfs.read_maps(one) if m.name == "[stack]"), None) if one else None
        return self._written_to(task, process, target, [(start, 8)], 8) if start else []

    def _written_to(
        self, task: int, process: int, target: int, parts: list[tuple[int, int]], size: int
    ) -> list[tuple[int, bytes | ProcessWrite]]:
        """What a call of a task has written into the memory of a process, be it its own."""
        outputs: list[tuple[int, bytes | ProcessWrite]] = []
        for address, length in parts:
            # Memory is read of the task, or of any of a process: the first one may have ended, and have none.
            one = task if target == process else self._engine.task_of(target) or target
            data = _engine.read(one, address, min(length, size))
            size -= len(data)
            if data:
                outputs.append((address, data if target == process else ProcessWrite(target, data)))
        return outputs

    def _complete(self, outputs: Any) -> None:
        wire: list[object] = []
        for address, content in outputs:
            wire += address, content if isinstance(content, bytes) else content.to_wire()
        self._engine.complete(wire)

    def _checksum(self, task: int, process: int, arrived: int = 1, maps: list[procfs.Mapping] | None = None) -> None:
        from .. import checksum  # first needed where the program has started, mostly where it ends

        with suppress(OSError):
            ranges = [list(r) for r in checksum.of_task(task, maps or procfs.read_maps(task))]
            self._emit(EventKind.CHECKSUM, task, process, arrived, _engine.registers(task), ranges)

    def _exiting(
        self, task: int, process: int, tasks: int, status: int, arrived: int, behind: int, unsettled: int
    ) -> None:
        # A task that dies amid computation has changed memory since its last event.
        if tasks > 1:
            return
        with suppress(OSError):
            maps = procfs.read_maps(task)
            self._look_for_outsiders(task, maps)
            if (arrived or behind) and not unsettled:
                self._checksum(task, process, arrived, maps)


def _current_core(allowed: set[int]) -> int:
    """The processor this runs on: field 39 of /proc/self/stat, proc_pid_stat(5)."""
    with open("/proc/self/stat") as file:
        core = int(file.read().rpartition(")")[2].split()[36])
    return core if core in allowed else min(allowed)


class _Signals:
    """While a program is recorded, the terminal's signals are its own, and what others send to the recorder is
    passed on to it. What the program sends to its process group, the recorder among it, has reached it already. The
    timer makes waiting return, so that events reach the disk and signals are looked at while the program sleeps."""

    _TERMINAL = (signal.SIGINT, signal.SIGQUIT)
    _TAKEN = set(signal.valid_signals()) - {*_TERMINAL} - _OWN_SIGNALS

    def __init__(self, root: int, is_recorded: Callable[[int], bool], tick: Callable[[], None]) -> None:
        self._root, self._is_recorded, self._tick = root, is_recorded, tick

    def __enter__(self) -> None:
        handlers: dict[int, Any] = dict.fromkeys(self._TERMINAL, signal.SIG_IGN)
        handlers[signal.SIGALRM] = self._pass_on
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._TAKEN)
        signal.setitimer(signal.ITIMER_REAL, _FLUSH_SECONDS, _FLUSH_SECONDS)

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._pass_on()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _pass_on(self, _: int = 0, __: FrameType | None = None) -> None:
        while (info := signal.sigtimedwait(self._TAKEN, 0)) is not None:
            if not self._is_recorded(info.si_pid):
                with suppress(ProcessLookupError):
                    os.kill(self._root, info.si_signo)
        self._tick()


def _hide_vdso(task: int, maps: list[procfs.Mapping]) -> None:
    """Makes libc take real system calls for the time: without its entry in the auxiliary vector on the stack, the
    vDSO is not found (getauxval(3))."""
    stack = int.from_bytes(_engine.registers(task)[_RSP : _RSP + 8], "little")
    end = next(m.end for m in maps if m.start <= stack < m.end)
    data = _engine.read(task, stack, end - stack)
    words = memoryview(data[: len(data) // 8 * 8]).cast("Q")
    at = 1 + words[0] + 1  # argc, argv and its NULL
    while words[at]:
        at += 1
    at += 1
    while words[at] != _AT_NULL:
        if words[at] == _AT_SYSINFO_EHDR:
            _engine.write(task, stack + 8 * at, _AT_IGNORE.to_bytes(8, "little"))
        at += 2


def _memory_of(task: int, address: int) -> list[tuple[int, bytes]]:
    """The readable content of the mapping at an address."""
    for mapping in procfs.read_maps(task):
        if mapping.start <= address < mapping.end:
            return [(mapping.start, _engine.read(task, mapping.start, mapping.end - mapping.start))]
    return []


def _file_memory(task: int, start: int, end: int) -> list[tuple[int, bytes]]:
    """What a mapping of a file shows from `start`, by which it has just grown; nothing where it is anonymous."""
    for mapping in procfs.read_maps(task):
        if mapping.inode and mapping.start <= start < mapping.end:
            return [(start, _engine.read(task, start, min(end, mapping.end) - start))]
    return []


def _vectors(task: int, address: int, count: int) -> list[tuple[int, int]]:
    words = memoryview(_engine.read(task, address, 16 * min(count, 1024))).cast("Q")
    return list(zip(words[::2], words[1::2], strict=True))


def _target(task: int, descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/{task}/fd/{descriptor}")
    except OSError:
        return f"descriptor {descriptor}"


def _memory_file(target: str) -> int | None:
    """The process whose memory is written through /proc/PID/mem or /proc/PID/task/TID/mem; None of other files."""
    parts = target.split("/")
    own = parts[:2] == ["", "proc"] and parts[-1] == "mem" and len(parts) in (4, 6)
    return int(parts[2]) if own and parts[2].isdecimal() else None


def _changed_part(task: int, descriptor: int, nr: int, args: tuple[int, ...], result: int) -> tuple[int, int]:
    """The byte range of a file that a call has changed; all of it where the call does not tell."""
    if nr in (_SYS_PWRITE64, _SYS_PWRITEV):
        return args[3], args[3] + result
    if nr == _SYS_FTRUNCATE:
        return args[1] // snapshot.PAGE * snapshot.PAGE, args[1]
    if nr == _SYS_FALLOCATE:
        return args[2], args[2] + args[3]
    position = next(d.pos for d in procfs.descriptors(task) if d.number == descriptor)
    return max(0, position - result), position


def _copied(task: int, nr: int, args: tuple[int, ...], result: int) -> bytes:
    """What sendfile(2) or copy_file_range(2) has just copied, read from the source once more."""
    source, pointer = (args[1], args[2]) if nr == _SYS_SENDFILE else (args[0], args[1])
    descriptor = source & 0xFFFFFFFF
    if pointer:
        end = int.from_bytes(_engine.read(task, pointer, 8), "little")
    else:
        end = next(d.pos for d in procfs.descriptors(task) if d.number == descriptor)
    with open(f"/proc/{task}/fd/{descriptor}", "rb") as file:
        return os.pread(file.fileno(), result, end - result)


def _contents(parts: list[tuple[int, int]], read: Callable[[int, int], bytes]) -> list[object]:
    """Addresses of parts of memory, each with what is there."""
    return [item for part in parts for item in (part[0], read(*part))]


def _write_failure(writer: TraceWriter) -> str:
    error = writer.error
    assert error is not None
    return f"the trace {writer.path} cannot be written ({error.strerror})"


def _shell_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def report(recording: Recording, quiet: bool) -> None:
    """The line on stderr with which a recording ends."""
    if recording.path is None:
        print(f"pyrr: nothing was recorded: {recording.failure}. The program went on unrecorded", file=sys.stderr)
    elif recording.failure:
        print(
            f"pyrr: recording stopped: {recording.failure}. The program went on unrecorded; "
            f"what was recorded until then is in {recording.path}",
            file=sys.stderr,
        )
    elif not quiet:
        files = [os.path.join(folder, name) for folder, _, names in os.walk(recording.path) for name in names]
        size = sum(os.path.getsize(file) for file in files)
        print(f"pyrr: {recording.path}: {recording.events} events, {size / 1e6:.1f} MB", file=sys.stderr)
