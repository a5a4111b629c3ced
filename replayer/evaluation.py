"""Python expressions and statements, evaluated at a position: in a clone, by the program's own interpreter.

What they change is gone with the clone. The clone is made of the thread that holds the GIL, or, where none does, of the
one that is asked about.
"""

from __future__ import annotations

import ast
import pprint
from typing import TYPE_CHECKING

from ..errors import PyrrError
from .clone import Clone
from .place import interpreter_of, python_functions, python_thread

if TYPE_CHECKING:
    from .session import ReplaySession
    from .stack import PythonStack

_FILE_INPUT = 257  # Py_file_input
_LONGEST = 1 << 20
_FUNCTIONS = (
    "PyGILState_Ensure",
    "PyDict_New",
    "PyRun_StringFlags",
    "PyDict_GetItemString",
    "PyBytes_AsString",
    "PyBytes_Size",
    "PyErr_Clear",
)

# Runs in the clone, on any Python from 3.8 on.
_PROGRAM = """
import io, sys
sys.settrace(None)
sys.setprofile(None)

def frame_of(ident, index, traceback):
    if traceback:
        frames, one = [], sys.exc_info()[2] or sys.last_traceback
        while one is not None:
            frames.append(one.tb_frame)
            one = one.tb_next
        return frames[-1 - index]
    frame = sys._current_frames()[ident]
    while frame.f_globals is globals():
        frame = frame.f_back
    for _ in range(index):
        frame = frame.f_back
    return frame

def evaluate(frame, source, how):
    names = dict(frame.f_globals)
    names.update(frame.f_locals)
    try:
        code = compile(source, "<pyrr>", "eval")
    except SyntaxError:
        if how != "run":
            raise
        exec(compile(source, "<pyrr>", "exec"), names)
        return ""
    value = eval(code, names)
    if how == "run" and value is None:
        return ""
    if how == "pretty":
        try:
            from pprint import pformat
            return pformat(value)
        except ImportError:
            pass
    return repr(value)

def answer(ident, index, traceback, source, how):
    frame = frame_of(ident, index, traceback)
    sys.stdout = sys.stderr = out = io.StringIO()
    try:
        text, good = evaluate(frame, source, how), "+"
    except BaseException as error:
        text, good = "%s: %s" % (type(error).__name__, error), "-"
    printed = out.getvalue()
    if printed and text and not printed.endswith("\\n"):
        printed += "\\n"
    return (good + printed + text)[:1 << 20].encode("utf-8", "backslashreplace")

"""


class EvaluationError(PyrrError):
    """The expression raised an exception, in the clone."""


def evaluate(session: ReplaySession, stack: PythonStack, index: int, source: str, how: str = "show") -> str:
    """What an expression gives in a frame, as text: `how` is `show` (its repr), `pretty` (pprint's, if the program has
    it) or `run` (also statements; None is nothing). What is printed comes before it.

    Raises EvaluationError for an exception, PyrrError where nothing can be evaluated at this position.
    """
    interpreter, thread = interpreter_of(session, stack.task), python_thread(session, stack.task)
    if interpreter is None or thread is None or not stack.frames:
        raise PyrrError("no Python runs here")
    task = stack.task
    for other in interpreter.threads():
        if other.holds_gil and other.native_thread != thread.native_thread:
            task = _task_of(session, stack.task, other.native_thread)
    question = (thread.native_thread, index, stack.exception is not None, source, how)
    program = _PROGRAM + f"result = answer(*{question!r})\n"
    with Clone(session, task) as clone:
        functions = python_functions(session, stack.task, _FUNCTIONS)
        ensure, new, run, get, bytes_of, size_of, clear = (functions[name] for name in _FUNCTIONS)
        clone.call(ensure)
        clone.call(clear)  # where an exception is just being raised
        names = clone.call(new)
        text = clone.put(program.encode("utf-8", "backslashreplace"))
        if not clone.call(run, text, _FILE_INPUT, names, names, 0):
            raise PyrrError("the frame cannot be looked at by its interpreter at this position")
        result = clone.call(get, names, clone.put(b"result"))
        size = clone.call(size_of, result)
        answer = clone.read(clone.call(bytes_of, result), min(size, 4 * _LONGEST)).decode(errors="replace")
    if answer.startswith("-"):
        raise EvaluationError(answer[1:])
    return _in_lines(answer[1:]) if how == "pretty" else answer[1:]


def _in_lines(text: str) -> str:
    """As pprint has it, for a value of built-in types: the program may not have the module."""
    try:
        return text if "\n" in text else pprint.pformat(ast.literal_eval(text), sort_dicts=False)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _task_of(session: ReplaySession, task: int, native_thread: int) -> int:
    """The task of a process whose pthread_t this is."""
    process = session.process_of(task)
    for other in session.tasks:
        if session.process_of(other) == process and session.registers(other)["fs_base"] == native_thread:
            return other
    raise PyrrError("the thread that holds the GIL is not there")
