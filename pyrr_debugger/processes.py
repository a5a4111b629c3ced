"""The processes of a trace: who made whom, what they executed, how they ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .events import Event, ExecEvent, ExitEvent, LeaveEvent, SpawnEvent
from .replayer.description import arguments_of


@dataclass
class Process:
    """A thread group. `start` is the event that made it, `end` the one with which its last thread ended or went on
    unrecorded (`left` says why); None: the trace ends before that. `status` is the wait status of its first thread.
    `executed` are the events with which it became another program; `arguments` those of the last one, which a fork
    has from its parent.
    """

    pid: int
    parent: int | None
    start: int
    arguments: list[str]
    end: int | None = None
    status: int | None = None
    left: str | None = None
    executed: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)


def processes(events: Iterable[Event]) -> list[Process]:
    """The processes in the order of their beginnings. A process id that was used twice is two of them."""
    found: list[Process] = []
    living: dict[int, Process] = {}  # by task

    for event in events:
        process = living.get(event.task)
        if isinstance(event, SpawnEvent):
            parent = living[event.parent]
            if event.process == parent.pid:
                process = parent
            else:
                process = Process(event.process, parent.pid, event.number, parent.arguments)
                found.append(process)
            living[event.task] = process
            process.threads.add(event.task)
        elif isinstance(event, ExecEvent):
            if process is None:
                process = Process(event.task, None, event.number, [])
                found.append(process)
            living = {task: other for task, other in living.items() if other is not process}
            living[event.task] = process
            process.threads.add(event.task)
            process.executed.append(event.number)
            process.arguments = arguments_of(event) or [str(event.image.get("executable"))]
        elif process and isinstance(event, (ExitEvent, LeaveEvent)):
            del living[event.task]
            if isinstance(event, LeaveEvent):
                process.left = event.text
            elif event.task == process.pid:
                process.status = event.status
            if process not in living.values():
                process.end = event.number
    return found
