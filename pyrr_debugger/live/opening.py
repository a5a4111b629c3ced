"""Where a program goes live when nobody says where: where it last waited for a line of input."""

from __future__ import annotations

from ..errors import PyrrError
from ..events import ExecEvent, SyscallEvent
from ..trace_reader import TraceReader

_READ = 0
_LINE_ENDS = (b"\n", b"\r", b"\x04")


def last_wait(trace: TraceReader) -> int:
    """The event before which the first process last waited for a line of its standard input. Raises PyrrError where it
    never did."""
    found, at_start, root = None, True, None
    for event in trace.events():
        if root is None and isinstance(event, ExecEvent):
            root = event.task
        if not isinstance(event, SyscallEvent) or event.task != root or event.nr != _READ or event.args[0] != 0:
            continue
        if event.result < 0:
            continue
        if at_start:
            found = event.number
        data = event.outputs[0][1] if event.outputs else b""
        at_start = not data or data.endswith(_LINE_ENDS)
    if found is None:
        raise PyrrError("the program never waited for input: say where it is to go on, with --to")
    return found
