"""A Python statement, run in a program at the position at which it goes live, by its own interpreter and with its own
files.

It runs where the program's own code stands: in the innermost frame of the thread whose file is not of Python's library,
or else, as at the prompt of an interactive session, in the names of `__main__`.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import _engine, registers
from ..errors import PyrrError
from ..replayer.place import interpreter_of, python_functions, python_thread
from .process import LiveProcess, LiveTask

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession

_FUNCTIONS = (
    *("PyGILState_Ensure", "PyGILState_Release", "PyDict_New", "PyRun_StringFlags", "PyDict_GetItemString"),
    *("PyBytes_AsString", "PyBytes_Size", "PyLong_AsLong", "PyFrame_LocalsToFast"),
)
_FILE_INPUT = 257  # Py_file_input
_RETURN = _engine.GATE_PAGE + 2  # the int3 behind the page's system call
_STACK = 8 << 20
_SECONDS = 60.0
_MMAP, _MUNMAP = 9, 11
_ALLOCATING = (9, 10, 11, 12, 25, 28)  # mmap, mprotect, munmap, brk, mremap, madvise: malloc may be amid its work
_DIRECTION_FLAG = 0x400
_NO_CALL = (1 << 64) - 1
_BUT_FAULTS = ~sum(1 << number - 1 for number in (4, 5, 7, 8, 11)) & _NO_CALL
_LONGEST_ERROR = 1 << 16

_PROGRAM = """
import sys, os
def run(ident, source):
    library = os.path.dirname(os.__file__) + os.sep
    frame = sys._current_frames().get(ident)
    while frame is not None and (
        frame.f_globals is globals()
        or frame.f_code.co_filename.startswith((library, "<frozen")) and "-packages" not in frame.f_code.co_filename
    ):
        frame = frame.f_back
    code = compile(source, "<pyrr resume --set>", "exec")
    if frame is None:
        names = sys.modules["__main__"].__dict__
        exec(code, names)
        return None
    local = frame.f_locals
    exec(code, frame.f_globals, local)
    return None if local is frame.f_globals else frame
frame, address, error = None, 0, b""
try:
    frame = run(*question)
    address = id(frame) if frame is not None else 0
except BaseException as caught:
    error = ("%s: %s" % (type(caught).__name__, caught)).encode("utf-8", "backslashreplace")
"""


def run(session: ReplaySession, task: int, process: LiveProcess, source: str) -> None:
    """Runs a statement; `task` is the recorded thread whose frame is meant. Its registers are to be set again
    afterwards. Raises PyrrError, also for an exception of the statement."""
    thread = python_thread(session, task)
    interpreter = interpreter_of(session, task)
    if interpreter is None or thread is None:
        raise PyrrError("--set: no Python runs in the process")
    worker = task
    for other in interpreter.threads():
        if other.holds_gil and other.native_thread != thread.native_thread:
            worker = _task_of(session, task, other.native_thread)
    if session.stop(worker) == "call" and session.registers(worker)["orig_rax"] in _ALLOCATING:
        raise PyrrError("--set: memory is being allocated at this position: choose the one before or behind it")
    functions = python_functions(session, task, _FUNCTIONS)
    caller = _Caller(process.threads[worker])
    try:
        _run(caller, functions, thread.native_thread, source)
    finally:
        caller.close()
    _release_new_threads(process)


def _run(caller: _Caller, functions: dict[str, int], thread: int, source: str) -> None:
    ensure, release, new, run_string, get, bytes_of, size_of, long_of, to_fast = (functions[n] for n in _FUNCTIONS)
    held = caller.call(ensure)
    names = caller.call(new)
    text = f"question = {(thread, source)!r}\n{_PROGRAM}"
    if not caller.call(run_string, caller.put(text.encode("utf-8", "backslashreplace")), _FILE_INPUT, names, names, 0):
        raise PyrrError("--set: the interpreter cannot run anything at this position")
    error = caller.call(get, names, caller.put(b"error"))
    size = caller.call(size_of, error)
    if size:
        message = caller.read(caller.call(bytes_of, error), min(size, _LONGEST_ERROR)).decode(errors="replace")
        raise PyrrError(f"--set: {message}")
    frame = caller.call(long_of, caller.call(get, names, caller.put(b"address")))
    if frame:
        caller.call(to_fast, frame, 0)
    caller.call(release, held)


def _task_of(session: ReplaySession, task: int, native_thread: int) -> int:
    process = session.process_of(task)
    for other in session.tasks:
        if session.process_of(other) == process and session.registers(other)["fs_base"] == native_thread:
            return other
    raise PyrrError("--set: the thread that holds the GIL is not there")


def _release_new_threads(process: LiveProcess) -> None:
    known = {task.tid for task in process.threads.values()}
    for tid in map(int, os.listdir(f"/proc/{process.tid}/task")):
        if tid not in known:
            with suppress(OSError):
                _engine.live_wait(tid)
                _engine.live_release(tid)


class _Caller:
    """Calls C functions in a thread that stands still, on a stack of its own."""

    def __init__(self, task: LiveTask) -> None:
        self._task = task
        self._start = registers.unpack(_engine.registers(task.tid))
        self._stack = task.call(_MMAP, 0, _STACK, 3, 0x4022, _NO_CALL, 0)  # private, anonymous, not reserved
        self._top = self._stack + _STACK - 4096
        self._used = self._stack
        self._late = False

    def close(self) -> None:
        with suppress(OSError, PyrrError):
            self._task.call(_MUNMAP, self._stack, _STACK)

    def put(self, data: bytes) -> int:
        """Bytes, with a NUL behind them: their address."""
        address = self._used
        self._used += -(-(len(data) + 1) // 16) * 16
        if self._used > self._stack + _STACK // 2:
            raise PyrrError("--set: the statement is too long")
        self._task.write(address, data + b"\0")
        return address

    def read(self, address: int, size: int) -> bytes:
        return self._task.read(address, size)

    def call(self, function: int, *arguments: int) -> int:
        named = dict(zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), arguments, strict=False))
        flags = self._start["eflags"] & ~_DIRECTION_FLAG
        present = {**self._start, **named, "rip": function, "rsp": self._top - 8, "rax": 0, "orig_rax": _NO_CALL}
        self._task.write(self._top - 8, _RETURN.to_bytes(8, "little"))
        _engine.set_registers(self._task.tid, registers.pack({**present, "eflags": flags}), b"")
        _engine.set_mask(self._task.tid, _BUT_FAULTS)
        timer = threading.Timer(_SECONDS, self._give_up)
        timer.start()
        try:
            stopped = _engine.live_run(self._task.tid)
        finally:
            timer.cancel()
        if not stopped:
            raise PyrrError(
                f"--set: it took longer than {_SECONDS:.0f} s" if self._late else "--set: the process died of it"
            )
        after = registers.unpack(_engine.registers(self._task.tid))
        if stopped != signal.SIGTRAP or after["rip"] != _RETURN + 1:
            raise PyrrError(f"--set: it failed with {signal.Signals(stopped).name}")
        return after["rax"]

    def _give_up(self) -> None:
        self._late = True
        with suppress(OSError):
            os.kill(self._task.tid, signal.SIGKILL)
