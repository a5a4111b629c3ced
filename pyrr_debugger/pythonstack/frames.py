"""The frames of one thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from .layouts import Layout, Lines
from .memory import Reader, UnreadableError
from .objects import Code, read_code, read_string

# enum _frameowner in Include/internal/pycore_frame.h (in 3.14, pycore_interpframe_structs.h)
_OWNED_BY_GENERATOR = 1
# From here on frames are not Python's: FRAME_OWNED_BY_CSTACK; before it, in 3.14, FRAME_OWNED_BY_INTERPRETER.
_NOT_PYTHON = 3

_OB_TYPE, _TP_NAME = 8, 24  # PyObject, PyTypeObject

# f_executable in 3.14 is a _PyStackRef, whose low bits are a tag. Objects are aligned to 8 bytes at least.
_TAG = 7


@dataclass(frozen=True)
class PythonFrame:
    """A call of a Python function."""

    function: str
    """Its qualified name from 3.11 on, before that its bare name. May hold surrogates, as `file` may."""
    file: str
    """co_filename as it is: perhaps relative, perhaps "<string>"."""
    line: int
    """The line being executed; 0 (linetable.NO_LINE) for an instruction that has none."""
    first_line: int
    address: int = field(default=0, compare=False, repr=False)
    """Of its PyFrameObject, or from 3.11 on its _PyInterpreterFrame."""
    code: int = field(default=0, compare=False, repr=False)
    """Address of its PyCodeObject."""
    offset: int = field(default=0, compare=False, repr=False)
    """Of the instruction in its code, in bytes; negative before the first."""


@dataclass
class KnownCodes:
    """Code objects that were read, by address, and lines of their instructions. They are good for one stop of the
    process; for several only where a code object that took another's place would do no harm."""

    codes: dict[int, Code] = field(default_factory=dict)
    lines: dict[tuple[int, int], int] = field(default_factory=dict)


class FrameReader:
    """Reads stacks; remembers code objects, so it is good for one stop of the process only."""

    def __init__(self, reader: Reader, layout: Layout, known: KnownCodes | None = None) -> None:
        self._reader = reader
        self._layout = layout
        self._known = KnownCodes() if known is None else known

    def frames(self, thread: int) -> tuple[PythonFrame, ...]:
        """Return the frames of a PyThreadState, innermost first, as far as they can be read.

        Just those that Python itself would show: none that has not begun, none of the interpreter's own.
        """
        frames = []
        try:
            address = self._reader.unsigned(thread + self._layout.thread_frame)
            if self._layout.cframe_frame is not None:
                address = self._reader.unsigned(address + self._layout.cframe_frame)
            for frame in self._reader.chain(address, self._layout.frame_back):
                python_frame = self._frame(frame)
                if python_frame is not None:
                    frames.append(python_frame)
        except UnreadableError:
            pass  # the stack ends here
        return tuple(frames)

    def _frame(self, address: int) -> PythonFrame | None:
        owner = 0
        if self._layout.frame_owner is not None:
            owner = self._reader.unsigned(address + self._layout.frame_owner, 1)
            if owner >= _NOT_PYTHON:
                return None
        code_address = self._reader.unsigned(address + self._layout.frame_code) & ~_TAG
        code = self._code(code_address)
        offset = self._instruction(address, code)
        # As _PyFrame_IsIncomplete in pycore_frame.h says it: until RESUME a frame is still being made.
        if code.lines is Lines.LOCATIONS and owner != _OWNED_BY_GENERATOR and offset < code.first_traceable:
            return None
        line = self._line(code_address, code, offset)
        return PythonFrame(code.name, code.file, line, code.first_line, address, code_address, offset)

    def frame_at(self, address: int, offset: int) -> PythonFrame:
        """Return the frame at an address as it was at an instruction, given as a byte offset in its code."""
        code_address = self._reader.unsigned(address + self._layout.frame_code) & ~_TAG
        code = self._code(code_address)
        line = self._line(code_address, code, offset)
        return PythonFrame(code.name, code.file, line, code.first_line, address, code_address, offset)

    def top(self, thread: int) -> PythonFrame | None:
        """Return the innermost frame of a PyThreadState, also one that has not begun; None if there is none."""
        try:
            address = self._reader.unsigned(thread + self._layout.thread_frame)
            if self._layout.cframe_frame is not None:
                address = self._reader.unsigned(address + self._layout.cframe_frame)
            return self.frame_here(address) if address else None
        except UnreadableError:
            return None

    def frame_here(self, address: int) -> PythonFrame | None:
        """Return the frame at an address; None if it is none of Python's."""
        owner = self._layout.frame_owner
        if owner is not None and self._reader.unsigned(address + owner, 1) >= _NOT_PYTHON:
            return None
        code = self.code(self._reader.unsigned(address + self._layout.frame_code) & ~_TAG)
        return self.frame_at(address, self._instruction(address, code))

    def code(self, address: int) -> Code:
        """Return the code object at an address."""
        return self._code(address)

    def text(self, address: int) -> str:
        """Return the str at an address; empty if it is none."""
        try:
            return read_string(self._reader, self._layout, address)
        except UnreadableError:
            return ""

    def is_code(self, address: int) -> bool:
        """Whether a code object lies there."""
        try:
            kind = self._reader.unsigned(address + _OB_TYPE)
            name = self._reader.read(self._reader.unsigned(kind + _TP_NAME), 5)
            return name == b"code\0" and bool(self._code(address))
        except UnreadableError:
            return False

    def _line(self, code_address: int, code: Code, offset: int) -> int:
        line = self._known.lines.get((code_address, offset))
        if line is None:
            # Decoding a byte costs far more than reading it.
            self._reader.charge(8 * len(code.line_table))
            line = self._known.lines[code_address, offset] = code.line(offset)
        return line

    def _instruction(self, frame: int, code: Code) -> int:
        """Return the instruction a frame is at, as a byte offset in its code; negative before the first."""
        address = frame + self._layout.frame_instruction
        if code.lines is Lines.LNOTAB:
            return self._reader.signed(address)
        if code.lines is Lines.RANGES:
            return 2 * self._reader.signed(address)
        return self._reader.unsigned(address) - code.units

    def _code(self, address: int) -> Code:
        code = self._known.codes.get(address)
        if code is None:
            code = self._known.codes[address] = read_code(self._reader, self._layout, address)
        return code
