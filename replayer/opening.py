"""Where a debugger opens a trace: at the failure, or at the beginning of the program."""

from __future__ import annotations

import re

from ..errors import PyrrError
from ..events import EndEvent, ExitEvent
from .place import python_stack
from .position import Named, Output
from .session import ReplaySession

_TRACEBACK = re.compile(rb"^Traceback \(most recent call last\):")


def open_at_failure(session: ReplaySession) -> str:
    """Goes to where the program failed, or else to where its own Python code begins. What it is, in words."""
    end = session.trace.end
    if not isinstance(end, EndEvent):
        session.seek(session.trace.count)
        return "the recording is cut: this is its end"
    if end.status & 0x7F:
        session.seek(Named("exit"))
        return "the end of the program, by a signal"
    if end.status:
        try:
            session.seek(Output(_TRACEBACK, -1))
            return "the traceback is about to be printed"
        except PyrrError:
            session.seek(Named("exit"))
            return "the program is about to fail, without a traceback"
    session.seek(0)
    found = session.run_until(_runs_main)
    return "the beginning of the Python program" if found else "the end: no Python has run"


def _runs_main(session: ReplaySession) -> bool:
    event = session.next_event()
    if event is None or event.task not in session.tasks or isinstance(event, ExitEvent):
        return False
    frames = python_stack(session, event.task)
    if not frames:
        return False
    outermost = frames[-1]
    # Before it, the interpreter imports what it needs itself: site, encodings.
    return outermost.function == "_run_module_as_main" or (
        outermost.function == "<module>" and not outermost.file.startswith("<frozen")
    )
