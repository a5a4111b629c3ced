"""Positions as a user writes them: `1200`, `1200:35`, `-1`, `50%`, `+1.5s`, `exit`, `output:/regex/`, `syscall:read#2`,
`file.py:12`, `exception`.

`parse` reads the form, so that a slip is found before anything is opened; `Position.resolve` finds the event in a
trace. All but `output` need the events alone; `output` replays the trace, since long writes are in nobody's event.
"""

from __future__ import annotations

import difflib
import os
import re
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from ..errors import PyrrError
from ..events import Event, ExecEvent, ExitEvent, SignalEvent, StoppedEvent, SyscallEvent
from ..syscalls import BY_NAME
from ..syscalls import name as call_name
from ..trace_format import EventKind
from ..trace_reader import EventFilter, TraceReader
from .description import signal_name
from .traps import Place, Ticks

if TYPE_CHECKING:
    from .session import ReplaySession

FORMS = (
    "give the number of an event, EVENT:TICKS, -K (from the end), start, end, exit, 50%, +12.5s, "
    "output:/regex/, syscall:NAME, signal:NAME or file.py:LINE, the last four with #K for the K-th; exception or "
    "exception:K"
)
_LONGEST_NUMBER = 18  # digits: what fits into 64 bits
_SIGNAL_BITS = 0x7F
_UNNAMED = {"syscall": r"syscall_0x[0-9a-f]+", "signal": r"SIG\d+"}


class Position(Protocol):
    """A place in any trace."""

    def resolve(self, trace: TraceReader) -> int:
        """The event before which it is. Raises PyrrError where this trace has no such place."""
        ...


def parse(text: str) -> Position:
    """What a user wrote. Raises PyrrError when it is no position."""
    if re.search(rf"\d{{{_LONGEST_NUMBER + 1}}}", text) and not text.startswith("output:"):
        raise PyrrError(f"{text[:40]}...: no position has a number of more than {_LONGEST_NUMBER} digits")
    if re.fullmatch(r"-?\d+", text):
        return Number(int(text))
    if match := re.fullmatch(r"(\d+):(\d+)", text):
        return Tick(int(match[1]), int(match[2]))
    if text in ("start", "end", "exit"):
        return Named(text)
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        return Share(float(match[1]))
    if match := re.fullmatch(r"\+(\d+(?:\.\d+)?)s", text):
        return Time(round(float(match[1]) * 1e6))
    if match := re.fullmatch(r"output:/(.+)/(?:#(-?\d+))?", text, re.DOTALL):
        return Output(_pattern(match[1]), _which(text, match[2]))
    if match := re.fullmatch(r"(syscall|signal):(\w+)(?:#(-?\d+))?", text):
        check_name(match[1], match[2])
        return Occurrence(match[1], match[2], _which(text, match[3]))
    if match := re.fullmatch(r"(.+\.py):(\d+)(?:#(-?\d+))?", text):
        return Line(match[1], int(match[2]), _which(text, match[3]))
    if match := re.fullmatch(r"exception(?::(-?\d+))?", text):
        return Raise(_which(text, match[1]) if match[1] else None)
    raise PyrrError(f"{text!r} is no position: {FORMS}")


def check_name(kind: str, name: str) -> None:
    """Raises PyrrError where no `syscall` or `signal`, as `kind` says, has this name."""
    known = set(BY_NAME) if kind == "syscall" else {one.name for one in signal.Signals}
    if name not in known and not re.fullmatch(_UNNAMED[kind], name):
        close = difflib.get_close_matches(name, known, 1)
        raise PyrrError(f"there is no {kind} {name}" + (f": did you mean {close[0]}?" if close else ""))


def _which(text: str, number: str | None) -> int:
    if number is not None and len(number) > _LONGEST_NUMBER:
        raise PyrrError(f"{text[:40]}...: no position has a number of more than {_LONGEST_NUMBER} digits")
    which = 1 if number is None else int(number)
    if not which:
        raise PyrrError(f"{text!r}: occurrences are counted from #1, or from the last one: #-1")
    return which


