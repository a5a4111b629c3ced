"""Where a debugger opens a trace: at the failure, or at the beginning of the program."""

from __future__ import annotations

import os
import re

from ..errors import PyrrError
from ..events import EndEvent, ExitEvent
from ..processes import processes
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
    if session.run_until(_runs_main) or _run_to_script(session):
        return "the beginning of the Python program"
    session.seek(session.trace.count)
    return "the end: no event is in Python code of the program's own"


def _run_to_script(session: ReplaySession) -> bool:
    """Goes to the first line of a script that makes no system call, between two events."""
    from .breakpoints import target_of_function
    from .debugger import Debugger

    words = [word for process in processes(session.trace.events()) for word in process.arguments[1:]]
    debugger = Debugger(session)
    for word in dict.fromkeys(word for word in words if word.endswith(".py")):
        path = os.path.normpath(word)
        name = os.path.basename(path) if path.startswith("..") else path
        session.seek(0)
        codes = [code for code in debugger.codes.of(name, debugger.task) if code.name == "<module>"]
        if codes and debugger.runs.forward([target_of_function(code) for code in codes], session.trace.count):
            return True
    return False


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
