"""What the prompt and the editor's server share: a session with breakpoints, and moves that say why they ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ..errors import PyrrError
from ..events import Event
from ..pythonstack import PythonFrame
from ..pythonstack.memory import UnreadableError
from ..trace_format import EventKind
from ..trace_reader import EventFilter
from .breakpoints import Arrival, Codes, Runs, Target, find_line, target_of_function
from .evaluation import EvaluationError, evaluate
from .lines import LineWay, Thread
from .position import Occurrence, Output, Position, parse
from .raises import Raises
from .session import ReplaySession
from .stack import PythonStack, handled_stack, stack_of
from .traps import Place

_LINE = re.compile(r"(?:(.+):)?(\d+)")
_LARGEST_FRAME = 1 << 16
_EVENT = re.compile(r"(syscall|signal):|output:/")


@dataclass
class Breakpoint:
    """A place at which moves stop: in the code, or events that meet a condition."""

    number: int
    text: str
    temporary: bool = False
    condition: str = ""
    ignore: int = 0
    enabled: bool = True
    hits: int = 0
    log: str = ""
    """Printed instead of stopping, with what stands in braces evaluated."""
    commands: list[str] = field(default_factory=list)
    meets: Callable[[Event], bool] | None = None
    among: EventFilter = field(default_factory=EventFilter)
    """Lets the events through that may meet it."""
    targets: list[Target] = field(default_factory=list)

    def __str__(self) -> str:
        words = [self.text, "once" * self.temporary, "off" * (not self.enabled)]
        words += [f"if {self.condition}" * bool(self.condition), f"ignored {self.ignore} times" * bool(self.ignore)]
        return ", ".join(word for word in words if word)


@dataclass(frozen=True)
class Stop:
    """Why a move ended: `line`, `breakpoint`, `end` or `start`."""

    reason: str
    breakpoint: Breakpoint | None = None


class Debugger:
    """A session, the task that is looked at, and breakpoints."""

    def __init__(self, session: ReplaySession) -> None:
        self.session = session
        self.codes = Codes(session)
        self.runs = Runs(session)
        self.breakpoints: list[Breakpoint] = []
        self.task = 0
        self.past: PythonStack | None = None
        """The frames that are looked at, where they are of an exception that is over."""
        self.complaint: Callable[[str], None] = lambda _: None
        """Is told what went wrong in a condition."""
        self.raised = False
        """Whether moves stop at each exception that is raised; or, with `uncaught`, at the one that nobody catches."""
        self.uncaught = False
        self.raises = Raises(session)
        self._uncaught_at: list[Place | None] = []
        self._numbers = 0
        self.look()

    # Where we are

    def look(self, task: int | None = None) -> None:
        """Looks at a task; without one, at that which runs here, or whose event comes next."""
        tasks, event = self.session.tasks, self.session.next_event()
        if task is None or task not in tasks:
            task = self.session.midway or (event.task if event and event.task in tasks else next(iter(tasks), 0))
        self.task = task

    def stack(self) -> PythonStack:
        """The Python stack of the task: live, or of an exception that nobody caught."""
        return stack_of(self.session, self.task) if self.task in self.session.tasks else PythonStack(self.task, ())

    def handled(self, last: bool = True) -> PythonStack | None:
        """The frames of the exception that is being handled; with `last`, or that is kept as the last one."""
        return handled_stack(self.session, self.task, last) if self.task in self.session.tasks else None

    # Breakpoints

    def add(
        self, text: str, condition: str = "", temporary: bool = False, near: PythonStack | None = None, index: int = 0
    ) -> Breakpoint:
        """A breakpoint at `file.py:LINE`, LINE, a function, or events (`syscall:NAME` and so on); lines and names
        without a file are those of frame `index` of a stack. Raises PyrrError."""
        meets, among, targets = None, EventFilter(), list[Target]()
        if _EVENT.match(text):
            meets, among = self._event_condition(text)
        elif match := _LINE.fullmatch(text):
            name = match[1] or (near.frames[index].file if near and near.frames else "")
            if not name:
                raise PyrrError(f"{text!r}: of which file? Give file.py:{text}")
            targets = self.line_targets(name, int(match[2]))
            text = f"{name}:{match[2]}"
        else:
            targets = self.function_targets(text, near, index)
        self._numbers += 1
        one = Breakpoint(self._numbers, text, temporary, condition, meets=meets, among=among, targets=targets)
        self.breakpoints.append(one)
        return one

    def watch(self, text: str, near: PythonStack, index: int) -> Breakpoint:
        """Stops where a variable, attribute or item is set to another object. Raises PyrrError."""
        from . import expression

        here, raised = self.session.place, self.raise_of(near) if near.exception is not None else None
        code = near.frames[index].code if near.frames else 0
        if raised is not None:
            # While they were live, the frames of a traceback lay elsewhere.
            self.session.go(raised)
            near = stack_of(self.session, near.task)
        try:
            if near.frames and (index >= len(near.frames) or near.frames[index].code != code):
                raise PyrrError(f"{text} cannot be watched: its frame is not found where the exception was raised")
            word, again = expression.place(near, index, text)
            frame = near.frames[index]
            local = frame.address <= word < frame.address + _LARGEST_FRAME
            targets = [Target(word, code=frame.code, kind="watch", frame=frame.address if local else 0, again=again)]
            if local and near.variables and text.strip() in near.variables.arguments(frame.address, frame.code):
                # The call has set it, when the frame was not there yet.
                targets.append(self._beginning(near.task, frame))
        finally:
            if raised is not None:
                self.session.go(here)
        self._numbers += 1
        self.breakpoints.append(Breakpoint(self._numbers, f"watch {text}", targets=targets))
        return self.breakpoints[-1]

    def _beginning(self, task: int, frame: PythonFrame) -> Target:
        """Where the function of a frame begins in that frame."""
        interpreter = Thread(self.session, task).interpreter()
        assert interpreter is not None
        return replace(target_of_function(interpreter.reader().code(frame.code)), frame=frame.address)

    def line_targets(self, name: str, line: int) -> list[Target]:
        """Where a line begins. Raises PyrrError where it has no code."""
        codes = self.codes.of(name, self.task, line)
        find_line(codes, line, name)
        return self.codes.targets(codes, line)

    def function_targets(self, text: str, near: PythonStack | None, index: int) -> list[Target]:
        """Where a function begins, given as a frame knows it, or as `file.py:NAME`. Raises PyrrError."""
        name, _, function = text.rpartition(":")
        if not name and near is not None and near.frames:
            code = self._function(text, near, index)
            if code is not None:
                return [code]
            name = near.frames[index].file
        found = (
            [
                code
                for code in self.codes.of(name, self.task)
                if code.name == function or code.name.endswith(f".{function}")
            ]
            if name
            else []
        )
        if not found:
            raise PyrrError(f"{text!r} is no line, no function that is known here, and no kind of event")
        return [target_of_function(code) for code in found]

    def _function(self, text: str, near: PythonStack, index: int) -> Target | None:
        from . import expression

        interpreter = Thread(self.session, self.task).interpreter()
        try:
            value = expression.evaluate(near, index, text)
            code = value.variables.code_of(value.address)
            return target_of_function(interpreter.reader().code(code)) if interpreter and code else None
        except (PyrrError, UnreadableError):
            return None

    def _event_condition(self, text: str) -> tuple[Callable[[Event], bool], EventFilter]:
        place = parse(text)
        if isinstance(place, Occurrence) and place.which == 1:
            return place.matches, place.wanted
        if isinstance(place, Output) and place.which == 1:
            numbers = place.all(self.session.trace)
            return lambda event: event.number in numbers, EventFilter(output=True)
        raise PyrrError(f"{text!r}: stop at syscall:NAME, signal:NAME or output:/regex/; 'seek' goes to a position")

    def find(self, number: int) -> Breakpoint:
        """A breakpoint by its number. Raises PyrrError."""
        for one in self.breakpoints:
            if one.number == number:
                return one
        raise PyrrError(f"there is no breakpoint {number}: 'break' lists them")

    def _accepts(self, one: Breakpoint) -> bool:
        """Whether to stop at a breakpoint that has been come to: pdb's rules."""
        if one.condition:
            stack = self.stack()
            try:
                if evaluate(self.session, stack, 0, f"bool({one.condition})") != "True":
                    return False
            except EvaluationError as error:
                self.complaint(f"the condition of breakpoint {one.number}: {error}")
            except PyrrError as error:
                self.complaint(f"the condition of breakpoint {one.number} cannot be evaluated: {error}")
        one.hits += 1
        if one.ignore:
            one.ignore -= 1
            return False
        if one.log:
            self.complaint(self._logged(one.log))
            return False
        return True

    def _logged(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            try:
                return evaluate(self.session, self.stack(), 0, match[1])
            except PyrrError as error:
                return f"<{error}>"

        return re.sub(r"\{([^{}]+)\}", value, text)

    # Moves

    def seek(self, position: str | int | Position) -> None:
        """Goes to a position."""
        self.session.seek(position)
        self.look()

    def resume(self, backward: bool = False) -> Stop:
        """To the next breakpoint, or to the last one before this place; or to the end, or the start."""
        task, session = self.task, self.session
        events = [one for one in self.breakpoints if one.enabled and one.meets]
        targets = [target for one in self.breakpoints if one.enabled for target in one.targets]
        stopped: list[Breakpoint] = []

        if backward:
            self._to_raise()
        raised = self._raised_targets()
        at = self._uncaught_place() if self.uncaught else None
        exceptions: list[Arrival] = []

        def accept(arrival: Arrival) -> bool:
            self.look(arrival.task)
            if arrival.target.kind == "raise":
                if self.raised or session.simplified(session.place) == at:
                    exceptions.append(arrival)
                return bool(exceptions)
            stopped[:] = self._met(arrival)
            return bool(stopped)

        among = EventFilter()
        for one in events:
            among |= one.among
        while True:
            number = session.find(lambda event: any(o.meets and o.meets(event) for o in events), backward, among)
            limit = number if number is not None else 0 if backward else self._last(task)
            if backward:
                arrival = self.runs.backward([*targets, *raised], limit, accept)
            else:
                arrival = self.runs.forward([*targets, *raised], max(limit, session.position), accept)
            if exceptions:
                return Stop("exception")
            if arrival is None and number is not None:
                event = session.next_event()
                self.look()
                stopped = [one for one in events if event and one.meets and one.meets(event) and self._accepts(one)]
            if stopped:
                return self._stop_at(stopped[0])
            if number is None:
                self.look(task)
                return Stop("start" if backward else "end")

    def _raised_targets(self) -> list[Target]:
        """What stops at exceptions."""
        wanted = self.raised or (self.uncaught and self._uncaught_place() is not None)
        return [Target(self.raises.trap().address, kind="raise")] if wanted else []

    def _uncaught_place(self) -> Place | None:
        """Where the exception was raised that nobody caught."""
        if not self._uncaught_at:
            here, task = self.session.place, self.task
            found = self.raises.uncaught()
            self._uncaught_at.append(self.session.simplified(self.session.place) if found else None)
            self.session.go(here)
            self.look(task)
        return self._uncaught_at[0]

    def raising(self) -> tuple[str, str] | None:
        """The exception whose raising the session stands at: the name of its class, and it as text."""
        hit = self.session.place.trap
        return self.raised_here(self.session.midway) if hit is not None and hit.kind == "execute" else None

    def raised_here(self, task: int) -> tuple[str, str] | None:
        """The exception that a task is raising: the name of its class, and it as text."""
        thread = Thread(self.session, task)
        interpreter = thread.interpreter() if task in self.session.tasks else None
        variables = interpreter.variables() if interpreter else None
        with suppress(UnreadableError):
            if interpreter is not None and variables is not None:
                return variables.raised(thread.address(interpreter))
        return None

    def module_files(self, task: int) -> list[str]:
        """The files of the modules that are imported in the process of a task."""
        interpreter = Thread(self.session, task).interpreter()
        found = []
        with suppress(UnreadableError):
            for module in interpreter.modules().values() if interpreter else ():
                file = module.attribute("__file__")
                name = file.decoded() if file is not None else None
                if isinstance(name, str) and name.endswith(".py"):
                    found.append(name)
        return found

    def to_line(self, name: str, line: int, backward: bool) -> Stop:
        """To where a line is come to next, or was last."""
        targets = self.line_targets(name, line)
        if backward:
            arrival = self.runs.backward(targets, 0, lambda _: True)
        else:
            arrival = self.runs.forward(targets, self._last(self.task))
        self.look(arrival.task if arrival else None)
        return Stop("line" if arrival else "start" if backward else "end")

    def _stop_at(self, one: Breakpoint) -> Stop:
        self.look()
        if one.temporary and one in self.breakpoints:
            self.breakpoints.remove(one)
        return Stop("breakpoint", one)

    def _last(self, task: int) -> int:
        """The exit of a task: behind it there is nothing to look at."""
        trace = self.session.trace
        end = self.session.process_of(task) if task in self.session.tasks else task
        exits = trace.select(EventFilter((EventKind.EXIT,)), self.session.position + 1, backward=True)
        return next((event.number for event in exits if event.task == end), trace.count)

    def _along(self, move: Callable[[LineWay, int], bool], backward: bool, index: int = 0) -> Stop:
        task, start = self.task, self.session.place
        thread = Thread(self.session, task)
        # The line that raised is where a person is already.
        raising = backward and (self._to_raise() or self.raising() is not None)
        raised = [(frame.address, frame.line) for frame in thread.frames()[index : index + 1]] if raising else []
        way = LineWay(self.session, task)
        found = move(way, index)
        if found and [(frame.address, frame.line) for frame in thread.frames()[:1]] == raised:
            found = move(way, 0)
        if not backward and (stop := self._on_the_way(start)):
            return stop
        if found:
            self.look(task)
            return Stop("line")
        if backward:
            self.session.go(start)
            self.look(task)
            return Stop("start")
        last = self._last(task)
        if self.session.position >= self.session.trace.count and last < self.session.trace.count:
            self.session.seek(last)
        self.look(task)
        return Stop("end")

    def _on_the_way(self, start: Place) -> Stop | None:
        """A breakpoint between a place and this one, at which the move is to end: it is gone to."""
        session = self.session
        targets = [target for one in self.breakpoints if one.enabled for target in one.targets]
        if not targets:
            return None
        end = session.simplified(session.place)
        stopped: list[Breakpoint] = []

        def accept(arrival: Arrival) -> bool:
            here = session.simplified(session.place)
            if here.position < end.position or here == end or (end.legs and self.runs.precedes(here, end)):
                session.go(here)
                self.look(arrival.task)
                stopped.extend(self._met(arrival))
                return bool(stopped)
            return True

        session.go(start)
        self.runs.forward(targets, end.position, accept)
        if stopped:
            return self._stop_at(stopped[0])
        session.go(end)
        return None

    def _met(self, arrival: Arrival) -> list[Breakpoint]:
        return [o for o in self.breakpoints if o.enabled and arrival.target in o.targets and self._accepts(o)]

    def _to_raise(self) -> bool:
        """From an exception that is over, back to where it was raised; False where there is none."""
        place = self.raise_of(self.past) if self.past is not None else None
        if place is not None:
            self.session.go(place)
        return place is not None

    def raise_of(self, stack: PythonStack) -> Place | None:
        """Where the innermost frame of a traceback last began the instruction that raised: before this place."""
        if not stack.frames:
            return None
        here = self.session.place
        frame = stack.frames[0]
        interpreter = Thread(self.session, stack.task).interpreter()
        if interpreter is None:
            return None
        code = interpreter.reader().code(frame.code)
        target = Target(code.words + frame.offset, frame.offset, -1, frame.code, frame.file)
        arrival = self.runs.backward([target], 0, lambda _: True)
        place = self.session.place if arrival else None
        self.session.go(here)
        return place

    def step(self, backward: bool = False) -> Stop:
        """To another line, of any function of the task."""
        return self._along(lambda way, _: way.rstep() if backward else way.step(), backward)

    def next(self, index: int = 0, backward: bool = False) -> Stop:
        """To another line of frame `index`, or of its caller."""
        return self._along(lambda way, at: way.rnext(at) if backward else way.next(at), backward, index)

    def until(self, index: int = 0, line: int | None = None, backward: bool = False) -> Stop:
        """To a later line of frame `index` (backward: to an earlier one), or out of it."""
        return self._along(lambda way, at: way.runtil(at, line) if backward else way.until(at, line), backward, index)

    def leave(self, index: int = 0, backward: bool = False) -> Stop:
        """To where frame `index` has returned; backward: to the line that called it."""
        return self._along(lambda way, at: way.rleave(at) if backward else way.leave(at), backward, index)
