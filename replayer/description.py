"""One line for an event, as `pyrr dump` prints it; and the same as data, for JSON."""

from __future__ import annotations

import os
import signal
from typing import Any

from ..events import (
    BranchEvent,
    ChecksumEvent,
    ContinuedEvent,
    EndEvent,
    Event,
    ExecEvent,
    ExitEvent,
    FaultEvent,
    InstructionEvent,
    LeaveEvent,
    NoteEvent,
    SignalEvent,
    SpawnEvent,
    StartEvent,
    StoppedEvent,
    SyscallEvent,
    TickEvent,
)
from ..registers import NAMES
from ..syscalls.format import decode, format_call
from ..wire import UnpackException

_WHERE = ("behind the event", "at a system call", "fault")


def kind_of(event: Event) -> str:
    """`syscall`, `exec`, `signal`, ..."""
    return type(event).__name__.removesuffix("Event").lower()


def name_of(event: Event) -> str:
    """The name of a call, a signal or an instruction; else the kind."""
    if isinstance(event, SyscallEvent):
        return str(decode(event)["name"])
    if isinstance(event, ExecEvent):
        return "execve"
    if isinstance(event, SignalEvent):
        return signal_name(event.signal)
    if isinstance(event, InstructionEvent):
        return event.name
    return kind_of(event)


def describe_event(event: Event) -> str:
    """A line in the manner of strace."""
    if isinstance(event, SyscallEvent):
        return format_call(event)
    if isinstance(event, ExecEvent):
        return f"execve({event.image.get('executable')!r}, {arguments_of(event)}) = 0"
    if isinstance(event, SignalEvent):
        place = _WHERE[event.place] if 0 <= event.place < len(_WHERE) else "?"
        return f"--- {signal_name(event.signal)} (handler entered; {place}) ---"
    if isinstance(event, ExitEvent):
        ticks = f", {event.ticks} ticks" if event.ticks else ""
        behind = "" if event.arrived else f"{ticks or ','} behind its last event"
        return f"+++ {ending(event.status)}{behind} +++"
    if isinstance(event, InstructionEvent):
        changes = ", ".join(f"{NAMES[i % len(NAMES)]}={v:#x}" for i, v in event.changes)
        return f"{event.name} at {event.address:#x}: {changes}"
    if isinstance(event, SpawnEvent):
        kind = "thread" if event.task != event.process else "process"
        return f"+++ {kind} {event.task} created by {event.parent} +++"
    if isinstance(event, StartEvent):
        return f"+++ {event.task} starts +++"
    if isinstance(event, StoppedEvent):
        return f"--- stopped by {signal_name(event.signal)} ---"
    if isinstance(event, TickEvent):
        place = f"at tick {event.ticks}"
        if event.waits:
            place = f"in a loop that waits, {event.ticks} ticks"
        elif event.amid:
            place = f"amid native code, {event.ticks} ticks"
        return f"--- {place} behind its last event ---"
    if isinstance(event, FaultEvent):
        return f"--- a fault at {event.address:#x}, behind the end of a mapped file ---"
    if isinstance(event, ContinuedEvent):
        return "--- continued ---"
    if isinstance(event, ChecksumEvent):
        return f"checksum of {sum(end - start for start, end, *_ in event.ranges)} bytes"
    if isinstance(event, NoteEvent):
        return f"note: {event.text}"
    if isinstance(event, BranchEvent):
        return f"=== {event.text} ==="
    if isinstance(event, LeaveEvent):
        return f"+++ goes on unrecorded: {event.text} +++"
    if isinstance(event, EndEvent):
        return f"end of the recording: {ending(event.status)}"
    raise TypeError(type(event))


def as_data(event: Event) -> dict[str, Any]:
    """What `dump --json` prints of an event."""
    data: dict[str, Any] = {
        "event": event.number,
        "time": event.time / 1e6,
        "task": event.task,
        "kind": kind_of(event),
        "name": name_of(event),
        "arguments": {},
        "result": None,
    }
    if isinstance(event, SyscallEvent):
        decoded = decode(event)
        data.update(arguments=decoded["args"], result=decoded["result"], error=decoded["error"])
    elif isinstance(event, ExecEvent):
        arguments = {"pathname": event.image.get("executable"), "argv": arguments_of(event)}
        data.update(arguments=arguments, result=0)
    elif isinstance(event, ExitEvent):
        data.update(result=event.status)
    elif isinstance(event, (NoteEvent, LeaveEvent, BranchEvent)):
        data.update(arguments={"text": event.text})
    elif isinstance(event, InstructionEvent):
        data.update(arguments={"address": event.address})
    elif isinstance(event, SpawnEvent):
        data.update(arguments={"parent": event.parent, "process": event.process})
    return data


def arguments_of(event: ExecEvent) -> list[str]:
    """The argv of a program image, from the top of its stack as the kernel laid it out; [] where that is lost."""
    try:
        return _read_argv(event.image)
    except (KeyError, IndexError, ValueError, TypeError, StopIteration, UnpackException):
        return []


def _read_argv(image: dict[str, Any]) -> list[str]:
    from .. import registers

    stack = registers.unpack(image["registers"])["rsp"]

    def read(address: int, size: int) -> bytes:
        start, data = next((a, d) for r in image["regions"] for a, d in r[6] if a <= address < a + len(d))
        return bytes(data[address - start : address - start + size])

    count = int.from_bytes(read(stack, 8), "little")
    pointers = [int.from_bytes(read(stack + 8 + 8 * i, 8), "little") for i in range(min(count, 4096))]
    return [os.fsdecode(read(p, 4096).partition(b"\0")[0]) for p in pointers]


def signal_name(number: int) -> str:
    """`SIGINT`, ..."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def ending(status: int) -> str:
    """A wait status in words."""
    if status & 0x7F:
        return f"killed by {signal_name(status & 0x7F)}{' (core dumped)' if status & 0x80 else ''}"
    return f"exited with {status >> 8 & 0xFF}"
