"""Where CPython keeps what a stack is read from: offsets in its structures, in bytes, by minor version.

Offsets are the same in all releases of a minor version. Those of 3.8 to 3.12 stand here;
tests/test_pythonstack.py compiles each with the headers of that interpreter and compares. From 3.13 on an
interpreter carries its own (debug_offsets.py).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Lines(enum.Enum):
    """How a code object encodes its lines, and with it what a frame's `instruction` is."""

    LNOTAB = 1
    """3.8, 3.9: co_lnotab; f_lasti in bytes."""
    RANGES = 2
    """3.10: co_linetable of ranges; f_lasti in code units of 2 bytes."""
    LOCATIONS = 3
    """3.11 and later: co_linetable of locations; a pointer into the code. Up to 3.12 (prev_instr) to the
    instruction being executed or to one of its cache entries; from 3.13 on (instr_ptr) to the instruction
    being executed, also while it calls: where it returns to is return_offset further."""


@dataclass(frozen=True)
class Layout:
    """The offsets of one minor version; None where it has no such member."""

    # _PyRuntimeState (Include/internal/pycore_runtime.h)
    runtime_interpreters: int
    """interpreters.head, the list of PyInterpreterState"""
    runtime_gil: int | None
    """ceval.gil, a struct _gil_runtime_state, up to 3.11"""

    # PyInterpreterState (Include/internal/pycore_interp.h)
    interpreter_next: int
    interpreter_threads: int
    """The list of PyThreadState."""
    interpreter_gil: int | None
    """ceval.gil, a pointer to a struct _gil_runtime_state, from 3.12 on"""

    # struct _gil_runtime_state (Include/internal/pycore_gil.h)
    gil_holder: int
    """last_holder: a PyThreadState*, that of the thread which has the GIL or had it last"""
    gil_locked: int
    """int: 1, 0, or -1 before there is a GIL"""

    # PyThreadState (Include/cpython/pystate.h)
    thread_next: int
    thread_pthread: int
    """thread_id: the pthread_t"""
    thread_tid: int | None
    """native_thread_id: Linux's"""
    thread_frame: int
    """The innermost frame, or the _PyCFrame that points to it."""
    cframe_frame: int | None
    """_PyCFrame.current_frame in 3.11 and 3.12 (Include/cpython/pystate.h)"""

    # PyFrameObject (Include/cpython/frameobject.h) up to 3.10,
    # then _PyInterpreterFrame (Include/internal/pycore_frame.h)
    frame_back: int
    frame_code: int
    frame_instruction: int
    frame_owner: int | None
    """char: an enum _frameowner"""

    # PyCodeObject (Include/cpython/code.h)
    code_file: int
    code_name: int
    """co_qualname, or co_name where there is none"""
    code_first_line: int
    code_lines: int
    lines: Lines
    code_first_traceable: int | None
    """_co_firsttraceable: index of the first code unit at which a frame counts as begun"""
    code_units: int | None
    """co_code_adaptive: the code itself"""

    # PyASCIIObject, PyCompactUnicodeObject (Include/cpython/unicodeobject.h)
    string_length: int
    string_state: int
    string_ascii: int
    """sizeof(PyASCIIObject): where the characters of an ASCII string begin"""
    string_compact: int
    """sizeof(PyCompactUnicodeObject): where those of any other begin"""

    # PyBytesObject (Include/cpython/bytesobject.h)
    bytes_size: int
    bytes_data: int


_3_8 = Layout(
    runtime_interpreters=32,
    runtime_gil=1152,
    interpreter_next=0,
    interpreter_threads=8,
    interpreter_gil=None,
    gil_holder=8,
    gil_locked=16,
    thread_next=8,
    thread_pthread=176,
    thread_tid=None,
    thread_frame=24,
    cframe_frame=None,
    frame_back=24,
    frame_code=32,
    frame_instruction=104,
    frame_owner=None,
    code_file=104,
    code_name=112,
    code_first_line=40,
    code_lines=120,
    lines=Lines.LNOTAB,
    code_first_traceable=None,
    code_units=None,
    string_length=16,
    string_state=32,
    string_ascii=48,
    string_compact=72,
    bytes_size=16,
    bytes_data=32,
)
_3_9 = replace(_3_8, runtime_gil=352)
_3_10 = replace(_3_9, frame_instruction=96, lines=Lines.RANGES)
_3_11 = replace(
    _3_10,
    runtime_interpreters=40,
    runtime_gil=360,
    interpreter_threads=16,
    thread_pthread=152,
    thread_tid=160,
    thread_frame=56,
    cframe_frame=8,
    frame_back=48,
    frame_instruction=56,
    frame_owner=69,
    code_file=112,
    code_name=128,
    code_first_line=72,
    code_lines=136,
    lines=Lines.LOCATIONS,
    code_first_traceable=168,
    code_units=184,
)
_3_12 = replace(
    _3_11,
    runtime_gil=None,
    interpreter_threads=72,
    interpreter_gil=384,
    thread_pthread=136,
    thread_tid=144,
    cframe_frame=0,
    frame_back=8,
    frame_code=0,
    frame_owner=70,
    code_first_line=68,
    code_first_traceable=176,
    code_units=192,
    string_ascii=40,
    string_compact=56,
)
LAYOUTS = {(3, 8): _3_8, (3, 9): _3_9, (3, 10): _3_10, (3, 11): _3_11, (3, 12): _3_12}
"""By (major, minor)."""
