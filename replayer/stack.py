"""What a person looks at: the Python frames of a task at a position, with their variables.

The stack is the live one; or, where none is live, that of the exception which nobody caught: its traceback keeps
the frames as they were when it was raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..pythonstack import PythonFrame, PythonThread, Traceback, Value, Variables
from ..pythonstack.memory import UnreadableError
from .place import interpreter_of, python_thread
from .session import ReplaySession

_PRINTING = "_print_exception_bltin"  # in traceback.py; Python/pythonrun.c, _PyErr_Display
_IMPORTING = "<frozen importlib"


@dataclass(frozen=True)
class PythonStack:
    """The frames of one task at one position."""

    task: int
    frames: tuple[PythonFrame, ...]
    """Innermost first."""
    exception: Value | None = None
    """Whose traceback the frames are of; None where they are live."""
    variables: Variables | None = field(default=None, repr=False)

    def locals(self, index: int) -> dict[str, Value]:
        """The local variables of a frame; none where they cannot be read."""
        return self._read(index, Variables.local_variables)

    def globals(self, index: int) -> dict[str, Value]:
        """The global names of a frame's module."""
        return self._read(index, lambda variables, frame, _: variables.global_variables(frame))

    def arguments(self, index: int) -> dict[str, Value]:
        """The arguments of a frame."""
        return self._read(index, Variables.arguments)

    def _read(self, index: int, how: Callable[[Variables, int, int], dict[str, Value]]) -> dict[str, Value]:
        if self.variables is None or not index < len(self.frames):
            return {}
        frame = self.frames[index]
        try:
            return how(self.variables, frame.address, frame.code)
        except UnreadableError:
            return {}

    def lookup(self, index: int, name: str) -> Value | None:
        """What a name means in a frame: a local variable, a global or a built-in one."""
        found = self.locals(index).get(name)
        if found is None and self.variables is not None and index < len(self.frames):
            frame = self.frames[index].address
            try:
                found = self.variables.global_variables(frame).get(name) or self.variables.builtins(frame).get(name)
            except UnreadableError:
                return None
        return found


def own_frames(thread: PythonThread) -> tuple[PythonFrame, ...]:
    """The frames of the program; none while the interpreter runs Python code by itself: for its start, and to print an
    exception that nobody caught, for which 3.13 imports a module."""
    frames = thread.frames
    own = frames and frames[-1].function != _PRINTING and not frames[-1].file.startswith(_IMPORTING)
    return frames if own else ()


def stack_of(session: ReplaySession, task: int) -> PythonStack:
    """The Python stack of a task at this position, live or of an uncaught exception."""
    interpreter = interpreter_of(session, task)
    thread = python_thread(session, task)
    if interpreter is None or thread is None:
        return PythonStack(task, ())
    if not own_frames(thread) and (uncaught := interpreter.last_traceback()) is not None:
        return _of_traceback(task, uncaught, interpreter.variables())
    return PythonStack(task, thread.frames, None, interpreter.variables())


def handled_stack(session: ReplaySession, task: int, last: bool = True) -> PythonStack | None:
    """The frames of the exception that a task is handling or, with `last`, of the one that sys.last_traceback keeps:
    nobody caught it, or pytest is behind a failed test. None if there is none."""
    interpreter = interpreter_of(session, task)
    thread = python_thread(session, task)
    if interpreter is None or thread is None:
        return None
    found = interpreter.handled(thread) or (interpreter.last_traceback() if last else None)
    return _of_traceback(task, found, interpreter.variables()) if found else None


def _of_traceback(task: int, traceback: Traceback, variables: Variables | None) -> PythonStack:
    return PythonStack(task, traceback.frames, traceback.value, variables)
