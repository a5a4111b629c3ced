"""What a person looks at: the Python frames of a task at a position, with their variables, and the ways between
positions that these frames define.

The stack is the live one; or, where none is live, that of the exception which nobody caught: its traceback keeps
the frames as they were when it was raised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..pythonstack import KnownCodes, PythonFrame, PythonThread, Traceback, Value, Variables
from ..pythonstack.memory import UnreadableError
from .place import interpreter_of, python_thread
from .session import ReplaySession

_PRINTING = "_print_exception_bltin"  # in traceback.py; Python/pythonrun.c, _PyErr_Display
_IMPORTING = "<frozen importlib"

Path = tuple[int, ...]
"""The code objects of a frame and of its callers, outermost first: what tells a frame from others. A call that was left
and made again between two events is not told from the first one."""


@dataclass(frozen=True)
class PythonStack:
    """The frames of one task at one position."""

    task: int
    frames: tuple[PythonFrame, ...]
    """Innermost first."""
    exception: Value | None = None
    """Whose traceback the frames are of; None where they are live."""
    variables: Variables | None = field(default=None, repr=False)

    def path(self, index: int) -> Path:
        """What tells frame `index` (0 is the innermost) from others."""
        return tuple(frame.code for frame in reversed(self.frames[index:]))

    def locals(self, index: int) -> dict[str, Value]:
        """The local variables of a frame; none where they cannot be read."""
        return self._read(index, Variables.local_variables)

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


def handled_stack(session: ReplaySession, task: int) -> PythonStack | None:
    """The frames of the exception that a task is handling, or that nobody caught; None if there is none."""
    interpreter = interpreter_of(session, task)
    thread = python_thread(session, task)
    if interpreter is None or thread is None:
        return None
    found = interpreter.handled(thread) or interpreter.last_traceback()
    return _of_traceback(task, found, interpreter.variables()) if found else None


def _of_traceback(task: int, traceback: Traceback, variables: Variables | None) -> PythonStack:
    return PythonStack(task, traceback.frames, traceback.value, variables)


# Ways. All are exact at events only: where nothing happens between two lines, both are passed at once.


class Way:
    """Moves a session along the frames of one task."""

    def __init__(self, session: ReplaySession, stack: PythonStack, index: int) -> None:
        """`stack` is that of the present position, `index` the frame that a person looks at."""
        self._session = session
        self._task = stack.task
        self._known = KnownCodes()
        self._path = stack.path(index)
        self._line = stack.frames[index].line if stack.frames else 0
        self._top = self._key(stack.frames)

    @staticmethod
    def _key(frames: tuple[PythonFrame, ...]) -> tuple[int, int, int]:
        return (len(frames), frames[0].code, frames[0].line) if frames else (0, 0, 0)

    def _frames(self, session: ReplaySession) -> tuple[PythonFrame, ...]:
        if self._task not in session.tasks:
            return ()
        thread = python_thread(session, self._task, self._known)
        return own_frames(thread) if thread else ()

    def _own(self, session: ReplaySession) -> PythonFrame | None:
        """The frame that is looked at, if it is there."""
        frames = self._frames(session)
        depth = len(self._path)
        if not depth or len(frames) < depth:
            return None
        path = tuple(frame.code for frame in reversed(frames[len(frames) - depth :]))
        return frames[len(frames) - depth] if path == self._path else None

    def step(self, backward: bool) -> bool:
        """To another line, of any function."""

        def differs(session: ReplaySession) -> bool:
            frames = self._frames(session)
            return bool(frames) and self._key(frames) != self._top

        return self._session.run_until(differs, self._task, backward)

    def next(self, backward: bool) -> bool:
        """To another line of this frame, or out of it."""

        def differs(session: ReplaySession) -> bool:
            frame = self._own(session)
            return bool(self._frames(session)) and (frame is None or frame.line != self._line)

        return self._session.run_until(differs, self._task, backward)

    def until(self, line: int | None, backward: bool) -> bool:
        """To a later line of this frame (backward: to an earlier one), or out of it: out of a loop."""

        def passed(session: ReplaySession) -> bool:
            frame = self._own(session)
            if frame is None:
                return bool(self._frames(session))
            if backward:
                return frame.line < self._line if line is None else frame.line <= line
            return frame.line > self._line if line is None else frame.line >= line

        return self._session.run_until(passed, self._task, backward)

    def leave(self, backward: bool) -> bool:
        """Out of this frame: forward to where it has returned, backward to before it was called."""
        return self._session.run_until(
            lambda session: bool(self._frames(session)) and self._own(session) is None, self._task, backward
        )

    def index_in(self, stack: PythonStack) -> int:
        """The frame of another stack that a person looks at after a way: the same one, or the innermost of its
        callers that is there."""
        for depth in range(min(len(self._path), len(stack.frames)), 0, -1):
            index = len(stack.frames) - depth
            if stack.path(index) == self._path[:depth]:
                return index
        return 0