def _pattern(text: str) -> re.Pattern[bytes]:
    try:
        return re.compile(os.fsencode(text), re.MULTILINE)
    except re.error as error:
        raise PyrrError(f"{text!r} is no regular expression: {error}") from None


@dataclass(frozen=True)
class Number:
    """An event by its number; a negative one counts from the end."""

    number: int

    def resolve(self, trace: TraceReader) -> int:
        position = self.number if self.number >= 0 else trace.count + self.number
        if not 0 <= position <= trace.count:
            raise PyrrError(f"{self.number} is outside of the trace, which has {trace.count} events")
        return position


class Between:
    """A position that may be between two events: only a session can find it, and go to it."""

    def go(self, session: ReplaySession) -> None:
        """Goes there. Raises PyrrError where the trace has no such place."""
        raise NotImplementedError

    def resolve(self, trace: TraceReader) -> int:
        """The first event behind it."""
        from .session import ReplaySession

        with ReplaySession(trace) as session:
            self.go(session)
            return session.position


@dataclass(frozen=True)
class Tick(Between):
    """Between two events: where event `number` has taken effect, and its task has run for `ticks` ticks of the bytecode
    clock."""

    number: int
    ticks: int

    def resolve(self, trace: TraceReader) -> int:
        """The event that has not taken effect yet."""
        if self.number >= trace.count:
            raise PyrrError(f"{self.number} is outside of the trace, which has {trace.count} events")
        return self.number + 1

    def go(self, session: ReplaySession) -> None:
        """Goes there."""
        session.go(self.place(session.trace))

    def place(self, trace: TraceReader) -> Place:
        """As a session goes there."""
        return Place(self.resolve(trace), (Ticks(self.ticks),))


@dataclass(frozen=True)
class Named:
    """`start`: before the first event; `end`: behind the last one; `exit`: the end of the first process, which is
    still there."""

    name: str

    def resolve(self, trace: TraceReader) -> int:
        if self.name == "start":
            return 0
        if self.name == "end":
            return trace.count
        first = next((event.task for event in trace.select(EventFilter((EventKind.EXEC,)))), 0)
        for event in trace.select(EventFilter((EventKind.EXIT,)), backward=True):
            if event.task == first:
                return event.number
        raise PyrrError(f"{trace.path} does not hold the exit of its first process: give another position")


@dataclass(frozen=True)
class Share:
    """A part of the events."""

    percent: float

    def resolve(self, trace: TraceReader) -> int:
        if self.percent > 100:
            raise PyrrError(f"{self.percent:g}% is outside of the trace")
        return int(trace.count * self.percent / 100)


@dataclass(frozen=True)
class Time:
    """The first event that was recorded this many microseconds after the start, or later."""

    microseconds: int

    def resolve(self, trace: TraceReader) -> int:
        last = trace.event(trace.count - 1).time
        if self.microseconds > last:
            raise PyrrError(f"+{self.microseconds / 1e6:.6f}s is outside of the trace, which lasts {last / 1e6:.6f} s")
        return trace.at_time(self.microseconds)


@dataclass(frozen=True)
class Occurrence:
    """A system call or a signal by its name, `which` of them: from 1, or from the last, -1."""

    kind: str
    name: str
    which: int = 1

    def matches(self, event: Event) -> bool:
        """Whether the event is one. A signal is one where it stopped, ended or interrupted a task."""
        if self.kind == "syscall":
            return syscall_of(event) == self.name
        return signal_of(event) == self.name

    @property
    def wanted(self) -> EventFilter:
        """Lets these events through, and perhaps others of their kind."""
        if self.kind == "signal":
            return EventFilter((EventKind.SIGNAL, EventKind.STOPPED, EventKind.EXIT))
        row = BY_NAME.get(self.name)
        return EventFilter((EventKind.EXEC,), (row.number if row else int(self.name.rpartition("_")[2], 16),))

    def resolve(self, trace: TraceReader) -> int:
        events = trace.select(self.wanted, backward=self.which < 0)
        return _pick((e.number for e in events if self.matches(e)), self.which, f"{self.kind} {self.name}")


