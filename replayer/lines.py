"""Moves along Python lines, in both directions, without any help from the program.

A frame notes each instruction that it begins in a word of its own (f_lasti, prev_instr, instr_ptr), so a debug
register on that word stops at each instruction of just this frame, and nowhere else; one on the word that names the
innermost frame stops where a frame is entered or left. A place on a line is thus "the k-th write of this word since
event N", and reaching it again costs what the replay from the nearest checkpoint costs.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pythonstack import PythonFrame
from ..pythonstack.layouts import Lines as LineForm
from ..pythonstack.memory import UnreadableError
from ..pythonstack.objects import Code
from .place import interpreter_of, python_thread
from .stack import own_frames
from .traps import FIRST_TICKS, MOST_HITS, Hit, Place, Trap

if TYPE_CHECKING:
    from ..pythonstack import Interpreter
    from .session import ReplaySession

_ANCESTORS = 3
_EVENTS_BY_TICKS = 4  # so many events are searched by ticks, before longer ones by events
_FROZEN = "<frozen importlib"


class CodeLines:
    """The lines of a code object's instructions. What comes before its first line (from 3.11 on: RESUME and what makes
    a generator) has none."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.body = code.first_traceable + 2 if code.lines is LineForm.LOCATIONS else 0
        self._spans: list[tuple[int, int, int]] = []
        for start, end, line in code.spans():
            start = max(start, self.body)
            if start >= end:
                continue
            if self._spans and self._spans[-1][2] == line:
                self._spans[-1] = (self._spans[-1][0], end, line)
            else:
                self._spans.append((start, end, line))
        self._starts = [start for start, _, _ in self._spans]

    def line(self, offset: int) -> int:
        """The line of the instruction at a byte offset; 0 if it has none."""
        index = bisect_right(self._starts, offset) - 1
        return self._spans[index][2] if index >= 0 and offset < self._spans[index][1] else 0

    @property
    def lines(self) -> list[int]:
        """All lines that have instructions."""
        return sorted({line for _, _, line in self._spans if line})

    def ranges(self, accept: frozenset[int] | set[int]) -> list[tuple[int, int]]:
        """The instructions of some lines: offset of the first one and of the last byte pair."""
        return [(start, end - 2) for start, end, line in self._spans if line in accept]

    def starts(self, line: int) -> list[int]:
        """Where the instructions of a line begin, each time that they do."""
        return [start for start, _, at in self._spans if at == line]


@dataclass(frozen=True)
class _Mark:
    """Where a frame came to a line; or, with `born`, where it came to be."""

    place: Place
    born: bool


class Thread:
    """The Python thread of one task, at the present place of a session."""

    def __init__(self, session: ReplaySession, task: int) -> None:
        self._session = session
        self.task = task

    def interpreter(self) -> Interpreter | None:
        """Its interpreter, at this place."""
        return interpreter_of(self._session, self.task)

    def address(self, interpreter: Interpreter) -> int:
        """Of its PyThreadState; 0 if it has none."""
        return interpreter.thread_of(self._session.registers(self.task)["fs_base"])

    def top(self) -> PythonFrame | None:
        """Its innermost frame, also one that has not begun."""
        interpreter = self.interpreter()
        thread = self.address(interpreter) if interpreter else 0
        return interpreter.reader().top(thread) if interpreter and thread else None

    def frames(self) -> tuple[PythonFrame, ...]:
        """Its frames, innermost first; none while the interpreter runs Python code by itself."""
        thread = python_thread(self._session, self.task)
        return own_frames(thread) if thread else ()

    def lines(self, frame: PythonFrame) -> CodeLines:
        """The lines of a frame's code."""
        interpreter = self.interpreter()
        if interpreter is None:
            raise UnreadableError("no interpreter")
        return CodeLines(interpreter.reader().code(frame.code))


def _is(one: PythonFrame | None, other: PythonFrame) -> bool:
    return one is not None and (one.address, one.code) == (other.address, other.code)


