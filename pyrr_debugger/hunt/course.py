"""Where tasks are in their own courses, read from a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..events import ExitEvent, SpawnEvent, SyscallEvent
from ..trace_reader import TraceReader
from .minimise import AT_CALL

NOT_OWN = frozenset({202, 228, 96, 15, 219, 9, 11, 10, 25, 28, 12})
"""futex clock_gettime gettimeofday rt_sigreturn restart_syscall mmap munmap mprotect mremap madvise brk: is_own_call
(native/engine/event.h)."""
_RESTARTS = range(-516, -511)


@dataclass(frozen=True)
class Stop:
    """A task at the entry of one of its own calls, or at its end."""

    event: int
    """The call's, which has not taken effect."""
    task: int
    number: int
    """Of the task, in the order of their beginnings, as decisions name it."""
    course: int


def stops(trace: TraceReader) -> Iterator[Stop]:
    """All own calls of all tasks, in order."""
    numbers: dict[int, int] = {}
    calls: dict[int, int] = {}
    for event in trace.events():
        if isinstance(event, SpawnEvent):
            numbers[event.task] = len(calls)
            calls[len(calls)] = 0
        elif event.task and event.task not in numbers and not calls:
            numbers[event.task] = 0
            calls[0] = 0
        if isinstance(event, SyscallEvent) and event.nr not in NOT_OWN and event.result not in _RESTARTS:
            number = numbers[event.task]
            yield Stop(event.number, event.task, number, calls[number] << 32 | AT_CALL)
            calls[number] += 1
        elif isinstance(event, ExitEvent):  # the call that a task ends by has no event of its own
            number = numbers[event.task]
            yield Stop(event.number, event.task, number, calls[number] << 32 | AT_CALL)
