"""Line and function breakpoints: where code objects lie, and moves to the places at which they are run.

A code object is found in the memory of the replayed process by the name of its file: nothing is evaluated for it. One
that is loaded later is found where the trace opens its file: from there the replay stops at each new frame until the
module's own begins; all of the file's code objects are in memory then, as its constants. The interpreter reads an
instruction when it comes to it, so a debug register on the first one of a line (two bytes, in data) stops there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import PyrrError
from ..events import SyscallEvent
from ..pythonstack import PythonFrame, Variables
from ..pythonstack.memory import UnreadableError
from ..pythonstack.objects import ENCODINGS, Code
from ..syscalls import BY_NAME
from ..syscalls import name as call_name
from ..trace_reader import EventFilter
from .backward import hits_of, spans
from .lines import CodeLines, Thread
from .place import interpreter_of
from .traps import Hit, Place, Trap

if TYPE_CHECKING:
    from ..pythonstack.layouts import Layout
    from ..trace_reader import TraceReader
    from .session import ReplaySession

_OPENING = ("open", "openat", "openat2")
_OPENINGS = EventFilter(calls=tuple(BY_NAME[name].number for name in _OPENING))
_LONGEST_NAME = 4096
_AT_ONCE = 1 << 22
_MOST_LOADS = 16
_EVENTS_OF_A_LOAD = 400
_ENTRIES_OF_A_LOAD = 4000
_WORDS_AT_ONCE = 3
_SAMPLES = 8


@dataclass(frozen=True)
class Target:
    """One place that is to be stopped at: an instruction with which a line begins. Or machine code that is run where an
    exception is raised (raises.py); or a pointer that is written: what a name stands for."""

    word: int
    offset: int = 0
    line: int = 0
    code: int = 0
    file: str = ""
    kind: str = "line"
    frame: int = 0
    """Whose variable the pointer is, or which frame is to be at the line; 0 if it is none of a frame, or any."""
    again: Callable[[Variables], int] | None = field(default=None, compare=False)
    """Looks for the pointer, in another state of the memory."""

    @property
    def trap(self) -> Trap:
        """What stops there."""
        if self.kind == "watch":
            return Trap(self.word, 8, "write")
        return Trap(self.word, 1, "execute") if self.kind == "raise" else Trap(self.word, 2)


def matches(path: str, name: str) -> bool:
    """Whether a code object's file is meant by a name: the whole path, or its last components."""
    return path == name or (not name.startswith("/") and path.endswith("/" + name))


def codes_of(session: ReplaySession, task: int, name: str) -> list[Code]:
    """The code objects, in the memory of a task, whose file is meant by a name."""
    interpreter = interpreter_of(session, task)
    if interpreter is None:
        return []
    layout = interpreter.layout
    reader = interpreter.reader()
    found_names = _strings_ending_in(session, task, name, layout)
    names = [address for address in found_names if matches(reader.text(address), name)]
    if not names:
        return []
    found = {}
    pattern = re.compile(b"|".join(re.escape(address.to_bytes(8, "little")) for address in names))
    for at in _search(session, task, pattern, 8):
        address = at - layout.code_file
        if at % 8 == 0 and reader.is_code(address):
            found[address] = reader.code(address)
    return list(found.values())


def _writable(session: ReplaySession, task: int) -> Iterator[tuple[int, bytes]]:
    for mapping in session.mappings(task):
        if mapping.prot & 3 != 3:
            continue
        for start in range(mapping.start, mapping.end, _AT_ONCE):
            yield start, session.read(task, start, min(_AT_ONCE + 16, mapping.end - start))


def _search(session: ReplaySession, task: int, pattern: re.Pattern[bytes], size: int) -> Iterator[int]:
    for start, data in _writable(session, task):
        for match in pattern.finditer(data):
            if match.start() < _AT_ONCE and match.end() - match.start() == size:
                yield start + match.start()


