"""Moves along Python lines, in both directions, without any help from the program.

A frame notes each instruction that it begins in a word of its own (f_lasti, prev_instr, instr_ptr), so a debug
register on that word stops at each instruction of just this frame, and nowhere else; one on the word that names the
innermost frame stops where a frame is entered or left. A place on a line is thus "the k-th write of this word since
event N", and reaching it again costs what the replay from the nearest checkpoint costs.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..pythonstack import PythonFrame
from ..pythonstack.layouts import Lines as LineForm
from ..pythonstack.memory import UnreadableError
from ..pythonstack.objects import Code
from .backward import hits_of, spans
from .place import interpreter_of, python_thread
from .stack import own_frames
from .traps import Hit, Place, Trap

if TYPE_CHECKING:
    from ..pythonstack import Interpreter
    from .session import ReplaySession

_ANCESTORS = 3
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


@dataclass(frozen=True)
class _Stretch:
    """What a task ran between two writes of the words that name its innermost frame: this frame and no other; None is
    one that has no lines for us."""

    end: Place
    words: list[Trap]
    frame: PythonFrame | None
    lines: CodeLines | None


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


def _held(index: int, values: list[int], hits: list[Hit]) -> int:
    """What the memory of a trap held behind some hits, if it had one of these values before them."""
    return next((hit.value for hit in reversed(hits) if hit.index == index), values[index])


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
        return self._back(self._last_anywhere(self._session.place))

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
        lines = CodeLines(interpreter.reader().code(frame.code))
        trap = Trap(*interpreter.instruction_word(frame.address), "write", self._task)
        for start, end in spans(session, session.simplified(before), task=self._task):
            for (word,), hits in hits_of(session, [trap], start, end):
                mark = self._last_mark(hits, interpreter, lines, word, most)
                if mark is not None:
                    return self._entered(frame, mark, before) if mark.born and not lines.body else mark
        return None

    def _entered(self, frame: PythonFrame, birth: _Mark, before: Place) -> _Mark:
        """Up to 3.10 a frame is made before it is entered: that of a generator, long before. What called it is found
        from there."""
        self._session.go(birth.place)
        interpreter = self._interpreter_at(frame)
        word, *_ = interpreter.frame_words(self._thread.address(interpreter))
        entry = Trap(*word, "write", self._task, ((frame.address, frame.address),))
        found = self._session.run_to([entry], before.position)
        return _Mark(self._session.simplified(self._session.place), born=True) if found else birth

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
            # The word of a new frame is set before its first instruction; from 3.13 on, to that. A generator's frame is
            # made amid what comes before its body.
            if offset is None or offset < lines.body or offset < 0:
                line, mark = 0, None if offset is None else _Mark(hit.place, born=True)
                continue
            at = lines.line(offset)
            if at and at != line:
                line = at
                if most is None or at <= most:
                    mark = _Mark(hit.place, born=False)
        return mark

    def _last_anywhere(self, before: Place) -> Place | None:
        """Where the task last came to a line, of any function, before a place."""
        stretch: _Stretch | None = self._stretch_before(before)
        while stretch is not None:
            found = self._last_of(stretch)
            if isinstance(found, Place):
                return found
            stretch = found
        return None

    def _stretch_before(self, place: Place) -> _Stretch | None:
        """What ran before a place."""
        session = self._session
        place = session.simplified(place)
        interpreter = self._thread.interpreter()
        thread = self._thread.address(interpreter) if interpreter else 0
        if interpreter is None or not thread:
            return None
        words = [Trap(*word, "write", self._task) for word in interpreter.frame_words(thread)]
        if place.trap not in words:
            return self._stretch(place, words, self._thread.top())
        start, end = next(spans(session, place, task=self._task))
        values, hits = next(hits_of(session, words, start, end))
        index = words.index(place.trap)
        session.go(place)
        return self._left(place, words, index, _held(index, values, hits))

    def _stretch(self, end: Place, words: list[Trap], frame: PythonFrame | None) -> _Stretch:
        """One that ends here."""
        own = frame is not None and not frame.file.startswith(_FROZEN)
        return _Stretch(end, words, frame if own else None, self._thread.lines(frame) if own and frame else None)

    def _left(self, end: Place, words: list[Trap], index: int, value: int) -> _Stretch:
        """The stretch that ends here, with a write of one of the words, in which this value was before."""
        interpreter = self._thread.interpreter()
        if interpreter is not None and index < len(words) - 1:
            # Another run of the interpreter's loop, in 3.11 and 3.12.
            words = [words[0], replace(words[1], address=value + interpreter.innermost_in_loop)]
            value = int.from_bytes(self._session.read(self._task, words[1].address, words[1].size), "little")
        try:
            # What has been left is still whole, at the write that says so.
            frame = interpreter.reader().frame_here(value) if interpreter and value else None
            return self._stretch(end, words, frame)
        except UnreadableError:
            return _Stretch(end, words, None, None)

    def _last_of(self, stretch: _Stretch) -> Place | _Stretch | None:
        """Where the frame of a stretch last came to a line in it; or the stretch before; None at the start."""
        session, words, frame, lines = self._session, stretch.words, stretch.frame, stretch.lines
        interpreter = self._thread.interpreter()
        if interpreter is None:
            return None
        own = [Trap(*interpreter.instruction_word(frame.address), "write", self._task)] if frame else []
        for start, end in spans(session, stretch.end, task=self._task):
            for values, hits in hits_of(session, [*words, *own], start, end):
                begins = [number for number, hit in enumerate(hits) if hit.index < len(words)]
                first = begins[-1] + 1 if begins else 0
                if lines is not None:
                    word = _held(len(words), values, hits[:first])
                    mark = self._last_mark(hits[first:], interpreter, lines, word, None)
                    if mark is not None and not mark.born:
                        return mark.place
                for number in reversed(begins):
                    place, index = hits[number].place, hits[number].index
                    session.go(place)
                    earlier = self._left(place, words, index, _held(index, values, hits[:number]))
                    if earlier.frame is not None or earlier.words != words or number == begins[0]:
                        return earlier
        return None
