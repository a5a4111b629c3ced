"""The hunt: runs under chaos until one fails, fewer decisions that still fail, the two lines whose order decides."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ..errors import PyrrError
from ..events import SpawnEvent
from ..pythonstack.linetable import NO_LINE
from ..replayer.place import interpreter_of, python_thread
from ..replayer.session import ReplaySession
from ..replayer.stack import stack_of
from ..trace_reader import TraceReader
from .course import Stop, stops
from .minimise import AT_CALL, AT_SLEEP, farthest, fewest, latest_place
from .runs import Outcome, Recorder, Run

if TYPE_CHECKING:
    from ..recorder.session import Decided, Schedule

_LOOKED_AT = 3
"""Switches of the smallest recording for which the lines are looked for, from the last one on."""
_NEAR, _SINGLES = 8, 40
"""How far from the switches of a list, and how often, a single one is tried instead of them."""
_TRIES = 3
"""Recordings of the whole list, before it is said not to lead to the failure again."""


@dataclass(frozen=True)
class Frame:
    """A line of Python that a task is in."""

    file: str
    line: int
    function: str

    @property
    def text(self) -> str:
        """The source, if it can still be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def is_own(self) -> bool:
        """Of the program, as far as the path tells, and not of the standard library."""
        return not self.file.startswith("<") and "/lib/python3" not in self.file


@dataclass(frozen=True)
class Place:
    """Where a task stands: what it does next."""

    task: int
    frames: tuple[Frame, ...]
    """Innermost first; see lines_of."""

    @property
    def line(self) -> Frame | None:
        """The innermost line of the program itself."""
        return next((frame for frame in self.frames if frame.is_own), self.frames[0] if self.frames else None)


@dataclass(frozen=True)
class Order:
    """The program fails where `early` is before `late`, and does not where it is behind it."""

    early: Place
    late: Place

    @property
    def is_plain(self) -> bool:
        """Both lie in lines of the program."""
        return all(place.line is not None and place.line.is_own for place in (self.early, self.late))


@dataclass
class Found:
    """A failure, and what is known of its cause."""

    first: Run
    """As it was found."""
    smallest: Run | None = None
    """With the fewest decisions; None where they did not lead to the failure again."""
    order: Order | None = None

    @property
    def switches(self) -> int:
        """Of the smallest recording: how often a task was left though it could have gone on."""
        return len(self.smallest.decided) if self.smallest else 0


Item = TypeVar("Item")
Tell = Callable[[str], None]


def first_failure(recorder: Recorder, wanted: Callable[[Outcome], bool], seeds: range, tell: Tell) -> Run | None:
    """Records under one seed after the other until `wanted` is true of how the program ended."""
    for number, seed in enumerate(seeds, 1):
        tell(f"run {number} of {len(seeds)}, seed {seed}")
        run = recorder.record(seed=seed)
        if wanted(run.outcome):
            return run
        run.remove()
    return None