def _strings_ending_in(session: ReplaySession, task: int, name: str, layout: Layout) -> Iterator[int]:
    """The addresses of strings, as Python keeps them, that end in a name: of characters of 1, 2 or 4 bytes."""
    for width, encoding in ENCODINGS.items():
        try:
            text = name.encode(encoding, "surrogatepass")
        except UnicodeEncodeError:
            continue  # it has wider ones
        heads = (layout.string_ascii, layout.string_compact) if width == 1 else (layout.string_compact,)
        pattern = re.compile(re.escape(text) + bytes(width))
        for at in _search(session, task, pattern, len(text) + width):
            end = at + len(text)
            for head in heads:
                yield from _string_up_to(session, task, at, end, width, head, layout.string_length)


def _string_up_to(
    session: ReplaySession, task: int, at: int, end: int, width: int, head: int, length: int
) -> Iterator[int]:
    """The address of a string that ends at `end` and begins at `at` or before, if there is one."""
    first = max(end - _LONGEST_NAME * width, 0)
    before = session.read(task, first - head, end - first + head)
    if len(before) != end - first + head:
        before = before.rjust(end - first + head, b"\0")
    for start in range(at, first, -width):
        place = start - first
        if before[place + length : place + length + 8] == ((end - start) // width).to_bytes(8, "little"):
            yield start - head
            return


def _chunks_with(trace: TraceReader, words: list[bytes]) -> Iterator[SyscallEvent]:
    """The successful calls that open a file, of the chunks of a trace in which any of the words stands."""
    for index, chunk in enumerate(trace.chunks):
        data = trace.data_of(index)
        if any(word in data for word in words):
            for event in trace.select(_OPENINGS, chunk.first, chunk.first + chunk.events):
                if isinstance(event, SyscallEvent) and event.result >= 0:
                    yield event


def _opened(event: SyscallEvent) -> str:
    return os.fsdecode(event.inputs[0][1].rstrip(b"\0")) if event.inputs else ""


def loads_of(trace: TraceReader, name: str) -> list[SyscallEvent]:
    """The calls that open a source file for Python, or what is compiled of it."""
    stem = os.path.basename(name).removesuffix(".py")
    pattern = re.compile(rf"(^|/){re.escape(stem)}(\.py|\.pyc|\.[\w-]+\.pyc)$")
    return [e for e in _chunks_with(trace, [os.fsencode(stem)]) if pattern.search(_opened(e))]


class Codes:
    """The code objects of files, wherever in the trace they are loaded. One for a session: it remembers them."""

    def __init__(self, session: ReplaySession) -> None:
        self._session = session
        self._known: dict[str, dict[tuple[int, int], Code]] = {}
        self._loaded: set[str] = set()
        self._jumps: dict[tuple[int, int], dict[int, int]] = {}

    def of(self, name: str, task: int, line: int = 0) -> list[Code]:
        """Those of a file, alive here or loaded anywhere in the trace; or, if those that are known have a line, just
        these. The session stays where it is."""
        known = self._known.setdefault(name, {})
        session = self._session
        if task in session.tasks:
            self._add(known, codes_of(session, task, name), task)
        complete = line and any(line in CodeLines(code).lines for code in known.values())
        if name not in self._loaded and not complete:
            here = session.place
            for load in loads_of(session.trace, name)[:_MOST_LOADS]:
                self._add(known, self._load(load, name), load.task)
            for position in self._samples() if not known else ():
                session.seek(position)
                for other in session.tasks:
                    self._add(known, codes_of(session, other, name), other)
            session.go(here)
            self._loaded.add(name)
        return list(known.values())

    def _samples(self) -> Iterator[int]:
        """Where to look for code that came from no file of its name."""
        count = self._session.trace.count
        yield from (count * part // _SAMPLES for part in range(1, _SAMPLES))

    def _add(self, known: dict[tuple[int, int], Code], codes: list[Code], task: int) -> None:
        interpreter = interpreter_of(self._session, task) if codes else None
        for code in codes:
            known[code.address, code.words] = code
            # Read here: elsewhere its memory may be another one's.
            if interpreter is not None:
                self._jumps[code.address, code.words] = interpreter.backward_jumps(code)

    def targets(self, codes: list[Code], line: int) -> list[Target]:
        """Where a line begins in code objects that are known."""
        found = []
        for code in codes:
            lines = CodeLines(code)
            jumps = self._jumps.get((code.address, code.words), {})
            offsets = set(lines.starts(line))
            offsets |= {to for to in jumps if lines.line(to) == line and lines.line(jumps[to]) != line}
            found += [Target(code.words + offset, offset, line, code.address, code.file) for offset in sorted(offsets)]
        return found

    def _load(self, event: SyscallEvent, name: str) -> list[Code]:
        """Runs on from the opening of a file to the beginning of its module, if it begins."""
        session, task, end = self._session, event.task, event.number + _EVENTS_OF_A_LOAD
        stem = os.path.basename(name).removesuffix(".py")
        for other in session.trace.events(event.number + 1, end):
            opens = isinstance(other, SyscallEvent) and other.task == task and call_name(other.nr) in _OPENING
            if opens and isinstance(other, SyscallEvent) and other.result >= 0 and stem not in _opened(other):
                end = other.number
                break
        session.seek(event.number + 1)
        thread = Thread(session, task)
        for _ in range(_ENTRIES_OF_A_LOAD):
            interpreter = thread.interpreter() if task in session.tasks else None
            address = thread.address(interpreter) if interpreter else 0
            if interpreter is None or not address:
                return []
            traps = [Trap(*word, "write", task) for word in interpreter.frame_words(address)]
            if not session.run_to(traps, min(end, session.trace.count)):
                return []
            top = thread.top()
            if top is not None and top.function == "<module>" and matches(top.file, name):
                return codes_of(session, task, name)
        return []


def target_of_function(code: Code) -> Target:
    """Where the body of a code object begins."""
    lines = CodeLines(code)
    return Target(code.words + lines.body, lines.body, lines.line(lines.body), code.address, code.file)


@dataclass(frozen=True)
class Arrival:
    """A target that was come to: the session stands there."""

    target: Target
    frame: PythonFrame
    task: int


class Runs:
    """Moves of a session to targets."""

    def __init__(self, session: ReplaySession) -> None:
        self._session = session
        self._values: dict[int, bytes] = {}  # of pointers that are watched, when they were last looked at

    def forward(
        self, targets: list[Target], until: int, accept: Callable[[Arrival], bool] = lambda _: True
    ) -> Arrival | None:
        """To the next arrival at any target that is accepted; None where event `until` comes first: the session stands
        there."""
        groups = self._groups(targets)
        self._look_at(targets)
        if len(groups) <= 1:
            while targets:
                arrival = self._next(targets, until)
                if arrival is None or accept(arrival):
                    return arrival
            self._session.seek(until)
            return None
        # One group after the other over the same span, each up to the first arrival that is known.
        size = 64
        while self._session.position < until:
            start = self._session.place
            end = min(start.position + size, until)
            arrivals = []
            for group in groups:
                self._session.go(start)
                arrival = self._next(group, end)
                if arrival is not None:
                    arrivals.append((self._session.place, arrival))
            if arrivals:
                place, arrival = self._first(start, arrivals)
                self._session.go(place)
                if accept(arrival):
                    return arrival
                size = 64
            else:
                self._session.seek(end)
                size *= 4
        return None

    def _look_at(self, targets: list[Target]) -> None:
        session = self._session
        task = session.midway or next(iter(session.tasks), 0)
        self._values = {t.word: session.read(task, t.word, 8) for t in targets if t.kind == "watch" and task}

    @staticmethod
    def _groups(targets: list[Target]) -> list[list[Target]]:
        return [targets[i : i + _WORDS_AT_ONCE] for i in range(0, len(targets), _WORDS_AT_ONCE)]

    def _first(self, start: Place, arrivals: list[tuple[Place, Arrival]]) -> tuple[Place, Arrival]:
        first = arrivals[0]
        for other in arrivals[1:]:
            if other[0].position < first[0].position or (
                other[0].position == first[0].position and self.precedes(other[0], first[0])
            ):
                first = other
        return first

    def precedes(self, one: Place, other: Place) -> bool:
        """Whether one place comes before another, behind the same event."""
        session = self._session
        one, other = session.simplified(one), session.simplified(other)
        if one.ticks != other.ticks or one.trap is None:
            return one.ticks < other.ticks
        session.go(other.root)
        return any(hit.place == one for hit in session.hits([one.trap], other))

    def _next(self, targets: list[Target], until: int) -> Arrival | None:
        by_word = {target.word: target for target in targets}
        traps = [target.trap for target in by_word.values()]
        words = list(by_word)
        again = self._word_here()
        while True:
            hit = self._session.run_to([*traps, again[0]] if again else traps, until)
            if not hit:
                return None
            here, again = again, None
            for index in hit:
                if here and (index == len(traps) or by_word[words[index]].offset == here[1]):
                    continue
                arrival = self._arrival(by_word[words[index]])
                if arrival is not None:
                    return arrival

    def _word_here(self) -> tuple[Trap, int] | None:
        """Where a frame of 3.8 to 3.10 has just noted an instruction, it may be about to read it: its word, and the
        instruction, which is no new arrival."""
        session = self._session
        if not session.midway:
            return None
        thread = Thread(session, session.midway)
        interpreter, top = thread.interpreter(), thread.top()
        if interpreter is None or top is None or thread.lines(top).body:
            return None
        word = Trap(*interpreter.instruction_word(top.address), "write", session.midway)
        hit = session.place.trap
        return (word, top.offset) if hit is not None and hit.address == word.address else None

    def _arrival(self, target: Target) -> Arrival | None:
        """Whether a hit of its word is an arrival; then the session goes on to where the instruction begins."""
        session, task = self._session, self._session.midway
        thread = Thread(session, task)
        interpreter = thread.interpreter()
        top = thread.top()
        if target.kind == "watch":
            return self._changed(target, thread, top)
        if target.kind == "raise":
            fresh = interpreter is not None and top is not None and is_raised(thread)
            return Arrival(target, top, task) if fresh and top is not None else None
        if interpreter is None or top is None or top.code != target.code or top.file != target.file:
            return None
        if target.frame and top.address != target.frame:
            return None
        lines = thread.lines(top)
        begun = top.offset >= lines.body
        word = Trap(*interpreter.instruction_word(top.address), "write", task)
        if top.offset == target.offset and not lines.body:
            # Up to 3.10 the frame may have noted it just before; and nothing is specialised.
            return self._noted(word, Arrival(target, top, task))
        # At its own instruction it is read again because it has specialised itself.
        if top.offset == target.offset or (begun and lines.line(top.offset) == target.line):
            return None
        hit = session.place
        session.run_to([word], session.position)
        frame = thread.top()
        if frame is None or frame.address != top.address:
            return None
        if target.line > 0 and lines.line(frame.offset) != target.line:
            # 3.11 reads all instructions when it quickens them, amid a jump back (_PyCode_Quicken, specialize.c).
            session.go(hit)
            return None
        return Arrival(target, frame, task)

    def _changed(self, target: Target, thread: Thread, top: PythonFrame | None) -> Arrival | None:
        """Whether a pointer has changed with the write at which the session stands, if its frame is there."""
        value = self._session.read(thread.task, target.word, 8)
        before = self._values.get(target.word)
        # Memory that is cleared for a new table is no change of anything.
        changed = before != value and (any(value) or any(before or b""))
        self._values[target.word] = value
        there = not target.frame or any(
            (frame.address, frame.code) == (target.frame, target.code) for frame in thread.frames()
        )
        if not changed or not there or top is None:
            return None
        interpreter = thread.interpreter()
        if not target.frame and interpreter is not None:
            # A dict is in the midst of it: only the next instruction finds it whole.
            word = Trap(*interpreter.instruction_word(top.address), "write", thread.task)
            self._session.run_to([word], self._session.position)
        return Arrival(target, top, thread.task) if self._is_there(target, thread) else None

    @staticmethod
    def _is_there(target: Target, thread: Thread) -> bool:
        """Whether the pointer still is what it was; its memory may have been another one's."""
        interpreter = thread.interpreter()
        variables = interpreter.variables() if interpreter else None
        if target.again is None or variables is None:
            return target.again is None
        try:
            return target.again(variables) == target.word
        except (UnreadableError, RecursionError):
            return False

    def _noted(self, word: Trap, arrival: Arrival) -> Arrival:
        """Goes back to the write of a frame's word that has just been: places are told by it."""
        session = self._session
        here = session.simplified(session.place)
        session.go(here.earlier(1))  # the write may come before the last tick
        hits = [hit.place for hit in session.hits([word], here) if hit.place.position == here.position]
        session.go(hits[-1] if hits else here)
        return arrival

    def backward(self, targets: list[Target], least: int, accept: Callable[[Arrival], bool]) -> Arrival | None:
        """To the last accepted arrival before this place, not before event `least`; None if there is none: the session
        stands at that event."""
        session = self._session
        if not targets:
            session.seek(least)
            return None
        before = session.simplified(session.place)
        present = self._instruction_place(before)
        for start, end in spans(session, before, least):
            for hit, target in self._hits(targets, start, end):
                session.go(hit.place)
                self._values.clear()
                arrival = self._arrival(target)
                if arrival is None:
                    continue
                place = session.simplified(session.place)
                if place != present and accept(arrival):
                    session.go(place)
                    return arrival
            present = None
        session.seek(least)
        return None

    def _hits(self, targets: list[Target], start: Place, before: Place) -> Iterator[tuple[Hit, Target]]:
        """The hits of targets in a span, the last one first."""
        groups = []
        for group in self._groups(targets):
            found = list[tuple[Hit, Target]]()
            for _, hits in hits_of(self._session, [target.trap for target in group], start, before):
                found = [(hit, group[hit.index]) for hit in hits if self._is_news(hit, hits)] + found
            groups.append(found)
        while groups := [group for group in groups if group]:
            last = groups[0]
            for other in groups[1:]:
                one, two = last[-1][0].place, other[-1][0].place
                if two.position > one.position or (two.position == one.position and self.precedes(one, two)):
                    last = other
            yield last.pop()

    @staticmethod
    def _is_news(hit: Hit, hits: list[Hit]) -> bool:
        """Whether a write of a pointer has changed it, as far as the writes before it tell."""
        if hit.place.trap is None or hit.place.trap.kind != "write":
            return True
        before = [other for other in hits[: hits.index(hit)] if other.index == hit.index]
        return not before or before[-1].value != hit.value

    def _instruction_place(self, place: Place) -> Place | None:
        """A place at which a frame begins an instruction, told by that frame's word alone."""
        session = self._session
        if not place.legs:
            return None
        session.go(place)
        task = session.midway
        thread = Thread(session, task)
        interpreter, top = thread.interpreter(), thread.top()
        if interpreter is None or top is None:
            return None
        try:
            trap = Trap(*interpreter.instruction_word(top.address), "write", task)
        except UnreadableError:
            return None
        if place.trap == trap or session.run_to([trap], place.position):
            return session.simplified(session.place)
        return None


def is_raised(thread: Thread) -> bool:
    """Whether a thread stands where an exception leaves its first frame."""
    interpreter = thread.interpreter()
    variables = interpreter.variables() if interpreter else None
    if interpreter is None or variables is None:
        return False
    try:
        return variables.is_fresh(thread.address(interpreter))
    except UnreadableError:
        return False


def find_line(codes: list[Code], line: int, name: str) -> None:
    """Raises PyrrError where no instruction belongs to a line."""
    lines = sorted({one for code in codes for one in CodeLines(code).lines})
    if not codes:
        known = "that of CPython 3.8 to 3.14 is known"
        raise PyrrError(f"no code of {name} is found, in memory here or where the program loads it; {known}")
    if line not in lines:
        near = [*[one for one in lines if one < line][-1:], *[one for one in lines if one > line][:1]]
        have = " and ".join(map(str, near)) + (" have" if len(near) > 1 else " has")
        raise PyrrError(f"line {line} of {name} has no code; {have}")
