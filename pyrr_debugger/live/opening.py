"""Where a program goes live when nobody says where: where it last waited for a line of input, or where the recording
broke off."""

from __future__ import annotations

import re

from ..errors import PyrrError
from ..events import (
    BranchEvent,
    EndEvent,
    ExecEvent,
    ExitEvent,
    InstructionEvent,
    LeaveEvent,
    SpawnEvent,
    StartEvent,
    SyscallEvent,
)
from ..trace_reader import TraceReader

_LONGEST_PROMPT = 512
_OTHER_SCREEN = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")
_DRAWS = re.compile(rb"\x1b(?!\[[?\d;]*[GJKhlm])")  # what is not drawn on the cursor's line
_READ, _CLOSE, _IOCTL, _TCGETS = 0, 3, 16, 0x5401
_WAITS = frozenset((7, 23, 232, 270, 271, 281, 441))  # poll, select, epoll_wait and their kin
_LINE_ENDS = (b"\n", b"\r", b"\x04")
_ESCAPE = b"\x1b"
_CLONES = frozenset((56, 57, 58, 435))  # clone, fork, vfork, clone3


def last_wait(trace: TraceReader) -> int:
    """The event before which the first process last waited for a line of input; of a trace that was cut, its end.
    Raises PyrrError where it never did."""
    if not trace.end:
        return trace.count
    found, wait, at_start, root = None, None, True, None
    inputs = {0}  # and terminals, of which a program asks the settings
    for event in trace.events():
        if root is None and isinstance(event, ExecEvent):
            root = event.task
        if not isinstance(event, SyscallEvent) or event.task != root:
            continue
        if event.nr == _IOCTL and event.args[1] == _TCGETS and event.result == 0:
            inputs.add(event.args[0])
        elif event.nr == _CLOSE and event.args[0]:
            inputs.discard(event.args[0])
        elif event.nr in _WAITS:
            wait = event.number if event.result > 0 else None
        elif event.nr == _READ and event.args[0] in inputs and event.result >= 0:
            if at_start:
                found = event.number if wait is None else wait
            at_start, wait = _ends_line(event), None
    if found is None:
        raise PyrrError("the program never waited for input: say where it is to go on, with --to")
    return found


def settled(trace: TraceReader, position: int) -> int:
    """The first position from this one on at which nobody is amid a fork: a child has begun to run, and whoever made it
    has been told. (A parent in vfork(2) has not until its child executes another program.) Raises PyrrError where none
    is."""
    forking: set[int] = set()
    unborn: set[int] = set()
    for event in trace.events():
        if event.number >= position and not forking and not unborn:
            return event.number
        if isinstance(event, SpawnEvent):
            forking.add(event.parent)
            unborn.add(event.task)
        elif isinstance(event, StartEvent):
            unborn.discard(event.task)
        elif isinstance(event, SyscallEvent) and event.nr in _CLONES:
            forking.discard(event.task)
        elif isinstance(event, (ExitEvent, LeaveEvent)):
            forking.discard(event.task)
            unborn.discard(event.task)
    if forking or unborn:
        raise PyrrError("the trace ends amid a fork: choose an earlier position")
    return position


def recordable(trace: TraceReader, position: int) -> int:
    """The first settled position from this one on at which recording can begin anew: the next event finds its task
    where it comes by itself. Raises PyrrError."""
    while True:
        position = settled(trace, position)
        event = trace.event(position) if position < trace.count else None
        if event is None or isinstance(event, (SyscallEvent, InstructionEvent, BranchEvent)):
            return position
        if isinstance(event, EndEvent):
            raise PyrrError("there is nothing left to be recorded: choose an earlier position")
        position += 1


def screen(output: bytes) -> bytes:
    """What of all that a program has written to its terminal must be written again, that one sees what one saw: the
    prompt, or the drawing of a full-screen program."""
    switches = list(_OTHER_SCREEN.finditer(output))
    if switches and switches[-1][1] == b"h":
        return output[switches[-1].start() :]
    line = output.rpartition(b"\n")[2]
    return line if len(line) < _LONGEST_PROMPT and not _DRAWS.search(line) else b""


def _ends_line(event: SyscallEvent) -> bool:
    """Whether what was read is all that somebody typed. Escape alone ends what one does in an editor; read byte by
    byte it is the beginning of a key."""
    data = event.outputs[0][1] if event.outputs else b""
    return not data or data.endswith(_LINE_ENDS) or (data.endswith(_ESCAPE) and event.args[2] > 1)