class Minimiser:
    """Finds the smallest recording that fails as one that was found."""

    def __init__(self, recorder: Recorder, found: Run, tell: Tell) -> None:
        self._recorder = recorder
        self._found = found
        self._tell = tell
        self._known: dict[tuple[tuple[int, int, int], ...], bool] = {}
        self.smallest: Run | None = None
        self._schedule: Schedule = []  # of the smallest one
        self._reducing = True

    def _record(self, schedule: Schedule) -> Run | None:
        """One more recording; None if it could not be made."""
        try:
            return self._recorder.record(schedule=schedule)
        except PyrrError:
            return None

    def _is_like(self, run: Run | None) -> bool:
        return run is not None and run.outcome == self._found.outcome

    def _fails(self, schedule: Schedule) -> bool:
        """Whether the program fails under this list. The smallest one that does is kept."""
        key = tuple(schedule)
        if key not in self._known:
            self._tell(f"{len(schedule)} of {len(self._found.decided)} decisions")
            run = self._record(schedule)
            self._known[key] = self._is_like(run)
            if (
                run
                and self._known[key]
                and self._reducing
                and (not self.smallest or len(schedule) < len(self._schedule))
            ):
                if self.smallest:
                    self.smallest.remove()
                self.smallest, self._schedule = replace(run, decided=_those_of(run, schedule)), schedule
            elif run:
                run.remove()
        return self._known[key]

    def reduce(self) -> Run | None:
        """The recording with the fewest decisions; None if the failure does not come again."""
        whole = self._found.schedule
        for _ in range(_TRIES):
            if again := self._fails(whole):
                break
            self._known.clear()
        schedule = fewest(whole, self._fails) if again else self._single(whole)
        if schedule is None:
            return None
        while len(schedule) > 1 and (shorter := self._single(schedule) or self._shortened(schedule)):
            schedule = shorter
        self._reducing = False
        return self.smallest

    def _single(self, schedule: Schedule) -> Schedule | None:
        """One switch that does it alone, somewhere near those that do it together."""
        near = [
            (distance, (task, ((course >> 32) + step) << 32 | AT_CALL, then))
            for task, course, then in schedule
            for distance in range(_NEAR)
            for step in {distance, -distance}
            if (course >> 32) + step >= 0
        ]
        tried = list(dict.fromkeys(decision for _, decision in sorted(near)))[:_SINGLES]
        return next(([decision] for decision in tried if self._fails([decision])), None)

    def _shortened(self, schedule: Schedule) -> Schedule | None:
        """A shorter list: where a task is left later, others may not be needed."""
        for at in range(len(schedule)):
            if not _preempts(schedule[at]):
                continue
            course = self._latest(schedule, at)
            shorter = fewest(_moved(schedule, at, course), self._fails)
            if len(shorter) < len(schedule):
                return shorter
        return None

    def _latest(self, schedule: Schedule, at: int) -> int:
        """The latest place where one of the tasks of a list can be left."""
        return latest_place(schedule[at][1], lambda course: self._fails(_moved(schedule, at, course)))

    def order(self) -> Order | None:
        """The two places whose order decides; None where no switch does."""
        if self.smallest is None:
            return None
        decisive = [decided for decided in self.smallest.decided if decided.preempts] or self.smallest.decided
        orders = (self._order_at(decided) for decided in decisive[: -_LOOKED_AT - 1 : -1])
        found = [order for order in _up_to(orders, lambda order: bool(order and order.is_plain)) if order]
        return found[-1] if found and found[-1].is_plain else found[0] if found else None

    def _order_at(self, decided: Decided) -> Order | None:
        assert self.smallest is not None
        late = self._late(decided) or _place(self.smallest, decided, decided.from_task)
        early = self._early(decided) or _place(self.smallest, decided, decided.to_task)
        return Order(early, late) if early and late else None

    def _late(self, decided: Decided) -> Place | None:
        if not decided.preempts:
            return None
        at = self._schedule.index(decided.asked)
        course = self._latest(self._schedule, at)
        return self._place_in(_moved(self._schedule, at, course), decided.task, course)

    def _early(self, decided: Decided) -> Place | None:
        """What another task did last of all that must be done before the one that was left goes on: back there any
        earlier, the program does not fail."""
        assert self.smallest is not None
        between = _between(self.smallest, decided) if decided.preempts else []
        places = {(task, course) for task, course, _ in self._schedule}

        def fails(from_end: int) -> bool:
            stop = between[len(between) - from_end]
            if (stop.number, stop.course) in places:
                # There it stood already: the one that was left would not have been left.
                return False
            return self._fails([*self._schedule, (stop.number, stop.course, decided.task)])

        first = len(between) - farthest(0, fails, len(between))
        if first < len(between):
            number, calls = between[first].number, between[first].course >> 32
        elif between:
            number, calls = between[-1].number, (between[-1].course >> 32) + 1
        else:
            number, calls = decided.next, decided.next_at >> 32
        begun = decided.next_at & AT_CALL if (number, calls) == (decided.next, decided.next_at >> 32) else 0
        if place := self._tick_before(number, calls, begun, decided.task):
            return place
        return _place_at(self.smallest, between[first - 1].event, between[first - 1].task) if first else None

    def _tick_before(self, number: int, calls: int, begun: int, then: int) -> Place | None:
        """Where a task stands at the last of the ticks behind a call of its own, and behind `begun` of them, at which
        `then` must not go on for the program to fail."""

        def left_at(tick: int) -> Schedule:
            return [*self._schedule, (number, calls << 32 | tick, then)]

        start = begun + 1
        if start >= AT_SLEEP or self._fails(left_at(start)):
            return None
        tick = farthest(start, lambda tick: not self._fails(left_at(tick)), AT_SLEEP >> 4)
        return self._place_in(left_at(tick), number, calls << 32 | tick)

    def _place_in(self, schedule: Schedule, task: int, course: int) -> Place | None:
        """Where a task stands when it is left there, in a recording made for that."""
        run = self._record(schedule)
        if run is None:
            return None
        try:
            decided = next((d for d in run.decided if (d.task, d.course) == (task, course)), None)
            return _place(run, decided, decided.from_task) if decided else None
        finally:
            run.remove()


