"""The events of a trace, as the rest of the program sees them. docs/trace-format.md says how they are stored."""

from __future__ import annotations

from .errors import TraceError
from .light import NamedTuple
from .trace_format import EventKind, FilePiece, FileWrite, ProcessWrite

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

Memory = tuple[tuple[int, bytes], ...]


# All events have their number in the trace, the recorded id of their task, and the microseconds since the start of
# the recording.


class SyscallEvent(NamedTuple):
    """One system call of one task: what it was asked, what it answered.

    `inputs` and `outputs` are (address, bytes) pairs of the task's memory: what the kernel read (long
    buffers only by their first bytes) and what it wrote; `pieces` are (address, part of a file) and `writes` changes of
    mapped files, `others` what was written into other processes. `site` is the
    address after the syscall instruction. `result` is the signed return value (-errno on failure). `stream` is
    1 or 2 when the call wrote to the recorder's stdout or stderr, else 0; `sent` is what it wrote, where that never
    was in the task's memory.
    """

    number: int
    task: int
    time: int
    nr: int
    args: tuple[int, ...]
    result: int
    site: int
    inputs: Memory
    outputs: Memory
    pieces: tuple[tuple[int, FilePiece], ...] = ()
    writes: tuple[FileWrite, ...] = ()
    others: tuple[tuple[int, ProcessWrite], ...] = ()
    stream: int = 0
    sent: bytes = b""


class ExecEvent(NamedTuple):
    """A new program image: `image` is the stored form of a `pyrr_debugger.snapshot.Snapshot`."""

    number: int
    task: int
    time: int
    image: dict[str, Any]


class SignalEvent(NamedTuple):
    """A handler of the program was entered: siginfo, then registers, vector state and stack frame at its first
    instruction. `place` says where the signal found the task: 0 right behind its last event, 1 at the entry of
    its next system call, 2 at a fault of its own."""

    number: int
    task: int
    time: int
    signal: int
    place: int
    info: bytes
    registers: bytes
    xstate: bytes
    stack: int
    frame: bytes


class SpawnEvent(NamedTuple):
    """Task `task` was created by `parent`; it has not run yet. `process` is its thread group."""

    number: int
    task: int
    time: int
    parent: int
    flags: int
    process: int


class StartEvent(NamedTuple):
    """A spawned task runs for the first time, from these registers."""

    number: int
    task: int
    time: int
    outputs: Memory
    registers: bytes


class ExitEvent(NamedTuple):
    """A task ended with this wait status. `arrived` is False when that found it behind its last event, before
    it came to another one; `ticks` ticks of the bytecode clock behind it, as far as they are known."""

    number: int
    task: int
    time: int
    status: int
    arrived: bool
    outputs: Memory
    ticks: int


class InstructionEvent(NamedTuple):
    """An instruction with an outside result (rdtsc, rdrand, ...): the registers it changed, by index into
    struct user_regs_struct."""

    number: int
    task: int
    time: int
    address: int
    name: str
    length: int
    changes: tuple[tuple[int, int], ...]


class ChecksumEvent(NamedTuple):
    """Checksums of the registers and all writable memory of `process` before the next event: `ranges` are
    (start, end, sparse, page sums)."""

    number: int
    task: int
    time: int
    process: int
    registers: bytes
    ranges: tuple[tuple[int, int, bool, bytes], ...]


class LeaveEvent(NamedTuple):
    """A task goes on unrecorded from here; `text` says why."""

    number: int
    task: int
    time: int
    text: str


class StoppedEvent(NamedTuple):
    """A signal (SIGSTOP, SIGTSTP, ...) stopped the task behind its last event."""

    number: int
    task: int
    time: int
    signal: int


class FaultEvent(NamedTuple):
    """The task's next stop is a fault at this address, where a file is mapped that ends before."""

    number: int
    task: int
    time: int
    address: int


class TickEvent(NamedTuple):
    """The task was stopped `ticks` ticks of the bytecode clock behind its last event, with these registers, and stays
    there until it is continued, or a signal comes, or it ends."""

    number: int
    task: int
    time: int
    ticks: int
    registers: bytes
    waits: bool
    """Ticks do not tell the place: in a loop that waits, the task has these registers again and again."""
    amid: bool
    """Nor do they amid native code: it is found by all registers and all memory."""
    written: tuple[tuple[int, bytes], ...]
    """What that loop changes, addresses and contents, as it was left."""
    kept: tuple[tuple[int, bytes], ...]
    """What it uses and does not change: with the registers, what tells the place."""