class LineWay:
    """Moves a session along the lines of one task. Each move tells whether it came to where it was to go: False is the
    end, or the start, of the task's Python code."""

    def __init__(self, session: ReplaySession, task: int) -> None:
        self._session = session
        self._thread = Thread(session, task)
        self._task = task

    # Forward

    def step(self) -> bool:
        """To the next line, of any function."""
        frame = self._thread.top()
        old = self._line(frame)
        while True:
            interpreter = self._thread.interpreter()
            thread = self._thread.address(interpreter) if interpreter else 0
            if interpreter is None or not thread:
                return False
            traps = [Trap(*word, "write", self._task) for word in interpreter.frame_words(thread)]
            own = frame is not None and not frame.file.startswith(_FROZEN)
            if own and frame is not None:
                lines = self._thread.lines(frame)
                traps.append(self._on_lines(interpreter, frame, lines, set(lines.lines) - {old}))
            hit = self._session.run_to(traps)
            if not hit:
                return False
            top = self._thread.top()
            if own and frame is not None and len(traps) - 1 in hit and _is(top, frame):
                return True
            if frame is None or not _is(top, frame):
                frame, old = top, self._line(top)

    def next(self, index: int) -> bool:
        """To the next line of frame `index`, or of its caller when it has returned."""
        chain = self._chain(index)
        while chain:
            found = self._run_in(chain, lambda lines, frame: set(lines.lines) - {frame.line})
            if found is None:
                return False
            if found == 0:
                return True
            line = self._line(self._thread.top())
            if line and line != chain[found].line:
                return True
            chain = self._returned(chain[found:])
        return False

    def until(self, index: int, line: int | None) -> bool:
        """To a later line of frame `index` (or to `line`, or a later one), or to where it has returned."""
        chain = self._chain(index)
        least = chain[0].line + 1 if line is None and chain else line or 0
        return self._run_in(chain, lambda lines, _: {one for one in lines.lines if one >= least}) is not None

    def leave(self, index: int) -> bool:
        """To where frame `index` has returned, in its caller."""
        return bool(self._run_in(self._chain(index), None))

    def _line(self, frame: PythonFrame | None) -> int:
        return self._thread.lines(frame).line(frame.offset) if frame else 0

    def _chain(self, index: int) -> list[PythonFrame]:
        return list(self._thread.frames()[index : index + 1 + _ANCESTORS])

    def _returned(self, chain: list[PythonFrame]) -> list[PythonFrame]:
        """The chain from a caller on, with callers that were not watched before; its lines are those of the calls."""
        frames = self._thread.frames()
        return [*chain, *frames[len(chain) : 1 + _ANCESTORS]]

    def _on_lines(self, interpreter: Interpreter, frame: PythonFrame, lines: CodeLines, accept: set[int]) -> Trap:
        value = interpreter.instruction_value
        ranges = sorted((value(lines.code, first), value(lines.code, last)) for first, last in lines.ranges(accept))
        # Nothing is in an empty range; no range at all would be everything.
        return Trap(*interpreter.instruction_word(frame.address), "write", self._task, tuple(ranges) or ((1, 0),))

    def _run_in(self, chain: list[PythonFrame], accept: object) -> int | None:
        """To an accepted line of the first frame (none without `accept`), or to where one of the others goes on: which
        one of the chain it is. None at the end."""
        chain = list(chain)
        dead: set[int] = set()
        while True:
            interpreter = self._thread.interpreter()
            if interpreter is None:
                return None
            traps, of = [], []
            for number, frame in enumerate(chain):
                if number in dead:
                    continue
                if number:
                    traps.append(Trap(*interpreter.instruction_word(frame.address), "write", self._task))
                elif callable(accept):
                    lines = self._thread.lines(frame)
                    traps.append(self._on_lines(interpreter, frame, lines, accept(lines, frame)))
                else:
                    continue
                of.append(number)
            hit = self._session.run_to(traps)
            if not hit:
                return None
            top = self._thread.top()
            for number in (of[index] for index in hit):
                if _is(top, chain[number]):
                    return number
                dead.add(number)

    # Backward

    def rstep(self) -> bool:
        """Back to where the line before began, of any function."""
        frames = self._thread.frames()
        return self._back(self._last_anywhere(list(frames), self._session.place))

    def rnext(self, index: int) -> bool:
        """Back to where the line before began, of frame `index`; or of its caller."""
        frames, before = list(self._thread.frames()[index:]), self._session.place
        while frames:
            mark = self._last_in(frames[0], before)
            if mark is None:
                break
            if not mark.born:
                return self._back(mark.place)
            frames, before = frames[1:], mark.place
        return self._back(None)

    def runtil(self, index: int, line: int | None) -> bool:
        """Back to where an earlier line of frame `index` began (or `line`, or one before it), or to its call."""
        frames, before = list(self._thread.frames()[index:]), self._session.place
        if not frames:
            return self._back(None)
        most = frames[0].line - 1 if line is None else line
        while True:
            mark = self._last_in(frames[0], before, most)
            if mark is None:
                return self._back(None)
            if not mark.born:
                return self._back(mark.place)
            return self._back(self._call_of(frames, mark.place))

    def rleave(self, index: int) -> bool:
        """Back to the line that called frame `index`."""
        frames, before = list(self._thread.frames()[index:]), self._session.place
        while frames:
            mark = self._last_in(frames[0], before, 0)
            if mark is None:
                break
            return self._back(self._call_of(frames, mark.place))
        return self._back(None)

    def _call_of(self, frames: list[PythonFrame], birth: Place) -> Place | None:
        for frame in frames[1:]:
            mark = self._last_in(frame, birth)
            if mark is None:
                return None
            if not mark.born:
                return mark.place
            birth = mark.place
        return None

    def _back(self, place: Place | None) -> bool:
        if place is None:
            return False
        self._session.go(place)
        return True

    def _last_in(self, frame: PythonFrame, before: Place, most: int | None = None) -> _Mark | None:
        """Where a frame last came to a line before a place (to a line not after `most`); or where it was born, if it
        has come to none since."""
        session = self._session
        interpreter = self._interpreter_at(frame)
        code = interpreter.reader().code(frame.code)
        lines = CodeLines(code)
        trap = Trap(*interpreter.instruction_word(frame.address), "write", self._task)
        before = session.simplified(before)
        ticks, size = FIRST_TICKS, 1
        start = session.back(before, ticks)
        while True:
            session.go(start)
            word = session.read(self._task, trap.address, trap.size) if self._task in session.tasks else b""
            hits = session.hits([trap], before)
            mark = self._last_mark(hits, interpreter, lines, int.from_bytes(word, "little"), most)
            if mark is not None:
                return mark
            if len(hits) == MOST_HITS:
                before = hits[0].place
                continue
            if start == Place(0):
                return None
            before = start
            if start.legs:
                ticks *= 8
                start = start.earlier(ticks)
            elif size < _EVENTS_BY_TICKS:
                start, size = session.back(start, ticks), size + 1
            else:
                start, size = Place(max(0, start.position - size)), size * 2

    def _interpreter_at(self, frame: PythonFrame) -> Interpreter:
        interpreter = self._thread.interpreter()
        if interpreter is None:
            raise UnreadableError("no interpreter")
        return interpreter

    def _last_mark(
        self, hits: list[Hit], interpreter: Interpreter, lines: CodeLines, value: int, most: int | None
    ) -> _Mark | None:
        offset = interpreter.offset_of(lines.code, value)
        line = lines.line(offset) if offset is not None else 0
        mark = None
        for hit in hits:
            offset = interpreter.offset_of(lines.code, hit.value)
            # The word of a new frame is set before its first instruction; from 3.13 on, to that.
            if offset is None or offset < 0 or (offset == 0 and lines.body):
                line, mark = 0, None if offset is None else _Mark(hit.place, born=True)
                continue
            at = lines.line(offset)
            if at and at != line:
                line = at
                if most is None or at <= most:
                    mark = _Mark(hit.place, born=False)
        return mark

    def _last_anywhere(self, frames: list[PythonFrame], before: Place) -> Place | None:
        """Where the task last came to a line, of any function, before a place at which these are its frames."""
        while frames:
            mark = self._last_in(frames[0], before)
            if mark is None:
                return None
            called = self._last_called(frames, mark, before)
            if called is not None:
                frame, before = called
                frames = [frame, *frames]
            elif not mark.born:
                return mark.place
            else:
                frames, before = frames[1:], mark.place
        return None

    def _last_called(self, frames: list[PythonFrame], mark: _Mark, before: Place) -> tuple[PythonFrame, Place] | None:
        """The frame that returned last to the first of these, between a mark and a place; and where it returned."""
        session = self._session
        session.go(mark.place)
        interpreter = self._interpreter_at(frames[0])
        words = interpreter.frame_words(self._thread.address(interpreter))
        traps = [Trap(*word, "write", self._task) for word in words]
        own = Trap(*interpreter.instruction_word(frames[0].address), "write", self._task)
        before = session.simplified(before)
        session.go(mark.place.root)
        hits = session.hits([own, *traps], before)
        at = next((i for i, hit in enumerate(hits) if hit.index == 0 and hit.place == mark.place), -1)
        entries = [hit for hit in hits[at + 1 :] if hit.index]
        if mark.born:  # the first one is its own
            entries = entries[1:]
        for number in range(len(entries) - 1, 0, -1):
            hit, before_it = entries[number], entries[:number]
            found = None
            if hit.index == len(words) and hit.value == frames[0].address:
                found = self._left_last([one for one in before_it if one.index == hit.index], frames[0].address)
            elif len(words) == 2 and hit.value == words[1][0] - interpreter.innermost_in_loop:
                loops = [one for one in before_it if one.index == hit.index]
                found = self._left_in_loop(loops[-1], hit, interpreter) if loops else None
            if found is not None:
                return found, hit.place
        return None

    def _left_last(self, entries: list[Hit], own: int) -> PythonFrame | None:
        """The last frame that was the innermost one before a frame was it again. C code that calls Python has frames
        that are none of Python's (from 3.12 on)."""
        for entry in reversed(entries):
            if entry.value == own:
                return None
            found = self._frame_of(entry)
            if found is not None:
                return found
        return None

    def _left_in_loop(self, begin: Hit, end: Hit, interpreter: Interpreter) -> PythonFrame | None:
        """The last frame of a run of the interpreter's loop that C code has called, in 3.11 and 3.12."""
        loop = begin.place.trap
        if loop is None or not begin.value:
            return None
        self._session.go(begin.place.root)
        innermost = Trap(begin.value + interpreter.innermost_in_loop, 8, "write", self._task)
        hits = self._session.hits([loop, innermost], end.place)
        at = next((i for i, hit in enumerate(hits) if hit.place == begin.place), len(hits))
        return self._left_last([hit for hit in hits[at:] if hit.index == 1], 0)

    def _frame_of(self, entry: Hit) -> PythonFrame | None:
        self._session.go(entry.place)
        interpreter = self._thread.interpreter()
        try:
            frame = interpreter.reader().frame_here(entry.value) if interpreter else None
        except UnreadableError:
            return None
        return None if frame is None or frame.file.startswith(_FROZEN) else frame