@dataclass(frozen=True)
class Output:
    """The write with which a line of stdout or stderr came to match a regular expression."""

    pattern: re.Pattern[bytes]
    which: int = 1

    def resolve(self, trace: TraceReader) -> int:
        from .output import writes

        text = os.fsdecode(self.pattern.pattern)
        numbers = self.numbers(writes(trace)) if self.which > 0 else self._last_numbers(trace)
        return _pick(numbers, self.which, f"output that matches /{text}/")

    def all(self, trace: TraceReader) -> frozenset[int]:
        """All such writes."""
        from .output import writes

        return frozenset(self.numbers(writes(trace)))

    def _last_numbers(self, trace: TraceReader) -> Iterator[int]:
        """The same numbers, the last one first, without what was written long before it."""
        from .output import last_writes

        known: list[int] = []
        for written in last_writes(trace):
            found = list(self.numbers(written))[::-1]
            yield from found[len(known) :]
            known = found

    def numbers(self, writes: Iterable[tuple[SyscallEvent, bytes]]) -> Iterator[int]:
        """The numbers of the writes that complete a match, one for each match."""
        lines = {1: b"", 2: b""}
        for event, data in writes:
            before = lines[event.stream]
            text = before + data
            for match in self.pattern.finditer(text):
                if match.end() > len(before):
                    yield event.number
            lines[event.stream] = text[text.rfind(b"\n") + 1 :]


@dataclass(frozen=True)
class Line(Between):
    """Where a line of a file begins, `which` time of all."""

    file: str
    line: int
    which: int = 1

    def go(self, session: ReplaySession) -> None:
        """Goes there."""
        from .debugger import Debugger

        debugger, count = Debugger(session), session.trace.count
        targets = debugger.line_targets(self.file, self.line)
        session.seek(0 if self.which > 0 else count)
        for found in range(abs(self.which)):
            runs = debugger.runs
            arrival = runs.forward(targets, count) if self.which > 0 else runs.backward(targets, 0, lambda _: True)
            if arrival is None:
                raise PyrrError(f"line {self.line} of {self.file} is come to {found} times")


@dataclass(frozen=True)
class Raise(Between):
    """Where an exception is raised, `which` of all; without a number, that which nobody caught, or the last one."""

    which: int | None = None

    def go(self, session: ReplaySession) -> None:
        """Goes there."""
        from .raises import Raises

        raises, count = Raises(session), session.trace.count
        if self.which is None and raises.uncaught():
            return
        which = self.which or -1
        session.seek(0 if which > 0 else count)
        for found in range(abs(which)):
            if not (raises.forward(count) if which > 0 else raises.backward(0)):
                raise PyrrError(f"{found} exceptions are raised in the trace")


def syscall_of(event: Event) -> str | None:
    """The name of the system call that an event is."""
    if isinstance(event, ExecEvent):
        return "execve"
    return call_name(event.nr) if isinstance(event, SyscallEvent) else None


def signal_of(event: Event) -> str | None:
    """The name of the signal that an event shows: its handler is entered, or it stops or ends the task."""
    if isinstance(event, (SignalEvent, StoppedEvent)):
        return signal_name(event.signal)
    if isinstance(event, ExitEvent) and event.status & _SIGNAL_BITS:
        return signal_name(event.status & _SIGNAL_BITS)
    return None


def _pick(numbers: Iterator[int], which: int, what: str) -> int:
    """The `which`-th of numbers, which come in the order in which they are counted."""
    found = list(islice(numbers, abs(which)))
    if len(found) == abs(which):
        return found[-1]
    if which > 0:
        raise PyrrError(f"the trace has no {what}" + (f" number {which}" if which > 1 else ""))
    raise PyrrError(f"the trace has {len(found)} times {what}" if found else f"the trace has no {what}")