class ContinuedEvent(NamedTuple):
    """A stopped task went on, from behind the last event before it was stopped."""

    number: int
    task: int
    time: int


class BranchEvent(NamedTuple):
    """The program was resumed here, and recorded again (`pyrr resume --record`): the events before are those of the
    trace that it was resumed from. What has changed in memory: `mapped` are (process, start, end, protection) of
    memory that was mapped, or unmapped where the protection is -1; `writes` are (process, address, bytes) written
    then; `brks` the ends of heaps that have moved."""

    number: int
    task: int
    time: int
    text: str
    mapped: tuple[tuple[int, int, int, int], ...] = ()
    writes: tuple[tuple[int, int, bytes], ...] = ()
    brks: tuple[tuple[int, int], ...] = ()


class EndEvent(NamedTuple):
    """The recording is complete. `status` is the wait status of the first process; `files` are the names of the stored
    files and the CRC-32 of each as it lies there; `times` are those of the last event of each chunk before."""

    number: int
    task: int
    time: int
    status: int
    files: tuple[tuple[str, int], ...] = ()
    times: tuple[int, ...] = ()


class NoteEvent(NamedTuple):
    """Something the user should know: what could not be recorded exactly."""

    number: int
    task: int
    time: int
    text: str


Event: TypeAlias = (
    "SyscallEvent | ExecEvent | SignalEvent | SpawnEvent | StartEvent | ExitEvent | InstructionEvent | ChecksumEvent"
    " | LeaveEvent | StoppedEvent | ContinuedEvent | TickEvent | FaultEvent | BranchEvent | EndEvent"
    " | NoteEvent"
)


def decode(number: int, time: int, wire: Any) -> Event:
    """Makes an event of its stored form. `time` is that of the event before it.

    Raises TraceError on anything that is not an event.
    """
    try:
        kind, task, delta, *items = wire
        if not (isinstance(task, int) and isinstance(delta, int) and 0 <= task < 1 << 31):
            raise TypeError("task and time are numbers")
        head = (number, task, time + delta)
        return _DECODERS[kind](head, items)
    except (TypeError, ValueError, KeyError, IndexError, RecursionError) as error:
        raise TraceError(f"event {number} of the trace is malformed ({error}): the trace is damaged") from None


Head = tuple[int, int, int]


def _typed(items: Sequence[Any], *types: type) -> Sequence[Any]:
    if len(items) < len(types):
        raise ValueError("too few items")
    for item, kind in zip(items, types, strict=False):
        if not isinstance(item, kind):
            raise TypeError(f"{kind.__name__} expected")
    return items


def _pairs(flat: Sequence[Any]) -> list[tuple[int, Any]]:
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    for address, content in pairs:
        if not isinstance(address, int) or not isinstance(content, (bytes, list)):
            raise TypeError("memory is (address, content)")
    return pairs


def _memory(flat: Sequence[Any]) -> Memory:
    return tuple((address, content) for address, content in _pairs(flat) if isinstance(content, bytes))


def _write(wire: Sequence[Any]) -> FileWrite:
    data, shared, offset = _typed(wire, bytes, int, int)[:3]
    return FileWrite(shared, offset, data)


def _syscall(head: Head, items: Sequence[Any]) -> Event:
    nr, result, site, args, inputs, outputs = _typed(items, int, int, int, list, list, list)[:6]
    others = [(a, c) for a, c in _pairs(outputs) if not isinstance(c, bytes)]
    pieces = tuple((a, FilePiece.from_wire(c)) for a, c in others if c and isinstance(c[0], str))
    writes = tuple(_write(c) for _, c in others if not (c and isinstance(c[0], (str, int))))
    foreign = tuple((a, ProcessWrite(*_typed(c, int, bytes)[:2])) for a, c in others if c and isinstance(c[0], int))
    stream, sent = _typed([*items[6:], *(0, b"")[len(items) - 6 :]], int, bytes)[:2]
    if len(args) > 6 or not all(isinstance(a, int) for a in args):
        raise ValueError("a call has at most six arguments")
    memory = (_memory(inputs), _memory(outputs))
    return SyscallEvent(*head, nr, tuple(args), result, site, *memory, pieces, writes, foreign, stream, sent)


