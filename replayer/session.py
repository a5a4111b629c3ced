"""A replay session: reaches any event of a trace, from the trace alone."""

from __future__ import annotations

import contextlib
import os
import time

from .. import _engine, checksum, cpu, procfs, registers, snapshot
from ..agent import agent_image
from ..errors import PyrrError, TraceError
from ..events import (
    BranchEvent,
    ChecksumEvent,
    EndEvent,
    ExecEvent,
    ExitEvent,
    LeaveEvent,
    NoteEvent,
    SpawnEvent,
    StartEvent,
    SyscallEvent,
    decode,
)
from ..light import NamedTuple
from ..trace_format import EVENT_KINDS, FilePiece
from ..wire import UnpackException, unpacked
from .ahead import ChunksAhead
from .sharing import memory_of

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..events import Event
    from ..pythonstack import Interpreter
    from ..trace_reader import EventFilter, TraceReader
    from .checkpoints import Checkpoint, Checkpoints
    from .position import Position
    from .selection import Selection
    from .sharing import SharedMemory, StoredMemory
    from .stored import Place as StoredPlace
    from .stored import Stored, Writer
    from .traps import Hit, Leg, Place, Steps, Ticks, Trap

assert EVENT_KINDS == _engine.EVENT_KINDS, "native/engine/events.h and events.py disagree"

_MADV_DONTNEED = 4
_MADVISE, _MREMAP, _MMAP, _MUNMAP, _SHMAT, _SHMDT = 28, 25, 9, 11, 30, 67
_SETRLIMIT, _PRLIMIT = 160, 302
_MREMAP_MAYMOVE, _MREMAP_FIXED, _MREMAP_DONTUNMAP = 1, 2, 4
_CLONE_VM = 0x100
_MAP_SHARED_TYPES = (1, 3)
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_SHM_RDONLY, _SHM_EXEC = 0o10000, 0o100000
_LAST_EVENTS = 5
_TO_NEXT_STOP = -1
_SEARCHED_AT_ONCE = 1 << 20  # bytes
_LARGEST_SHARED = 1 << 26  # bytes of shared memory that is kept with a checkpoint
_MOST_KEPT = 16
_TICKS_TO_KEPT = 5000
_STEPS_TO_KEPT = 1000  # single steps before a place that is gone to; those before it are near then
_LARGEST_GAP, _SMALLEST_GAP = 0.25, 0.02  # seconds of replay between checkpoints
_RIGHT_BEFORE = 32  # events between the last checkpoint on a way and its target
_FIRST_SEARCH = 8  # events that a search backward looks at first
_TO_REBUILD = 0.25  # seconds of replay that going to a checkpoint on disk is worth
_FIRST_PACE = 1e-5  # seconds an event, before it is known
_LARGEST_CACHED = 1 << 26  # bytes of a stored file that is kept in memory
_STUB = os.fsencode(os.path.join(os.path.dirname(_engine.__file__), "stub"))


class NoTickError(PyrrError):
    """A task does not run for so many ticks behind an event."""

    def __init__(self, event: int, ticks: int) -> None:
        super().__init__(f"{event}:{ticks} is not there: the task comes to its next stop before that")


class DivergenceError(PyrrError):
    """The replay is not the recording. `event` is the recorded side."""

    status = 3

    def __init__(self, message: str, event: Event) -> None:
        super().__init__(message)
        self.event = event


class MappedPiece(NamedTuple):
    """A stored file in the memory of a replayed process."""

    start: int
    end: int
    piece: FilePiece


class Verification:
    """What comparing checksums has shown."""

    def __init__(self) -> None:
        self.checksums = 0
        self.bytes_compared = 0
        self.differing_bytes = 0
        self.first: str | None = None


class _State(NamedTuple):
    """What a session knows of the processes at a position, beside what the engine knows."""

    process: dict[int, int]
    mapped: dict[int, list[MappedPiece]]
    stack: dict[int, tuple[int, int]]
    ended: bool