def _those_of(run: Run, schedule: Schedule) -> list[Decided]:
    """The decisions of a run that its list has asked for, without those that were made for want of time."""
    asked = set(schedule)
    return [d for d in run.decided if d.asked in asked]


def _preempts(decision: tuple[int, int, int]) -> bool:
    return decision[1] & AT_CALL < AT_SLEEP or decision[1] & AT_CALL == AT_CALL


def _moved(schedule: Schedule, at: int, course: int) -> Schedule:
    """The list with one of its places changed."""
    task, _, then = schedule[at]
    return [*schedule[:at], (task, course, then), *schedule[at + 1 :]]


def _up_to(items: Iterable[Item], last: Callable[[Item], bool]) -> Iterator[Item]:
    for item in items:
        yield item
        if last(item):
            return


def _between(run: Run, decided: Decided) -> list[Stop]:
    """The calls that others came to, from a decision on until the task that was left made one of its own. (It may go on
    before that, only to hand over the interpreter's lock.)"""
    with TraceReader(run.path) as trace:
        behind = itertools.dropwhile(lambda stop: stop.event < decided.event, stops(trace))
        return list(itertools.takewhile(lambda stop: stop.task != decided.from_task, behind))


def _place(run: Run, decided: Decided, task: int) -> Place | None:
    """Where a task stands at a decision."""
    return _place_at(run, decided.event, task)


def _place_at(run: Run, event: int, task: int) -> Place | None:
    """Where a task stands before an event."""
    try:
        with TraceReader(run.path) as trace, ReplaySession(trace) as session:
            return Place(task, tuple(lines_of(trace, session, event, task)))
    except PyrrError:
        return None


def lines_of(trace: TraceReader, session: ReplaySession, event: int, task: int) -> list[Frame]:
    """The lines that a task is in before an event. Behind them, where none is the program's own, as in a worker of a
    pool, those of the task that started it, then. Raises PyrrError."""
    session.seek(event)
    frames = stack_of(session, task).frames
    begun = _about_to_begin(session, task, frames[0].address if frames else 0)
    lines = [*begun, *(Frame(f.file, f.line, f.function) for f in frames)]
    if any(line.is_own for line in lines):
        return lines
    starts = [e for e in trace.events(0, event) if isinstance(e, SpawnEvent) and e.task == task]
    return lines + (lines_of(trace, session, starts[-1].number, starts[-1].parent) if starts else [])


def _about_to_begin(session: ReplaySession, task: int, innermost: int) -> list[Frame]:
    """A frame that has been made and not begun, on the first line of its body: a tick comes before it begins."""
    interpreter, thread = interpreter_of(session, task), python_thread(session, task)
    if interpreter is None or thread is None:
        return []
    reader = interpreter.reader()
    frame = reader.top(thread.address)
    if frame is None or frame.address == innermost:
        return []
    lines = (line for _, _, line in reader.code(frame.code).spans() if line not in (NO_LINE, frame.first_line))
    return [Frame(frame.file, next(lines, frame.first_line), frame.function)]