def _signal(head: Head, items: Sequence[Any]) -> Event:
    return SignalEvent(*head, *_typed(items, int, int, bytes, bytes, bytes, int, bytes)[:7])


def _tick(head: Head, items: Sequence[Any]) -> Event:
    ticks, registers = _typed(items, int, bytes)[:2]
    written, kept = (_memory(*_typed(items[at : at + 1], list)) if len(items) > at else () for at in (3, 4))
    waits = len(items) > 2 and bool(items[2])
    return TickEvent(*head, ticks, registers, waits, len(items) > 2 and not waits, written, kept)


def _exit(head: Head, items: Sequence[Any]) -> Event:
    status, arrived, outputs, ticks = _typed([*items, *([0] if len(items) == 3 else [])], int, int, list, int)[:4]
    return ExitEvent(*head, status, bool(arrived), _memory(outputs), ticks)


def _instruction(head: Head, items: Sequence[Any]) -> Event:
    address, name, length, changes = _typed(items, int, str, int, list)[:4]
    return InstructionEvent(*head, address, name, length, tuple(zip(changes[::2], changes[1::2], strict=True)))


def _checksum(head: Head, items: Sequence[Any]) -> Event:
    process, _, registers, ranges = _typed(items, int, int, bytes, list)[:4]
    return ChecksumEvent(
        *head, process, registers, tuple((s, e, bool(p), c) for s, e, p, c in (_range(r) for r in ranges))
    )


def _range(wire: Sequence[Any]) -> Sequence[Any]:
    start, end, sparse, sums = _typed(wire, int, int, int, bytes)[:4]
    if not (0 <= start < end <= 1 << 47 and end % 4096 == 0):
        raise ValueError(f"range {start:#x}-{end:#x}")
    return start, end, sparse, sums


def _start(head: Head, items: Sequence[Any]) -> Event:
    outputs, registers = _typed(items, list, bytes)[:2]
    return StartEvent(*head, _memory(outputs), registers)


def _branch(head: Head, items: Sequence[Any]) -> Event:
    text, *parts = _typed(items, str, list, list, list)[:4]
    mapped, writes, brks = (
        tuple(tuple(_typed(part[at : at + len(types)], *types)) for at in range(0, len(part), len(types)))
        for part, types in zip(parts, ((int, int, int, int), (int, int, bytes), (int, int)), strict=True)
    )
    return BranchEvent(*head, text, mapped, writes, brks)


def _end(head: Head, items: Sequence[Any]) -> Event:
    status, files, times = _typed([*items, *([], [])[len(items) - 1 :]], int, list, list)[:3]
    sums = tuple(zip(files[::2], files[1::2], strict=True))
    if not all(isinstance(name, str) and isinstance(crc, int) for name, crc in sums):
        raise TypeError("stored files have a name and a checksum")
    if not all(isinstance(time, int) for time in times):
        raise TypeError("times are numbers")
    return EndEvent(*head, status, sums, tuple(times))


_DECODERS: dict[int, Callable[[Head, Sequence[Any]], Event]] = {
    EventKind.SYSCALL: _syscall,
    EventKind.EXEC: lambda head, items: ExecEvent(*head, *_typed(items, dict)[:1]),
    EventKind.SIGNAL: _signal,
    EventKind.SPAWN: lambda head, items: SpawnEvent(*head, *_typed(items, int, int, int)[:3]),
    EventKind.START: _start,
    EventKind.STOPPED: lambda head, items: StoppedEvent(*head, *_typed(items, int)[:1]),
    EventKind.TICK: _tick,
    EventKind.CONTINUED: lambda head, items: ContinuedEvent(*head),
    EventKind.FAULT: lambda head, items: FaultEvent(*head, *_typed(items, int)[:1]),
    EventKind.EXIT: _exit,
    EventKind.INSTRUCTION: _instruction,
    EventKind.CHECKSUM: _checksum,
    EventKind.BRANCH: _branch,
    EventKind.END: _end,
    EventKind.LEAVE: lambda head, items: LeaveEvent(*head, *_typed(items, str)[:1]),
    EventKind.NOTE: lambda head, items: NoteEvent(*head, *_typed(items, str)[:1]),
}