class ReplaySession:
    """A program of a trace, run again to any position: docs/api.md. A context manager: nothing is left behind at its
    end.

    `stdout` and `stderr` are descriptors to which the program's output goes as it is replayed; -1 is nowhere.
    With `verify`, checksums in the trace are compared, into `verification`. With a `selection`, only its events are
    replayed. `checkpoint_memory` is how many bytes `seek` may use for checkpoints: a quarter of what is free if None.
    Without `checkpoints` those that the trace has on disk are not looked at.
    """

    def __init__(
        self,
        trace: TraceReader,
        stdout: int = -1,
        stderr: int = -1,
        verify: bool = False,
        selection: Selection | None = None,
        checkpoint_memory: int | None = None,
        checkpoints: bool = True,
        memory: tuple[SharedMemory, StoredMemory] | None = None,
    ) -> None:
        """Raises TraceError for a damaged trace, PyrrError where this machine cannot replay it. `memory` is what
        `memory_of` gives, where that has been asked for before."""
        self._shared, self._store = memory or memory_of(trace, whole=verify)
        trace.check()
        self.trace = trace
        self._selection = selection
        self.verification = Verification() if verify else None
        self.mapped: dict[int, list[MappedPiece]] = {}
        self.interpreters: dict[frozenset[tuple[int, str]], Interpreter | None] = {}  # by what is mapped (place.py)
        self._engine = _engine.Replayer(self._shared.descriptor, stdout, stderr, agent_image())
        self._chunks = ChunksAhead(trace)
        self._chunk = -1
        self._loaded: tuple[int, bytes | memoryview] = -1, b""
        self._process: dict[int, int] = {}
        self._stack: dict[int, tuple[int, int]] = {}  # of each process with memory of its own
        self._ended = False
        self._cached_files: dict[str, bytes] = {}
        self._cost = 0.0  # seconds of replay from the beginning to here
        self._interrupted = False
        self._midway = 0
        self._kept: list[tuple[Place, Checkpoint]] = []  # places amid one run
        self._place: Place | None = None  # where it stands amid a run
        self._quickest = _LARGEST_GAP / 10  # seconds that taking a checkpoint took
        self._smallest_gap = _SMALLEST_GAP
        self._ran = 0.0, 0  # seconds, and events replayed in them
        self._checkpoint_memory = checkpoint_memory
        self._checkpoints: Checkpoints | None = None
        self._stored: Stored | None = None
        self._affinity = os.sched_getaffinity(0)
        try:
            _check_cpu(trace)
            if checkpoints and not selection and trace.has_checkpoints:
                from .stored import Stored

                self._stored = Stored(trace)
            self._store.check()  # before anything runs, so that nothing damaged is replayed even in part
        except PyrrError:
            self.close()
            raise
        self._bind()

    def __enter__(self) -> ReplaySession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every replayed process."""
        self._kept.clear()
        if self._checkpoints:
            self._checkpoints.clear()
        self._engine.end()
        self._process.clear()
        self._chunks.close()
        if self._stored:
            self._stored.close()
        self._store.close()
        self._shared.close()
        os.sched_setaffinity(0, self._affinity)

    def _bind(self) -> None:
        """Binds this process and the replayed ones to the recorded processor: `cpuid` answers with the number of
        the one it runs on, and ld.so stores that."""
        core = self.trace.header.get("core")
        allowed = os.sched_getaffinity(0)
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {core if core in allowed else min(allowed)})

    @property
    def position(self) -> int:
        """The number of the next event."""
        return self._engine.position

    @property
    def cost(self) -> float:
        """How many seconds of replay lead from the start to here, as far as they have been measured."""
        return self._cost

    @property
    def tasks(self) -> list[int]:
        """The recorded ids of the tasks that live at this position."""
        return list(self._process)

    @property
    def checkpoints(self) -> Checkpoints:
        """Those that `seek` has left."""
        if self._checkpoints is None:
            from .checkpoints import Checkpoints, default_budget

            memory = default_budget() if self._checkpoint_memory is None else self._checkpoint_memory
            self._checkpoints = Checkpoints(memory)
        return self._checkpoints

    def process_of(self, task: int) -> int:
        """The recorded process id of a task."""
        return self._process[task]

    @property
    def midway(self) -> int:
        """The task that stands between two events, amid its run to event `position`; 0 where none does."""
        return self._midway

    @property
    def due(self) -> int:
        """The task that runs on to its next stop before the next event, since it has not yet, as at the end of a
        trace that was cut; 0 where none does."""
        return self._engine.due

    @property
    def ticks(self) -> int | None:
        """How many ticks of the bytecode clock the task that is midway has run behind its last event."""
        return self._engine.ticks if self._midway else None

    @property
    def place(self) -> Place:
        """Where it stands, exactly: also between two events."""
        from .traps import Place

        return self._place or Place(self.position)

    @property
    def shared_memory(self) -> tuple[int, int]:
        """The file in which shared memory lies: its descriptor and its inode."""
        return self._shared.descriptor, self._shared.inode

    def stack_of(self, task: int) -> tuple[int, int]:
        """Where the stack of a task's process is mapped, as far as its limit lets it grow; (0, 0) where it has none of
        its own."""
        return self._stack.get(self.process_of(task), (0, 0))

    def real(self, task: int) -> int:
        """The id of the replayed task in this system."""
        return self._engine.actor(task)[0]

    def stop(self, task: int) -> str:
        """How a task is stopped: `call`, `fault`, `tick`, `place` (amid native code), `none` (right behind
        its last event), `trap` (midway) or `dead`."""
        return self._engine.actor(task)[1]

    def hand_over(self) -> dict[int, int]:
        """Lets go of all tasks, which stay where they are, stopped, for other debuggers: their real ids. Nothing but
        `close` may follow."""
        reals = {task: self.real(task) for task in self._process}
        for real in reals.values():
            _engine.leave_stopped(real)
        for real in reals.values():
            while procfs.status(real)["State"][0] not in "TZX":  # it comes to its stop when it gets the processor
                time.sleep(0.01)
        return reals

    def signal(self, task: int) -> int:
        """The signal at which a task is stopped by a fault; else 0."""
        return self._engine.actor(task)[2]

    def brk(self, task: int) -> int:
        """The end of a task's heap, as brk(2) moves it; 0 before it has been asked for."""
        return self._engine.actor(task)[3]

    def clone(self, task: int) -> int:
        """A copy of a task, to be run and thrown away (clone.py): its process id. Raises OSError."""
        return self._engine.clone(task)

    def registers(self, task: int) -> dict[str, int]:
        """The general registers of a task."""
        return registers.unpack(_engine.registers(self.real(task)))

    def xstate(self, task: int) -> bytes:
        """The vector registers of a task: its XSAVE area."""
        return _engine.xstate(self.real(task))

    def read(self, task: int, address: int, size: int) -> bytes:
        """Memory of a task; shorter where it ends."""
        return _engine.read(self.real(task), address, size)

    def mappings(self, task: int) -> list[procfs.Mapping]:
        """The memory of a task, by address; what is mapped from a stored file has its recorded name. What replay
        itself needs is left out."""
        parts = self.mapped.get(self.process_of(task), [])
        low, high = self.stack_of(task)
        found = []
        for mapping in procfs.read_maps(self.real(task)):
            if mapping.start == _engine.GATE_PAGE or snapshot.is_agent(mapping):
                continue
            names = [part.piece.name for part in parts if part.start < mapping.end and mapping.start < part.end]
            name = "[stack]" if low <= mapping.start < high else names[-1] if names else ""
            found.append(mapping._replace(name=name, inode=0, device="00:00", offset=0, deleted=False))
        return found

    def search(self, task: int, pattern: bytes) -> Iterator[int]:
        """The addresses at which bytes lie in the memory of a task."""
        if not pattern:
            raise ValueError("an empty pattern is everywhere")
        for mapping in self.mappings(task):
            if not mapping.prot:
                continue
            overlap = b""
            for start in range(mapping.start, mapping.end, _SEARCHED_AT_ONCE):
                size = min(_SEARCHED_AT_ONCE, mapping.end - start)
                text = overlap + self.read(task, start, size)
                at = text.find(pattern)
                while at >= 0:
                    yield start - len(overlap) + at
                    at = text.find(pattern, at + 1)
                overlap = text[len(text) - len(pattern) + 1 :] if len(pattern) > 1 else b""

    def file(self, hash_: str) -> bytes:
        """A stored file of the trace."""
        if hash_ in self._cached_files:
            return self._cached_files[hash_]
        content = self._store.content(hash_)
        if len(content) <= _LARGEST_CACHED:
            self._cached_files[hash_] = content
        return content

    @property
    def output_error(self) -> int:
        """The errno with which what the program wrote could not be written here; 0 if it could."""
        return self._engine.output_error

    def run(self, until: int | None = None, ticks: int = _TO_NEXT_STOP) -> None:
        """Replays up to event `until`, before it takes effect; None is the end. With `ticks`, only so far that the
        event before it has taken effect, and its task has run for so many ticks of the bytecode clock.

        Raises PyrrError where the task makes fewer ticks, and DivergenceError where the replay is not the recording.
        """
        began, start = time.perf_counter(), self.position
        try:
            self._run(self.trace.count if until is None else min(until, self.trace.count), ticks)
        finally:
            passed = time.perf_counter() - began
            self._cost += passed
            self._ran = self._ran[0] + passed, self._ran[1] + self.position - start

    def _run(self, until: int, ticks: int, lenient: bool = False) -> None:
        self._midway, self._place = 0, None
        while not self._ended:
            try:
                outcome, reason = self._engine.run(until, ticks)
            except OSError as error:
                raise TraceError(
                    f"{self.trace.path}: event {self.position} cannot be replayed ({error.strerror})"
                ) from None
            if outcome == "position":
                if lenient:
                    self._midway = self._engine.due
                elif ticks != _TO_NEXT_STOP:
                    self._stand_at_tick(until, ticks)
                return
            if outcome == "chunk":
                if self._chunk + 1 >= len(self.trace.chunks):
                    return
                self._load(self._chunk + 1)
            elif outcome == "trap":
                self._midway = self._engine.trapped()[0]
                return
            elif outcome == "divergence":
                raise self._divergence(reason)
            else:
                self._policy(self._current())

    def _stand_at_tick(self, position: int, ticks: int) -> None:
        from .traps import Place, Ticks

        self._midway = self._engine.due
        if not self._midway:
            raise NoTickError(position - 1, ticks)
        self._place = Place(position, (Ticks(ticks),))

    def seek(self, position: int | str | Position) -> None:
        """Goes to a position, forward or backward, from the nearest checkpoint; leaves new ones on its way.

        A str is a position as README.md has them. Raises PyrrError where the trace has no such position, and
        DivergenceError where the replay is not the recording.
        """
        if not isinstance(position, int):
            from .position import Between, parse

            position = parse(position) if isinstance(position, str) else position
            if isinstance(position, Between):
                position.go(self)
                return
        target = position if isinstance(position, int) else position.resolve(self.trace)
        if not 0 <= target <= self.trace.count:
            raise PyrrError(f"{target} is outside of the trace, which has {self.trace.count} events")
        self._first_checkpoint()
        nearest = self.checkpoints.before(target)
        forward = nearest.position <= self.position <= target
        if self.approach(target, self._cost if forward else nearest.cost):
            self._take_checkpoint()
        elif not forward:
            self._go_back(nearest)
        self._go_forward(target)

    def approach(self, target: int, reachable: float = 0.0) -> bool:
        """Goes to the last checkpoint on disk before a position, if there is one and that is sooner than from where one
        may begin otherwise, so many seconds of replay behind the start."""
        place = self._stored.before(target) if self._stored else None
        if place is None or place.cost < reachable + _TO_REBUILD:
            return False
        self._rebuild(place)
        return True

    def _rebuild(self, place: StoredPlace) -> None:
        from .tree import rebuild

        assert self._stored
        stored = self._stored.load(place)
        for task in list(self._process):
            self._engine.forget(task)
        self._load(self.trace.chunk_of(place.position))
        try:
            self._engine.skip(place.position)
            rebuild(stored.tree, self._engine, _STUB, self._shared, self._store)
        except (OSError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise self._stored.damaged(error) from None
        for part in (part for parts in stored.mapped.values() for part in parts):
            self._engine.watch(part.start, part.end)
        self._set_state(_State(stored.process, stored.mapped, stored.stack, False))
        self._cost = place.cost
        self._midway, self._place = 0, None

    def store_checkpoints(self, writer: Writer, every: float) -> None:
        """Runs to the end and writes a checkpoint after so many seconds of replay each, where one can be taken. Raises
        OSError."""
        from .stored import StoredCheckpoint
        from .tree import capture

        last = 0.0
        while self.position < self.trace.count and not self._ended:
            pace = self._ran[0] / self._ran[1] if self._ran[1] else _FIRST_PACE
            self.run(self.position + max(1, int(every / 4 / pace)))
            if self._cost - last < every or not self._process or self._ended:
                continue
            if tree := capture(self._engine, self._shared, self._store):
                writer.add(StoredCheckpoint(self.position, self._cost, tree, self._process, self.mapped, self._stack))
                last = self._cost

    def clear_interrupt(self) -> None:
        """Takes an `interrupt` back that came too late."""
        self._interrupted = False

    def _first_checkpoint(self) -> None:
        from .checkpoints import Checkpoint

        if not self.checkpoints:
            if self.position:
                raise RuntimeError("run() and seek() have been mixed: a session that seeks begins with seek()")
            self.checkpoints.add(Checkpoint(0, 0.0, self._engine.checkpoint()[0], (), self._state(), [], []))

    def go(self, place: Place) -> None:
        """Goes to a place, also one between two events."""
        from .traps import Steps, Ticks

        way = self.place.rest_of(place)
        if way is None:
            way = self._from_kept(place)
        if way is None:
            way = place.legs
            if way and isinstance(way[0], Steps):
                self.hold(place.position)
            else:
                self.seek(place.position - bool(way))
        for leg in way:
            if isinstance(leg, Ticks):
                self._run_to_tick(place.position, leg.count)
            elif isinstance(leg, Steps):
                far = leg.count - _STEPS_TO_KEPT
                made = self.steps(far)[0] if far > 0 else 0
                if far > 0 and made == far:
                    self.keep()
                if made < leg.count and self._midway:
                    made += self.steps(leg.count - made)[0]
                if made != leg.count:
                    raise RuntimeError(f"{place} is not there: it has fewer steps")
            elif not self._run_traps([leg.trap], [leg.count], place.position):
                raise RuntimeError(f"{place} is not there: a hit is missing")
        if way:
            self._place = place

    def _run_to_tick(self, position: int, ticks: int) -> None:
        """Leaves copies on a way of many ticks, each time behind half of the rest: other ticks before this one will be
        gone to."""
        here = (self.ticks or 0) if self.position == position else 0
        try:
            while ticks - here > _TICKS_TO_KEPT:
                here += (ticks - here) // 2
                self.run(position, here)
                self.keep()
            self.run(position, ticks)
        except NoTickError:
            raise NoTickError(position - 1, ticks) from None

    def keep(self) -> None:
        """Has `go` find back to this place, amid a run, without the way from the event: for places near it, that are
        told by the same legs."""
        if not self._midway or self.place.legs[-1].count == 0:
            return
        if self._kept and self._kept[-1][0].position != self.position:
            self._kept.clear()
        if copied := self._copied():
            self._kept.append((self.place, copied))
            if len(self._kept) > _MOST_KEPT:
                del self._kept[_MOST_KEPT // 2 :: 2]

    def _from_kept(self, place: Place) -> tuple[Leg | Ticks | Steps, ...] | None:
        """The way from one of those places, which is gone to."""
        ways = [(kept, copied, way) for kept, copied in self._kept if (way := kept.rest_of(place)) is not None]
        if not ways:
            return None
        kept, copied, way = max(reversed(ways), key=lambda one: one[0].ticks)
        self._load(self.trace.chunk_of(max(0, place.position - 1)))
        self._put_back(copied)
        self._midway, self._place = self._engine.due, kept
        return way

    def back(self, place: Place, ticks: int) -> Place:
        """A place so many ticks before another, or the event before it; it is not gone to. Before an event, its task's
        last ticks are counted."""
        from .traps import Place, Ticks

        if place.legs or not place.position:
            return place.earlier(ticks)
        self.go(place)
        event = self.trace.event(place.position - 1)
        run = self._engine.ticks_of(event.task) if event.task in self._process else 0
        rest = run - ticks
        return Place(place.position, (Ticks(rest),)) if rest > 0 else Place(place.position - 1)

    def hold(self, position: int) -> int:
        """Goes right behind the event before a position, which has taken effect, while its task has not run on: that
        task; 0 where none runs on."""
        from .traps import Place, Steps

        self.seek(position - 1)
        self._run(position, 0, lenient=True)
        self._place = Place(position, (Steps(0),)) if self._midway else None
        return self._midway

    def steps(self, count: int, traps: Sequence[Trap] = (), stop_at: int = 0) -> tuple[int, list[tuple[int, int]]]:
        """Single instructions of the task that is midway: how many it made, fewer where the next event comes, or hit
        number `stop_at` of the first trap; and what was hit: (index of the trap, how often it had been by then)."""
        from .traps import ANY_EVENT, Steps

        if not self._midway:
            raise RuntimeError("no task is midway")
        here = self.place
        self._engine.trap([trap.packed(ANY_EVENT, 0 if index else stop_at) for index, trap in enumerate(traps)])
        try:
            outcome, done = self._engine_steps(count)
            found = [(index, number) for _, index, number, *_ in self._engine.hits()]
        finally:
            self._engine.trap([])
        if outcome == "trap":
            self._place = here.on(Steps(done))
        else:
            self._midway, self._place = 0, None
        return done, found

    def _engine_steps(self, count: int) -> tuple[str, int]:
        (outcome, _), done = self._engine.step(count)
        if outcome == "chunk" and self._chunk + 1 < len(self.trace.chunks):
            self._load(self._chunk + 1)
            (outcome, _), done = self._engine.step(count)
        return outcome, done

    def run_to(self, traps: list[Trap], until: int | None = None) -> list[int]:
        """Runs forward to the next hit of any of up to four traps: their indexes. None of them where event `until`, or
        the end, comes first."""
        return self._run_traps(traps, [1] * len(traps), self.trace.count if until is None else until)

    def _run_traps(self, traps: list[Trap], counts: list[int], until: int) -> list[int]:
        from .traps import ANY_EVENT, Leg, Place

        self._first_checkpoint()
        before, began = self.place, self.ticks
        self._engine.trap([trap.packed(ANY_EVENT, count) for trap, count in zip(traps, counts, strict=True)])
        try:
            self._go_forward(until)
            stopped, last = self._engine.trapped()[1], self._engine.hits(len(traps))
        finally:
            self._engine.trap([])
        if not self._midway:
            return []
        hit = [index for index in range(len(traps)) if stopped >> index & 1]
        ticks, in_tick = next((t, number) for _, index, _, _, _, t, number in reversed(last) if index == hit[0])
        same_run = before.legs and before.position == self.position and began == ticks
        if same_run and before != Place(before.position).at_tick(ticks):
            # How many hits there are between that tick and where this has begun is not known.
            self._place = before.on(Leg(traps[hit[0]], counts[hit[0]]))
        else:
            self._place = Place(self.position).at_tick(ticks).on(Leg(traps[hit[0]], in_tick))
        return hit

    def hits(self, traps: list[Trap], until: Place) -> list[Hit]:
        """Runs forward from a position, or a tick, to a place and tells which traps were hit on the way, in order: the
        last MOST_HITS. A hit at the place itself is left out."""
        from .traps import MOST_HITS, Hit, Leg, Ticks

        start = self.place
        if self._midway and start != start.at_tick(start.ticks):
            raise RuntimeError("hits are counted from an event or a tick on")
        self._first_checkpoint()
        end = until if until.is_direct else self.simplified(until)
        if self.place != start:
            self.go(start)
        way, found = list(end.legs), list[Hit]()
        if way and isinstance(way[0], Ticks):
            ticks = way.pop(0).count
            self._engine.trap([trap.packed(0, 0) for trap in traps])
            try:
                if not (self._midway and self.position == end.position):
                    self._go_forward(end.position - 1)
                self.run(end.position, ticks)
                found += self._logged(traps)
            finally:
                self._engine.trap([])
        if way or not end.legs:
            ends = {leg.trap: leg.count for leg in way if isinstance(leg, Leg)}
            packed = [trap.packed(end.position - 1 if trap in ends else 0, ends.get(trap, 0)) for trap in traps]
            packed += [trap.packed(end.position - 1, count) for trap, count in ends.items() if trap not in traps]
            self._engine.trap(packed)
            try:
                self._go_forward(end.position)
                found += self._logged(traps, self._engine.trapped()[4] if way else 0)
            finally:
                self._engine.trap([])
        if bool(self._midway) != bool(end.legs):
            raise RuntimeError(f"{end} is not there: a hit is missing")
        self._place = end if end.legs else None
        return found[-MOST_HITS:]

    def _logged(self, traps: list[Trap], without: int = 0) -> list[Hit]:
        """The hits that the engine has logged, without those of one stop."""
        from .traps import Hit, Leg, Place

        return [
            Hit(index, Place(event + 1).at_tick(ticks).on(Leg(traps[index], in_tick)), value)
            for event, index, _, stop, value, ticks, in_tick in self._engine.hits()
            if index < len(traps) and stop != without
        ]

    def hold_and_watch(self, position: int, traps: Sequence[Trap]) -> list[int]:
        """As `hold`; and the indexes of the write traps whose memory the event has written, which are hits."""
        self.seek(position - 1)
        event = self.trace.event(self.position)
        if event.task not in self._process:
            self.hold(position)
            return []
        outputs = event.outputs if isinstance(event, SyscallEvent) else ()
        watched = [index for index, trap in enumerate(traps) if trap.kind == "write"]
        before = {index: self.read(event.task, traps[index].address, traps[index].size) for index in watched}
        self.hold(position)
        if event.task not in self._process:
            return []

        def is_written(trap: Trap, old: bytes) -> bool:
            among = any(at < trap.address + trap.size and trap.address < at + len(data) for at, data in outputs)
            return among or self.read(event.task, trap.address, trap.size) != old

        return [index for index in watched if is_written(traps[index], before[index])]

    def simplified(self, place: Place) -> Place:
        """The same place, told by its last tick and one leg; it is gone to."""
        from .traps import ANY_EVENT, Leg, Place, Steps, Ticks

        end = place.legs[-1] if place.legs else None
        if not isinstance(end, Leg):
            if isinstance(end, Steps) and len(place.legs) > 1:
                raise ValueError(f"{place} is told by steps")
            simple = Place(place.position, place.legs[-1:])
            self.go(simple)
            return simple
        self.go(place)
        ticks, last = self.ticks or 0, end.trap
        if place == place.at_tick(ticks).on(end):
            return place
        count, logged = 0, list[tuple[int, ...]]()
        if isinstance(place.legs[0], Steps):
            count += bool(self.hold_and_watch(place.position, [last])) and not ticks
        else:
            self.go(place.root)
        for leg in place.legs:
            if isinstance(leg, Ticks) and self.place == place.root:
                continue
            if isinstance(leg, Steps) and not leg.count:
                continue
            stops = [leg.trap.packed(ANY_EVENT, leg.count)] if isinstance(leg, Leg) else []
            self._engine.trap(stops if leg is end else [last.packed(0, 0), *stops])
            try:
                if isinstance(leg, Steps):
                    self._engine_steps(leg.count)
                elif isinstance(leg, Ticks):
                    self.run(place.position, leg.count)
                else:
                    self._go_forward(place.position)
                logged += self._engine.hits()
            finally:
                self._engine.trap([])
        count += sum(e == place.position - 1 and index == 0 and t == ticks for e, index, _, _, _, t, _ in logged)
        self._place = place.at_tick(ticks).on(Leg(last, count))
        return self._place

    def find(
        self, condition: Callable[[Event], bool], backward: bool = False, among: EventFilter | None = None
    ) -> int | None:
        """The number of the nearest event after this position, or before it, that meets a condition; None if there is
        none. Nothing is replayed for it. With `among` only events that this lets through are looked at, which takes a
        hundredth of the time."""
        start = self.position + (not self._midway)
        if among is not None:
            found_by = self.trace.select(among, 0 if backward else start, self.position if backward else None, backward)
            return next((e.number for e in found_by if condition(e)), None)
        if not backward:
            return next((e.number for e in self.trace.events(start) if condition(e)), None)
        end, size = self.position, _FIRST_SEARCH
        while end > 0:
            start = max(self.trace.chunks[self.trace.chunk_of(end - 1)].first, end - size)
            found = [e.number for e in self.trace.events(start, end) if condition(e)]
            if found:
                return found[-1]
            end, size = start, size * 4
        return None

    def run_until(
        self, predicate: Callable[[ReplaySession], bool], task: int | None = None, backward: bool = False
    ) -> bool:
        """Goes to the nearest event (of a task, if one is given), after this position or before it, at which
        `predicate(session)` is true. Where there is none it goes to the end or the start, and is False."""
        if not backward:
            while (number := self.find(lambda e: task in (None, e.task))) is not None:
                self.seek(number)
                if predicate(self):
                    return True
            self.seek(self.trace.count)
            return False
        end, size = self.position, _FIRST_SEARCH
        while end > 0:
            start, found = max(0, end - size), None
            for event in list(self.trace.events(start, end)):
                if task in (None, event.task):
                    self.seek(event.number)
                    if predicate(self):
                        found = event.number
            if found is not None:
                self.seek(found)
                return True
            end, size = start, size * 2
        self.seek(0)
        return False

    def interrupt(self) -> None:
        """Has the move that is under way, or the next one, raise KeyboardInterrupt at a position on its way: for signal
        handlers. An exception of their own could come amid an event."""
        self._interrupted = True

    def check_interrupted(self) -> None:
        """For moves in parts."""
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _go_forward(self, target: int) -> None:
        """Runs to a target in steps that halve the way, each with a checkpoint behind it, so that moving back from the
        target costs little at first."""
        unfinished = bool(self._midway)
        while (self.position < target or unfinished) and not self._ended:
            self.check_interrupted()
            pace = self._ran[0] / self._ran[1] if self._ran[1] else _FIRST_PACE
            rest = target - self.position
            since = self._cost - self.checkpoints.before(self.position).cost
            near = rest * pace < self._smallest_gap
            # The last one is right before the target: a move back looks more than once at what is there.
            last = near and rest > _RIGHT_BEFORE and rest * pace + since > self._smallest_gap / 4
            half = max(1, min(rest // 2, int(_LARGEST_GAP / pace)))
            self.run(self.position + (rest - _RIGHT_BEFORE if last else rest if near else half))
            if self._midway:
                return
            unfinished = False
            if last or self._cost - self.checkpoints.before(self.position).cost > self._smallest_gap:
                self._take_checkpoint()

    def _state(self) -> _State:
        mapped = {process: list(parts) for process, parts in self.mapped.items()}
        return _State(dict(self._process), mapped, dict(self._stack), self._ended)

    def _take_checkpoint(self) -> None:
        """Takes one here, if that can be done."""
        began = time.perf_counter()
        if copied := self._copied():
            self.checkpoints.add(copied)
            # The quickest one tells what it costs where nobody else has the processor. As much again goes into pages
            # that are now copied when they are written.
            self._quickest = min(self._quickest, time.perf_counter() - began)
            self._smallest_gap = max(_SMALLEST_GAP, 10 * self._quickest)

    def _copied(self) -> Checkpoint | None:
        """A copy of all processes; None where a fork would not have all the memory, or shares too much."""
        from .checkpoints import Checkpoint, is_copied_by_fork, shared_parts

        processes = {process: task for task, process in reversed(self._process.items())}
        reals = {task: self.real(task) for task in processes.values()}
        shared = shared_parts(reals)
        if shared is None or self._shared.size() > _LARGEST_SHARED or not all(map(is_copied_by_fork, reals.values())):
            return None
        try:
            copies, pids = self._engine.checkpoint()
        except OSError:  # no more processes, no more memory; or a task that cannot be copied now
            return None
        of_copies = tuple(pids[task] for task in reals)
        return Checkpoint(self.position, self._cost, copies, of_copies, self._state(), self._shared.content(), shared)

    def _go_back(self, checkpoint: Checkpoint) -> None:
        self._load(self.trace.chunk_of(checkpoint.position))
        self._put_back(checkpoint)
        self._midway, self._place = 0, None

    def _put_back(self, checkpoint: Checkpoint) -> None:
        self._engine.restore(checkpoint.copies)
        self._set_state(checkpoint.state)
        self._cost = checkpoint.cost
        self._shared.put_back(checkpoint.files)
        for part in checkpoint.shared:
            pid = self.real(part.task)
            if _engine.read(pid, part.start, len(part.data)) != part.data:
                _engine.write(pid, part.start, part.data)

    def _set_state(self, state: _State) -> None:
        self._process = dict(state.process)
        self.mapped = {process: list(parts) for process, parts in state.mapped.items()}
        self._stack = dict(state.stack)
        self._ended = state.ended

    def _current(self) -> Event:
        """The next event, decoded alone: its whole chunk would take longer than it takes to replay."""
        try:
            wire = unpacked(self._engine.event())
        except (OSError, ValueError, UnpackException) as error:
            raise TraceError(f"{self.trace.path}: event {self.position} is damaged ({error})") from None
        return decode(self.position, 0, wire)

    def _load(self, index: int) -> None:
        chunk, goes_on = self.trace.chunks[index], index == self._chunk + 1
        if index != self._loaded[0]:
            data = self._chunks.data_of(index) if goes_on else self.trace.kept_data_of(index)
            self._loaded = index, self._selection.filtered(data, chunk.first) if self._selection else data
            if goes_on:
                self._chunks.begin(index + 1)
        self._engine.load(chunk.first, chunk.events, self._loaded[1])
        self._chunk = index

    def _divergence(self, reason: str) -> DivergenceError:
        from .divergence import describe

        event = self.trace.event(self.position)
        return DivergenceError(describe(self, event, reason), event)

    def last_events(self, count: int = _LAST_EVENTS) -> list[Event]:
        """The events before this position."""
        return list(self.trace.events(max(0, self.position - count), self.position))

    def _policy(self, event: Event) -> None:
        """Carries out an event that the engine leaves to us."""
        handlers: dict[type, Callable[..., None]] = {
            ExecEvent: self._exec,
            SpawnEvent: self._spawn,
            StartEvent: self._start,
            ExitEvent: self._exit,
            LeaveEvent: self._leave,
            SyscallEvent: self._memory_call,
            ChecksumEvent: self._checksum,
            BranchEvent: self._branch,
        }
        try:
            if handler := handlers.get(type(event)):
                handler(event)
            else:
                self._ended = isinstance(event, EndEvent)
                assert isinstance(event, (EndEvent, NoteEvent))
                self._engine.advance(0)
        except (OSError, OverflowError, LookupError, ValueError, StopIteration) as error:
            raise self._divergence(f"the event cannot be carried out ({error})") from None

    def _exec(self, event: ExecEvent) -> None:
        image = snapshot.Snapshot.from_wire(event.image)
        task = event.task
        for other in [t for t, process in self._process.items() if process == self._process.get(task, task)]:
            self._engine.forget(other)
            self._process.pop(other)
        pid = self._engine.start(task, _STUB)
        self._process.setdefault(task, task)
        snapshot.restore(image, self._engine, task, pid, self._store)
        if place := event.image.get("agent"):
            if place != _engine.AGENT[0]:
                raise PyrrError("the trace was made when the agent lay elsewhere: it cannot be replayed any more")
            self._engine.install(task)
        self.mapped[self._process[task]] = [
            MappedPiece(region.start, region.end, region.piece) for region in image.regions if region.piece
        ]
        for region in image.regions:
            if region.piece:
                self._engine.watch(region.start, region.end)
            if region.name == "[stack]":
                lowest = snapshot.lowest_stack(image.stack_limit, region.start, region.end)
                self._stack[self._process[task]] = lowest, region.end
        self._engine.advance(task)

    def _spawn(self, event: SpawnEvent) -> None:
        self._engine.spawn(event.parent, event.task, event.flags)
        self._process[event.task] = event.process
        parent = self._process[event.parent]
        if event.process != parent:
            self.mapped[event.process] = list(self.mapped[parent])
            self._stack.pop(event.process, None)
            if parent in self._stack and not event.flags & _CLONE_VM:
                self._stack[event.process] = self._stack[parent]
        self._engine.advance(0)

    def _start(self, event: StartEvent) -> None:
        pid = self.real(event.task)
        for address, data in event.outputs:
            _engine.write(pid, address, data)
        _engine.set_registers(pid, event.registers, b"")
        self._engine.advance(event.task)

    def _exit(self, event: ExitEvent) -> None:
        if event.ticks and self.stop(event.task) != "tick":
            raise ValueError(f"the replay makes fewer than {event.ticks} ticks before it")
        pid = self.real(event.task)
        for address, data in event.outputs:
            _engine.write(pid, address, data)
        self._engine.forget(event.task)
        self._process.pop(event.task, None)
        self._engine.advance(0)

    def _leave(self, event: LeaveEvent) -> None:
        self._engine.forget(event.task)
        self._process.pop(event.task, None)
        self._engine.advance(0)

    def _branch(self, event: BranchEvent) -> None:
        """The memory of processes that were resumed here, as far as that is another one: of those that are replayed."""
        tasks = {process: task for task, process in self._process.items()}
        for process, start, end, prot in event.mapped:
            if not 0 < start < end <= _engine.GATE_PAGE and not _engine.AGENT[1] <= start < end < 1 << 47:
                raise ValueError(f"memory at {start:#x}-{end:#x}")
            if process not in tasks:
                continue
            real = self.real(tasks[process])
            present = _engine.registers(real)
            self._engine.inject(tasks[process], _MUNMAP, start, end - start)
            if prot >= 0:
                snapshot.map_anonymous(self._engine, tasks[process], start, end - start, prot, False)
            _engine.set_registers(real, present, b"")  # the task still stands at its own call
        for process, address, data in event.writes:
            if process in tasks:
                self._write(self.real(tasks[process]), self.mapped.get(process, []), address, data)
        brks = {tasks[process]: brk for process, brk in event.brks if process in tasks}
        if brks:
            for task, _, _, stop, signal, arrival, restarted, _, present, _ in self._engine.actors():
                if task in brks:
                    self._engine.adopt(task, stop, signal, arrival, restarted, present, brks[task])
        self._engine.advance(0)

    def _memory_call(self, event: SyscallEvent) -> None:
        """A memory call that concerns a file: its content comes from the trace."""
        task, pid, args = event.task, self.real(event.task), event.args
        mapped = self.mapped[self._process[task]]
        placed = False
        if event.nr == _MMAP:
            placed = self._map(event)
        elif event.nr == _SHMAT:
            self._attach(event)
        elif event.nr == _SHMDT:
            self._detach(event)
        elif event.nr in (_SETRLIMIT, _PRLIMIT):
            self._limit_stack(event)
        elif event.nr == _MADVISE:
            self._engine.inject(task, _MADVISE, args[0], args[1], _MADV_DONTNEED)
            self._refill(pid, mapped, args[0], args[0] + args[1])
        elif event.nr == _MREMAP:
            self._remap(event, mapped)
        for address, piece in event.pieces:
            if piece.shared:
                self._shared.fill(piece, self._store)
            elif not placed:
                snapshot.fill(pid, address, piece, self._store)
            end = address + -(-piece.length // snapshot.PAGE) * snapshot.PAGE
            mapped[:] = [m for m in mapped if m.end <= address or m.start >= end or m.start < address]
            mapped.append(MappedPiece(address, end, piece))
            self._engine.watch(address, end)
        for address, other in event.others:
            _engine.write(self.real(self._task_of(other.process)), address, other.data)
        for write in event.writes:
            self._shared.write(write.shared, write.offset, write.data)
        for address, data in event.outputs:
            self._write(pid, mapped, address, data)
        self._engine.answer(task, event.result)
        self._engine.advance(task)

    def _limit_stack(self, event: SyscallEvent) -> None:
        """How far a stack may grow has changed; the last output in it lies where it began then."""
        process = self._process[event.task]
        if event.others:
            process = event.others[0][1].process
        elif event.nr != _SETRLIMIT and event.args[0] not in (0, process):
            return
        if process not in self._stack:
            return
        lowest, end = self._stack[process]
        outputs = [address for address, _ in event.others or event.outputs if lowest <= address < end]
        if not outputs:
            return
        limit = int.from_bytes(event.inputs[0][1][:8], "little")
        task = self._task_of(process)
        wanted = snapshot.lowest_stack(limit, outputs[-1], end)
        self._stack[process] = snapshot.move_stack(self._engine, task, self.real(task), lowest, wanted), end

    def _task_of(self, process: int) -> int:
        return next(task for task, owner in self._process.items() if owner == process)

    def _map(self, event: SyscallEvent) -> bool:
        """Maps memory; whether the content of a file that does not change is there already."""
        address, args, task = event.result, event.args, event.task
        shared = args[3] & 0xF in _MAP_SHARED_TYPES
        at, piece = event.pieces[0] if event.pieces else (address, None)
        if piece and not (piece.shared or shared or at != address or len(event.pieces) > 1):
            pid = self.real(task)
            snapshot.map_piece(self._engine, task, pid, address, args[1], args[2], piece, self._store)
            return True
        if piece is None or not piece.shared:
            snapshot.map_anonymous(self._engine, task, address, args[1], args[2], shared)
            return False
        offset = self._shared.offset(piece.shared, piece.start + piece.offset - (at - address))
        snapshot.map_memory_file(self._engine, task, address, args[1], args[2], offset, shared)
        end = start = piece.start + piece.offset - (at - address)
        for _, part in event.pieces:
            self._shared.clear(piece.shared, end, part.start + part.offset)
            end = part.start + part.offset + part.length
        self._shared.clear(piece.shared, end, start + args[1])
        return False

    def _attach(self, event: SyscallEvent) -> None:
        """Maps a segment of System V shared memory: all that have attached it see the same."""
        task, start, flags = event.task, event.result, event.args[2]
        prot = _PROT_READ | (0 if flags & _SHM_RDONLY else _PROT_WRITE) | (_PROT_EXEC if flags & _SHM_EXEC else 0)
        if event.pieces:
            address, last = event.pieces[-1]
            offset = self._shared.offset(last.shared, 0)
            snapshot.map_memory_file(self._engine, task, start, address + last.length - start, prot, offset, True)
        elif event.outputs:  # as it was recorded once, for each process its own
            snapshot.map_anonymous(self._engine, task, start, len(event.outputs[0][1]), prot, True)

    def _detach(self, event: SyscallEvent) -> None:
        """Unmaps what is left of a segment: other memory may lie amid it (ksys_shmdt, ipc/shm.c)."""
        start, number = event.args[0], None
        for mapping in procfs.read_maps(self.real(event.task)):
            if mapping.inode != self._shared.inode or mapping.start < start:
                continue
            part = self._shared.piece_at(mapping.offset, 0)
            if part.start == mapping.start - start and number in (None, part.shared):
                number = part.shared
                self._engine.inject(event.task, _MUNMAP, mapping.start, mapping.end - mapping.start)

    def _write(self, pid: int, mapped: list[MappedPiece], address: int, data: bytes) -> None:
        """Writes to memory, or to the file of shared memory where the task has it read-only."""
        try:
            _engine.write(pid, address, data)
        except OSError:
            part = next(m for m in mapped if m.piece.shared and m.start <= address < m.end)
            offset = part.piece.start + part.piece.offset + address - part.start
            self._shared.write(part.piece.shared, offset, data)

    def _refill(self, pid: int, mapped: list[MappedPiece], start: int, end: int) -> None:
        """A private file mapping whose pages were given up shows its file again (madvise(2))."""
        for part in mapped:
            if part.piece.shared:
                continue
            low, high = max(start, part.start), min(end, part.start + part.piece.length)
            if low < high:
                offset = part.piece.offset + low - part.start
                piece = FilePiece(part.piece.hash, offset, high - low, part.piece.name)
                snapshot.fill(pid, low, piece, self._store)

    def _remap(self, event: SyscallEvent, mapped: list[MappedPiece]) -> None:
        old, old_size, new_size, flags, *_ = event.args
        new = event.result
        moved = 0 if new == old else _MREMAP_MAYMOVE | _MREMAP_FIXED
        self._engine.inject(event.task, _MREMAP, old, old_size, new_size, flags & _MREMAP_DONTUNMAP | moved, new)
        moving = [part for part in mapped if old <= part.start < old + old_size]
        # What lay at the new place before is gone, though nobody may have said so.
        mapped[:] = [p for p in mapped if p not in moving and (p.end <= new or p.start >= new + new_size)]
        for part in moving:
            end = new + new_size if part.end >= old + old_size else part.end - old + new
            mapped.append(MappedPiece(part.start - old + new, end, part.piece))
        self._engine.watch(new, new + new_size)

    def _checksum(self, event: ChecksumEvent) -> None:
        if self.verification is not None:
            pid = self.real(event.task)
            replayed = checksum.again(pid, event.ranges, self.shared_memory)
            result = self.verification
            result.checksums += 1
            result.bytes_compared += sum(end - start for start, end, *_ in event.ranges)
            for difference in checksum.differences(pid, event.ranges, replayed):
                result.differing_bytes += _differing(difference)
                if result.first is None:
                    result.first = f"event {event.number}: {difference}"
            if result.first is None:
                result.first = _register_difference(event, registers.unpack(_engine.registers(pid)))
        self._engine.advance(0)

    def memory_checksum(self, task: int) -> str:
        """One checksum of all memory that a task can write, for comparing two positions."""
        from hashlib import blake2b

        digest, real = blake2b(digest_size=16), self.real(task)
        for start, end, _, sums in checksum.of_task(real, procfs.read_maps(real), merged=True):
            digest.update(start.to_bytes(8, "little") + end.to_bytes(8, "little") + sums)
        return digest.hexdigest()

    def next_event(self) -> Event | None:
        """The event at this position; None behind the last one."""
        return self.trace.event(self.position) if self.position < self.trace.count else None


def _differing(difference: checksum.Difference) -> int:
    """At least one byte of a page; all that is known where more than one word differs."""
    changed = (difference.recorded ^ difference.replayed).to_bytes(8, "little")
    return max(1, sum(byte != 0 for byte in changed))


def _register_difference(event: ChecksumEvent, present: dict[str, int]) -> str | None:
    recorded = registers.unpack(event.registers)
    for name, value in recorded.items():
        # A call clobbers rcx; at its entry it holds the address of the instruction, which may be a stub's.
        if name not in ("rax", "orig_rax", "rcx") and present[name] != value:
            return f"event {event.number}: register {name}: recorded {value:#x}, replayed {present[name]:#x}"
    return None


def _check_cpu(trace: TraceReader) -> None:
    """Programs choose their routines by `cpuid`, which cannot be answered from the trace on every processor."""
    recorded = cpu.CpuFeatures.from_wire(trace.header.get("cpu"))
    problems = cpu.compatible(recorded, cpu.features(_engine.cpuid, _engine.xgetbv()))
    if problems:
        listed = "; ".join(problems)
        raise PyrrError(f"{trace.path} was recorded on another processor ({listed}): replay it on one like that")
