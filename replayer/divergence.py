"""The report of a divergence: both sides, where the program stands, what came before, and what usually causes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Event, SyscallEvent
from .description import describe_event

if TYPE_CHECKING:
    from .session import ReplaySession

_CAUSES = (
    "Usual causes: memory shared with a process that was not recorded; an instruction whose result differs between "
    "machines; a processor other than the recorded one; threads that race without system calls. "
    "If none of these fits, it is a bug of pyrr: please report it with this message."
)


def describe(session: ReplaySession, event: Event, reason: str) -> str:
    """The message of a DivergenceError. Never raises: a replayed process may be gone."""
    lines = [
        f"the replay diverges from the recording at event {event.number}: {reason}",
        f"  recorded: {describe_event(event)}",
        f"  replayed: {_replayed(session, event)}",
    ]
    lines += _python(session, event.task)
    previous = session.last_events()
    if previous:
        lines.append("  events before it:")
        lines += [f"    {e.number:>8}  {describe_event(e)}" for e in previous]
    return "\n".join([*lines, _CAUSES])


def _replayed(session: ReplaySession, event: Event) -> str:
    try:
        regs = session.registers(event.task)
    except (OSError, ValueError):
        return "the task does not exist"
    stop = session.stop(event.task)
    if stop == "call":
        args = tuple(regs[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9"))
        call = SyscallEvent(event.number, event.task, 0, regs["orig_rax"], args, 0, regs["rip"], (), ())
        return describe_event(call).rpartition(" = ")[0] + f" at {regs['rip']:#x}"
    return f"stopped ({stop}) at {regs['rip']:#x}"


def _python(session: ReplaySession, task: int) -> list[str]:
    from .place import python_stack

    frames = python_stack(session, task)
    return [f"  Python: {frames[0].file}:{frames[0].line} in {frames[0].function}"] if frames else []
