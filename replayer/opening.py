"""Where a debugger opens a trace: at the failure, or at the beginning of the program."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from ..errors import PyrrError
from ..events import EndEvent, ExitEvent
from ..processes import processes
from ..pythonstack import PythonFrame
from .breakpoints import matches, target_of_function
from .debugger import Debugger
from .place import python_stack
from .position import Named
from .report import Report, last_report
from .session import ReplaySession
from .traps import Place

_MOST_RAISES = 64  # that are looked at: behind a line that a report names, or before the exit
_EXIT_EVENTS = 20_000  # how far before the exit of a program what ended it is sought


@dataclass(frozen=True)
class Opening:
    """Where a trace is opened: what is there, in words that follow "at", and which frame is of interest."""

    text: str
    frame: int = 0


def open_at_failure(session: ReplaySession) -> Opening:
    """Goes to where the program failed, or else to where its own Python code begins."""
    end = session.trace.end
    if not isinstance(end, EndEvent):
        session.seek(session.trace.count)
        return Opening("the end of the recording, which is cut")
    ended_by = os.WTERMSIG(end.status)
    if end.status:
        report = last_report(session.trace) if ended_by in (0, signal.SIGINT) else None
        # Of an uncaught KeyboardInterrupt Python ends itself by SIGINT, when nothing of the program is left.
        if report and (not ended_by or report.exception == KeyboardInterrupt.__name__):
            return _at_report(session, report)
        session.seek(Named("exit"))
        if ended_by:
            return Opening("the end of the program, by a signal")
        return _at_exception_of_exit(session) or Opening("the end of the program, which fails without a traceback")
    session.seek(0)
    if session.run_until(_runs_main) or _run_to_script(session):
        return Opening("the beginning of the Python program")
    session.seek(session.trace.count)
    return Opening("the end: no event is in Python code of the program's own")


def _at_report(session: ReplaySession, report: Report) -> Opening:
    """Goes to a failure that was printed: to its exception, or, while that lives, to its printing."""
    session.seek(report.event)
    debugger = Debugger(session)
    stack = debugger.stack()
    if stack.exception is None:
        stack = debugger.handled(last=False) or stack
    lives = stack.exception
    # Of a group each exception is printed, and the group itself lives.
    if report.line and (lives is None or report.exception not in ("", lives.type_name.rpartition(".")[2])):
        with suppress(PyrrError):
            frame = _to_exception_of(debugger, report)
            if frame is not None:
                return Opening("the exception of the failure that is printed last", frame)
        session.seek(report.event)
    return Opening("the failure that is about to be printed")


def _to_exception_of(debugger: Debugger, report: Report) -> int | None:
    """Goes to where the exception was raised that a report is about: the frame that it names, or None."""
    session, before = debugger.session, debugger.session.position
    if not debugger.runs.backward(debugger.line_targets(report.file, report.line), 0, lambda _: True):
        return None
    task = session.midway
    found: tuple[Place, int] | None = None

    def is_over() -> bool:
        """Whether the frame has been left: of what is raised below it, the last one is what it was left by."""
        nonlocal found
        if session.midway != task:
            return False
        name, _ = debugger.raised_here(task) or ("", "")
        frame = _frame_of(report, python_stack(session, task))
        if frame is not None and report.exception in ("", name.rpartition(".")[2]):
            found = session.place, frame
        return frame is None and found is not None

    debugger.raises.forward(before, is_over, _MOST_RAISES)
    if found is None:
        return None
    session.go(found[0])
    return found[1]


def _frame_of(report: Report, frames: tuple[PythonFrame, ...]) -> int | None:
    places = enumerate((frame.file, frame.line) for frame in frames)
    return next((at for at, (file, line) in places if line == report.line and matches(file, report.file)), None)


def _at_exception_of_exit(session: ReplaySession) -> Opening | None:
    """From the exit, where no Python is left, to the SystemExit that ended the program."""
    debugger = Debugger(session)
    if debugger.stack().frames:
        return None
    least = max(0, session.position - _EXIT_EVENTS)

    def exits() -> bool:
        return (debugger.raised_here(session.midway) or ("",))[0] == SystemExit.__name__

    with suppress(PyrrError):
        if debugger.raises.backward(least, exits, _MOST_RAISES):
            return Opening("the exception that ends the program")
    session.seek(Named("exit"))
    return None


def _run_to_script(session: ReplaySession) -> bool:
    """Goes to the first line of a script that makes no system call, between two events."""
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
