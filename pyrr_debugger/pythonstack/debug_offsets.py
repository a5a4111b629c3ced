"""The offsets that an interpreter from 3.13 on carries: _Py_DebugOffsets, the first member of _PyRuntime.

It is a table of uint64_t (Include/internal/pycore_runtime.h in 3.13, pycore_debug_offsets.h in 3.14), whose
own form is fixed within a minor version only. Those of 3.13 and 3.14 stand here; later ones are unknown.
"""

from __future__ import annotations

import struct

from .layouts import Layout, Lines

_COOKIE = b"xdebugpy"

# The members up to the last one used, by the names of the C structures and their members.
_RUNTIME = """
    version free_threaded
    runtime_state.size runtime_state.finalizing runtime_state.interpreters_head
    interpreter_state.size interpreter_state.id interpreter_state.next interpreter_state.threads_head
"""
_INTERPRETER = """
    interpreter_state.gc interpreter_state.imports_modules interpreter_state.sysdict
    interpreter_state.builtins interpreter_state.ceval_gil interpreter_state.gil_runtime_state
    interpreter_state.gil_runtime_state_enabled interpreter_state.gil_runtime_state_locked
    interpreter_state.gil_runtime_state_holder
"""
_THREAD_AND_FRAME = """
    thread_state.size thread_state.prev thread_state.next thread_state.interp thread_state.current_frame
    thread_state.thread_id thread_state.native_thread_id thread_state.datastack_chunk thread_state.status
    interpreter_frame.size interpreter_frame.previous interpreter_frame.executable interpreter_frame.instr_ptr
    interpreter_frame.localsplus interpreter_frame.owner
"""
_CODE = """
    code_object.size code_object.filename code_object.name code_object.qualname code_object.linetable
    code_object.firstlineno code_object.argcount code_object.localsplusnames code_object.localspluskinds
    code_object.co_code_adaptive
"""
_OBJECTS = """
    pyobject.size pyobject.ob_type
    type_object.size type_object.tp_name type_object.tp_repr type_object.tp_flags
    tuple_object.size tuple_object.ob_item tuple_object.ob_size
    list_object.size list_object.ob_item list_object.ob_size
"""
_MORE_OBJECTS = """
    dict_object.size dict_object.ma_keys dict_object.ma_values
    float_object.size float_object.ob_fval
    long_object.size long_object.lv_tag long_object.ob_digit
    bytes_object.size bytes_object.ob_size bytes_object.ob_sval
    unicode_object.size unicode_object.state unicode_object.length unicode_object.asciiobject_size
"""

MEMBERS: dict[tuple[int, int], tuple[str, ...]] = {
    (3, 13): tuple((_RUNTIME + _INTERPRETER + _THREAD_AND_FRAME + _CODE + _OBJECTS + _MORE_OBJECTS).split()),
    (3, 14): tuple(
        (
            f"{_RUNTIME} interpreter_state.threads_main {_INTERPRETER}"
            " interpreter_state.code_object_generation interpreter_state.tlbc_generation"
            f" {_THREAD_AND_FRAME} interpreter_frame.stackpointer interpreter_frame.tlbc_index"
            f" {_CODE} code_object.co_tlbc {_OBJECTS}"
            " set_object.size set_object.used set_object.table set_object.mask"
            f" {_MORE_OBJECTS}"
        ).split()
    ),
}
"""The members that follow the 8 bytes of cookie, in order, by (major, minor)."""

# No structure is larger (PyInterpreterState has some 100 kB, _PyRuntimeState some 300 kB).
_LARGEST_OFFSET = 1 << 24


def debug_offsets_size(version: tuple[int, int]) -> int | None:
    """Return how many bytes of _PyRuntime `layout_from_debug_offsets` needs; None for an unknown version."""
    members = MEMBERS.get(version)
    return None if members is None else len(_COOKIE) + 8 * len(members)


def layout_from_debug_offsets(table: bytes) -> Layout | None:
    """Make the layout out of the beginning of _PyRuntime.

    None if there is no such table, if it is of an unknown version, of a free-threaded build, or garbage.
    """
    if len(table) < 16 or not table.startswith(_COOKIE):
        return None
    version = (table[11], table[10])  # of PY_VERSION_HEX, 0x030d00f0
    members = MEMBERS.get(version)
    if members is None or len(table) < len(_COOKIE) + 8 * len(members):
        return None
    values = struct.unpack_from(f"<{len(members)}Q", table, len(_COOKIE))
    offset = dict(zip(members, values, strict=True))
    del offset["version"]
    if offset.pop("free_threaded") or max(offset.values()) > _LARGEST_OFFSET:
        return None
    # Offsets of the GIL's members are counted from the interpreter whose own it may be.
    own_gil = offset["interpreter_state.gil_runtime_state"]
    code = offset["code_object.co_code_adaptive"]
    ascii_size = offset["unicode_object.asciiobject_size"]
    return Layout(
        runtime_interpreters=offset["runtime_state.interpreters_head"],
        runtime_gil=None,
        interpreter_next=offset["interpreter_state.next"],
        interpreter_threads=offset["interpreter_state.threads_head"],
        interpreter_gil=offset["interpreter_state.ceval_gil"],
        gil_holder=offset["interpreter_state.gil_runtime_state_holder"] - own_gil,
        gil_locked=offset["interpreter_state.gil_runtime_state_locked"] - own_gil,
        thread_next=offset["thread_state.next"],
        thread_pthread=offset["thread_state.thread_id"],
        thread_tid=offset["thread_state.native_thread_id"],
        thread_frame=offset["thread_state.current_frame"],
        cframe_frame=None,
        frame_back=offset["interpreter_frame.previous"],
        frame_code=offset["interpreter_frame.executable"],
        frame_instruction=offset["interpreter_frame.instr_ptr"],
        frame_owner=offset["interpreter_frame.owner"],
        code_file=offset["code_object.filename"],
        code_name=offset["code_object.qualname"],
        code_first_line=offset["code_object.firstlineno"],
        code_lines=offset["code_object.linetable"],
        lines=Lines.LOCATIONS,
        # Not in the table; but "int _co_firsttraceable; void *co_extra;" come just before the code.
        code_first_traceable=code - 16,
        code_units=code,
        string_length=offset["unicode_object.length"],
        string_state=offset["unicode_object.state"],
        string_ascii=ascii_size,
        # "Py_ssize_t utf8_length; char *utf8;" follow PyASCIIObject.
        string_compact=ascii_size + 16,
        bytes_size=offset["bytes_object.ob_size"],
        bytes_data=offset["bytes_object.ob_sval"],
    )
