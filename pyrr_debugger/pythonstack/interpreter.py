"""The CPython in a process, and its threads."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from .debug_offsets import debug_offsets_size, layout_from_debug_offsets
from .frames import FrameReader, KnownCodes, PythonFrame
from .image import Image, Module
from .jumps import backward_jumps
from .layouts import LAYOUTS, Layout, Lines
from .memory import Memory, Reader, UnreadableError
from .objects import Code
from .variables import OBJECT_LAYOUTS, Value, Variables
from .version import image_version


@dataclass(frozen=True)
class PythonThread:
    """A thread that runs, or ran and may run again, Python code."""

    native_thread: int
    """Its pthread_t; with glibc, also the base of its %fs segment."""
    tid: int
    """Its Linux thread id; 0 up to 3.10, which does not store it."""
    holds_gil: bool | None
    """Whether it has its interpreter's lock; None if that cannot be told."""
    frames: tuple[PythonFrame, ...]
    """Innermost first."""
    address: int = field(default=0, compare=False, repr=False)
    """Of its PyThreadState."""


@dataclass(frozen=True)
class Traceback:
    """An exception with the frames through which it came: they keep the variables that they had."""

    value: Value
    frames: tuple[PythonFrame, ...]
    """Innermost first."""


class Interpreter:
    """A CPython mapped in a stopped process; reads only, and may be asked again at each later stop.

    A line is that of the instruction which the interpreter last noted as begun. From 3.11 on it does so in
    the instruction's own code, so at a dispatch, where a tick stops, it is the line of the one before.

    Stacks are whole at a system call and at a dispatch. From 3.11 on, in the few machine instructions with
    which a frame is entered or left, the caller may be known to registers alone: of 1,000 stops at random,
    about one shows a stack that is cut short, empty or (a stale pointer) wrong.
    """

    def __init__(self, memory: Memory, version: str, runtime: int, layout: Layout) -> None:
        """`runtime` is the address of _PyRuntime. To have one for a process use `find`."""
        self.version = version
        """Such as "3.11.7"."""
        self._memory = memory
        self._runtime = runtime
        self._layout = layout

    @classmethod
    def find(cls, memory: Memory, modules: Iterable[Module]) -> Interpreter | None:
        """Find the CPython among the files mapped in a process: the first that exports _PyRuntime.

        None if there is none, or only one of a version or kind that is unknown here.
        """
        for module in modules:
            reader = Reader(memory)
            try:
                image = Image(reader, module)
                runtime = image.symbol("_PyRuntime")
                version = None if runtime is None else image_version(image, module.path)
                if runtime is None or version is None:
                    continue
                layout = _layout(image, runtime, version)
            except UnreadableError:
                continue
            if layout is not None:
                return cls(memory, version, module.load_bias + runtime, layout)
        return None

    def at(self, memory: Memory) -> Interpreter:
        """The same interpreter in another state of its process's memory."""
        return Interpreter(memory, self.version, self._runtime, self._layout)

    def threads(self, known: KnownCodes | None = None) -> list[PythonThread]:
        """Return the threads of all (sub)interpreters with their stacks, the newest thread first.

        Before Py_Initialize() and after Py_Finalize() there are none. Whatever the memory holds, nothing is
        raised and time is bounded: what cannot be read ends the stack, or the list, with what was read.
        """
        reader = Reader(self._memory)
        frames = FrameReader(reader, self._layout, known)
        threads = []
        try:
            head = reader.unsigned(self._runtime + self._layout.runtime_interpreters)
            for interpreter in reader.chain(head, self._layout.interpreter_next):
                holder = self._gil_holder(reader, interpreter)
                first = reader.unsigned(interpreter + self._layout.interpreter_threads)
                for thread in reader.chain(first, self._layout.thread_next):
                    threads.append(self._thread(reader, frames, thread, holder))
        except UnreadableError:
            pass
        return threads

    def thread_of(self, native_thread: int) -> int:
        """The address of the PyThreadState of a pthread_t; 0 if it has none."""
        reader = Reader(self._memory)
        with suppress(UnreadableError):
            head = reader.unsigned(self._runtime + self._layout.runtime_interpreters)
            for interpreter in reader.chain(head, self._layout.interpreter_next):
                first = reader.unsigned(interpreter + self._layout.interpreter_threads)
                for thread in reader.chain(first, self._layout.thread_next):
                    if reader.unsigned(thread + self._layout.thread_pthread) == native_thread:
                        return thread
        return 0

    def reader(self) -> FrameReader:
        """What reads single frames of this stop."""
        return FrameReader(Reader(self._memory), self._layout)

    def frame_words(self, thread: int) -> list[tuple[int, int]]:
        """The words that are written when a thread enters or leaves a frame: address and size. In 3.11 and 3.12 the
        second one belongs to the innermost run of the interpreter's loop in C."""
        first = thread + self._layout.thread_frame
        if self._layout.cframe_frame is None:
            return [(first, 8)]
        reader = Reader(self._memory)
        return [(first, 8), (reader.unsigned(first) + self._layout.cframe_frame, 8)]

    @property
    def innermost_in_loop(self) -> int:
        """Where, in 3.11 and 3.12, a run of the interpreter's loop (_PyCFrame) has its innermost frame."""
        return self._layout.cframe_frame or 0

    def instruction_word(self, frame: int) -> tuple[int, int]:
        """The word in which a frame notes the instruction that it begins: address and size."""
        return frame + self._layout.frame_instruction, 4 if self._layout.lines is not Lines.LOCATIONS else 8

    def instruction_value(self, code: Code, offset: int) -> int:
        """What the word holds at an instruction, given as a byte offset."""
        if self._layout.lines is Lines.LOCATIONS:
            return code.words + offset
        return (offset if self._layout.lines is Lines.LNOTAB else offset // 2) & 0xFFFFFFFF

    def offset_of(self, code: Code, value: int) -> int | None:
        """The byte offset that the word means; negative before the first instruction; None if it is none of the
        code's."""
        if self._layout.lines is Lines.LOCATIONS:
            offset = value - code.words
        else:
            offset = value if value < 1 << 31 else value - (1 << 32)
            offset *= 1 if self._layout.lines is Lines.LNOTAB or offset < 0 else 2
        return offset if -2 <= offset < code.size else None

    @property
    def layout(self) -> Layout:
        """Where this version keeps things."""
        return self._layout

    def backward_jumps(self, code: Code) -> dict[int, int]:
        """Where jumps lead back to, in bytes from the start of a code object, each with the offset of one such jump."""
        words = Reader(self._memory).read(code.words, code.size)
        return backward_jumps(self._version_pair, words)

    def variables(self) -> Variables | None:
        """What reads the variables of frames; None for a version whose objects are unknown here."""
        layout = OBJECT_LAYOUTS.get(self._version_pair)
        return None if layout is None else Variables(Reader(self._memory), self._layout, layout)

    def modules(self) -> dict[str, Value]:
        """sys.modules."""
        variables = self.variables()
        if variables is None:
            return {}
        interpreter = Reader(self._memory).unsigned(self._runtime + self._layout.runtime_interpreters)
        sysdict = Reader(self._memory).unsigned(interpreter + variables.layout.interpreter_sysdict)
        modules = variables.dictionary(sysdict).get("modules")
        return variables.dictionary(modules.address) if modules else {}

    def last_traceback(self) -> Traceback | None:
        """The traceback that is being printed, or was, because nobody caught its exception: sys.last_traceback."""
        variables = self.variables()
        if variables is None:
            return None
        with suppress(UnreadableError):
            reader = Reader(self._memory)
            interpreter = reader.unsigned(self._runtime + self._layout.runtime_interpreters)
            names = variables.dictionary(reader.unsigned(interpreter + variables.layout.interpreter_sysdict))
            if "last_traceback" in names and "last_value" in names:
                return self._traceback(variables, names["last_value"], names["last_traceback"].address)
        return None

    def handled(self, thread: PythonThread) -> Traceback | None:
        """The exception that a thread is handling (sys.exc_info())."""
        variables = self.variables()
        if variables is None:
            return None
        with suppress(UnreadableError):
            value, traceback = variables.handled(thread.address)
            if value and traceback:
                return self._traceback(variables, value, traceback)
        return None

    def _traceback(self, variables: Variables, value: Value, address: int) -> Traceback | None:
        reader = FrameReader(Reader(self._memory), self._layout)
        frames = []
        for frame, offset in variables.traceback(address):
            frames.append(reader.frame_at(frame, offset))
        return Traceback(value, tuple(reversed(frames))) if frames else None

    @property
    def _version_pair(self) -> tuple[int, int]:
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return major, minor

    def _thread(self, reader: Reader, frames: FrameReader, thread: int, gil_holder: int | None) -> PythonThread:
        tid = 0
        if self._layout.thread_tid is not None:
            tid = reader.unsigned(thread + self._layout.thread_tid)
        return PythonThread(
            native_thread=reader.unsigned(thread + self._layout.thread_pthread),
            tid=tid,
            holds_gil=None if gil_holder is None else thread == gil_holder,
            frames=frames.frames(thread),
            address=thread,
        )

    def _gil_holder(self, reader: Reader, interpreter: int) -> int | None:
        """Return the PyThreadState that has an interpreter's GIL; 0 if none has, None if unknown."""
        try:
            if self._layout.runtime_gil is not None:
                gil = self._runtime + self._layout.runtime_gil
            else:
                assert self._layout.interpreter_gil is not None
                gil = reader.unsigned(interpreter + self._layout.interpreter_gil)
            locked = reader.signed(gil + self._layout.gil_locked)
            holder = reader.unsigned(gil + self._layout.gil_holder)
        except UnreadableError:
            return None
        if locked == 1:
            return holder
        return 0 if locked in (0, -1) else None


def _layout(image: Image, runtime: int, version: str) -> Layout | None:
    major, minor = (int(part) for part in version.split(".")[:2])
    size = debug_offsets_size((major, minor))
    if size is not None:
        return layout_from_debug_offsets(image.read(runtime, size))
    return LAYOUTS.get((major, minor))
