"""The prompt of `pyrr debug`: pdb's commands, and their reverse.

Every move ends at an event. `COMMANDS` is the only list of commands: help, completion and dispatch come from it.
"""

from __future__ import annotations

import linecache
import pprint
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from ..errors import PyrrError
from ..events import Event
from ..pythonstack import Value
from ..pythonstack.memory import UnreadableError
from . import expression
from .description import describe_event
from .evaluation import EvaluationError, evaluate
from .place import native_location, python_thread
from .position import Occurrence, Output, parse
from .session import ReplaySession
from .stack import PythonStack, Way, handled_stack, stack_of

_AROUND = 5  # lines of source before and behind the current one
_EVENTS = 5


@dataclass
class Breakpoint:
    """A place where `continue` stops: events that meet a condition."""

    number: int
    text: str
    meets: Callable[[Event], bool]
    temporary: bool


@dataclass(frozen=True)
class Command:
    """One command of the prompt: its names, how it is called, what it does, and its method."""

    names: tuple[str, ...]
    usage: str
    help: str
    method: str


def _command(names: str, usage: str, text: str, method: str = "") -> Command:
    every = tuple(names.split())
    return Command(every, usage, text, method or f"do_{every[0]}")


COMMANDS = (
    _command("where w bt", "", "the Python stack, the frame that is looked at marked with >"),
    _command("up u", "[N]", "look at the caller"),
    _command("down d", "[N]", "look at the called frame"),
    _command("list l", "[LINE]", "source around the current line, or around LINE"),
    _command("args a", "", "the arguments of the frame"),
    _command("locals", "", "the local variables of the frame"),
    _command("p", "EXPRESSION", "its value; it is evaluated in a clone: nothing of the replay changes", "do_print"),
    _command("pp", "EXPRESSION", "the same, on several lines", "do_pretty_print"),
    _command("whatis", "EXPRESSION", "the type of its value"),
    _command("!", "STATEMENT", "carried out in a clone: what it changes is gone with it", "do_run"),
    _command("exception", "", "look at the frames of the exception that is being handled, or that nobody caught"),
    _command("source", "", "the file and function of the frame"),
    _command("when", "", "the position, its event, and where the machine code stands"),
    _command("events", "[N]", "the events around this position"),
    _command("threads", "", "the tasks"),
    _command("thread", "N", "look at task N"),
    _command(
        "seek", "POSITION", "go to a position: 1200, -1, exit, 50%, +1.5s, output:/regex/, syscall:NAME#K, signal:NAME"
    ),
    _command("event e", "[N]", "one event forward, or N"),
    _command("revent re", "[N]", "one event back, or N"),
    _command("step s", "", "forward to an event at another line, of any function of this thread"),
    _command("rstep rs", "", "back to an event at another line, of any function of this thread"),
    _command("next n", "", "forward to an event at another line of this frame, or out of it"),
    _command("rnext rn", "", "back to an event at another line of this frame, or out of it"),
    _command("until unt", "[LINE]", "forward to an event at a later line of this frame, or out of it"),
    _command("runtil runt", "[LINE]", "back to an event at an earlier line of this frame, or out of it"),
    _command("return r", "", "forward to an event at which this frame has returned", "do_return"),
    _command("rreturn rr", "", "back to the last event before this frame was called"),
    _command("continue c cont", "", "forward to a breakpoint, or to the end", "do_continue"),
    _command("rcontinue rc", "", "back to a breakpoint, or to the start"),
    _command(
        "break b", "[syscall:NAME | signal:NAME | output:/regex/]", "stop there; without a place, list all", "do_break"
    ),
    _command("tbreak", "syscall:NAME | signal:NAME | output:/regex/", "stop there once"),
    _command("clear cl", "[N]", "remove breakpoint N, or all"),
    _command("help h", "[COMMAND]", "this list"),
    _command("quit q exit", "", "leave"),
)
_BY_NAME = {name: command for command in COMMANDS for name in command.names}


class Quit(Exception):
    """The user has had enough."""


@dataclass
class Prompt:
    """One debugging session: `run` carries out commands, `execute` one of them."""

    session: ReplaySession
    out: TextIO
    stack: PythonStack = field(init=False)
    index: int = 0
    """The frame that is looked at: 0 is the innermost."""
    breakpoints: list[Breakpoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last = ""
        self._numbers = 0
        self.look()

    # The user's side

    def greet(self, where: str) -> None:
        """Says what was opened, where, and how to go on."""
        command = " ".join(map(str, self.session.trace.header["command"]))
        self.say(f"{self.session.trace.path}: {command}, {self.session.trace.count} events. 'help' lists the commands.")
        self.say(f"at {where}:")
        if self.stack.exception is None and (handled := handled_stack(self.session, self.stack.task)):
            self._take(handled)
        self.show()

    def run(self, lines: Iterator[str]) -> None:
        """Carries out commands until there are no more."""
        for line in lines:
            try:
                self.execute(line)
            except Quit:
                return

    def execute(self, line: str) -> None:
        """Carries out one command; an empty line repeats the last one. Raises Quit."""
        line = line.strip() or self._last
        self._last = line
        if not line:
            return
        name, _, rest = ("!", "", line[1:]) if line.startswith("!") else line.partition(" ")
        command = _BY_NAME.get(name)
        try:
            if command is None:
                self._no_command(line, name)
            else:
                getattr(self, command.method)(rest.strip())
        except PyrrError as error:
            self.say(f"*** {error}")
        except KeyboardInterrupt:
            self.look()
            self.say(f"*** interrupted at event {self.session.position}")

    def say(self, text: str) -> None:
        """Prints a line. What the terminal cannot show is escaped."""
        print(text.encode("utf-8", "backslashreplace").decode(), file=self.out, flush=True)

    def words(self) -> list[str]:
        """What a command line may begin with, for completion."""
        return [*_BY_NAME, *self.stack.locals(self.index)]

    def _no_command(self, line: str, name: str) -> None:
        """As in pdb: what is no command is Python."""
        if name.isidentifier() and self.stack.lookup(self.index, name) is None:
            raise PyrrError(f"there is no command and no variable {name!r}: 'help' lists the commands")
        self.do_run(line)

    # Where we are

    def look(self, task: int | None = None) -> None:
        """Takes the stack of this position: of a task, or of the one whose event comes next."""
        event = self.session.next_event()
        tasks = self.session.tasks
        if task is None or task not in tasks:
            task = event.task if event and event.task in tasks else next(iter(tasks), 0)
        self._take(stack_of(self.session, task) if task in tasks else PythonStack(task, ()))

    def _take(self, stack: PythonStack) -> None:
        self.stack, self.index = stack, 0

    def show(self) -> None:
        """Where we are, in two or three lines."""
        event = self.session.next_event()
        text = describe_event(event) if event else "behind the last event"
        self.say(f"event {self.session.position}, task {self.stack.task}: {text}")
        if self.stack.exception is not None:
            self.say(f"  the exception {self.stack.exception}, and the frames as it left them:")
        if self.stack.frames:
            self._show_frame(self.index, ">")
        else:
            self.say("  no Python frame")

    def _show_frame(self, index: int, mark: str) -> None:
        frame = self.stack.frames[index]
        self.say(f"{mark} {frame.file}({frame.line}){frame.function}()")
        source = linecache.getline(frame.file, frame.line).strip()
        if source:
            self.say(f"-> {source}")

    def _number(self, text: str, default: int) -> int:
        if not text:
            return default
        if not re.fullmatch(r"\d{1,15}", text):
            raise PyrrError(f"{text!r} is no number")
        return int(text)

    # Looking

    def do_where(self, _: str) -> None:
        if not self.stack.frames:
            self.say("no Python frame")
        for index in reversed(range(len(self.stack.frames))):
            self._show_frame(index, ">" if index == self.index else " ")

    def do_up(self, text: str) -> None:
        self._select(self.index + self._number(text, 1))

    def do_down(self, text: str) -> None:
        self._select(self.index - self._number(text, 1))

    def _select(self, index: int) -> None:
        if not self.stack.frames:
            raise PyrrError("no Python frame")
        if not 0 <= self.index + (index > self.index) - (index < self.index) < len(self.stack.frames):
            raise PyrrError("oldest frame" if index > self.index else "newest frame")
        self.index = min(max(index, 0), len(self.stack.frames) - 1)
        self._show_frame(self.index, ">")

    def do_list(self, text: str) -> None:
        if not self.stack.frames:
            raise PyrrError("no Python frame")
        frame = self.stack.frames[self.index]
        lines = linecache.getlines(frame.file)
        if not lines:
            raise PyrrError(f"{frame.file} is not here: the source is looked up where it was recorded")
        middle = self._number(text, frame.line)
        for number in range(max(1, middle - _AROUND), min(len(lines), middle + _AROUND) + 1):
            mark = "->" if number == frame.line else "  "
            self.say(f"{number:>4} {mark} {lines[number - 1].rstrip()}")

    def do_args(self, _: str) -> None:
        self._show_variables(self.stack.arguments(self.index))

    def do_locals(self, _: str) -> None:
        self._show_variables(self.stack.locals(self.index))

    def _show_variables(self, variables: dict[str, Value]) -> None:
        if self.stack.frames and self.stack.variables is None:
            raise PyrrError("the variables of this version of Python are not known: 3.8 to 3.13 are")
        for name, value in variables.items():
            self.say(f"{name} = {value}")

    def _evaluate(self, text: str, how: str) -> str:
        if not text:
            raise PyrrError("what? Give an expression")
        try:
            return evaluate(self.session, self.stack, self.index, text, how)
        except EvaluationError:
            raise
        except PyrrError as error:
            return self._from_memory(text, how, error)

    def _from_memory(self, text: str, how: str, error: PyrrError) -> str:
        """What can be said without running anything, where nothing can be run."""
        try:
            value = expression.evaluate(self.stack, self.index, text)
            shown = pprint.pformat(value.decoded()) if how == "pretty" else str(value)
        except (PyrrError, UnreadableError):
            raise error from None
        return f"{shown}\n(read from memory: {error})"

    def do_print(self, text: str) -> None:
        self.say(self._evaluate(text, "show"))

    def do_pretty_print(self, text: str) -> None:
        self.say(self._evaluate(text, "pretty"))

    def do_whatis(self, text: str) -> None:
        self.say(self._evaluate(f"type({text})" if text else "", "show"))

    def do_run(self, text: str) -> None:
        answer = self._evaluate(text, "run").rstrip("\n")
        if answer:
            self.say(answer)
        self.say("(in a clone: the replay is what it was)")

    def do_exception(self, _: str) -> None:
        stack = handled_stack(self.session, self.stack.task)
        if stack is None:
            raise PyrrError("no exception is being handled here")
        self._take(stack)
        self.show()

    def do_source(self, _: str) -> None:
        if not self.stack.frames:
            raise PyrrError("no Python frame")
        frame = self.stack.frames[self.index]
        self.say(f"{frame.file}, {frame.function} from line {frame.first_line}")

    def do_when(self, _: str) -> None:
        event = self.session.next_event()
        time = f" after {event.time / 1e6:.6f} s" if event else ""
        self.say(f"event {self.session.position} of {self.session.trace.count}{time}")
        if event:
            self.say(f"  task {event.task}: {describe_event(event)}")
        if self.stack.task in self.session.tasks:
            self.say(f"  native: {native_location(self.session, self.stack.task)}")

    def do_events(self, text: str) -> None:
        around, here = self._number(text, _EVENTS), self.session.position
        for event in self.session.trace.events(max(0, here - around), here + around + 1):
            mark = ">" if event.number == here else " "
            self.say(f"{mark} {event.number:>7} {event.time / 1e6:>11.6f} {event.task:>7}  {describe_event(event)}")

    def do_threads(self, _: str) -> None:
        for task in self.session.tasks:
            thread = python_thread(self.session, task)
            top = thread.frames[0] if thread and thread.frames else None
            place = f"{top.file}({top.line}){top.function}()" if top else native_location(self.session, task)
            mark = ">" if task == self.stack.task else " "
            self.say(f"{mark} {task} of process {self.session.process_of(task)}: {place}")

    def do_thread(self, text: str) -> None:
        task = self._number(text, self.stack.task)
        if task not in self.session.tasks:
            raise PyrrError(f"no task {task} lives here: 'threads' lists them")
        self.look(task)
        self.show()

    # Moving

    def do_seek(self, text: str) -> None:
        self.session.seek(parse(text))
        self._arrive()

    def do_event(self, text: str) -> None:
        self.session.seek(min(self.session.position + self._number(text, 1), self.session.trace.count))
        self._arrive()

    def do_revent(self, text: str) -> None:
        self.session.seek(max(self.session.position - self._number(text, 1), 0))
        self._arrive()

    def _arrive(self) -> None:
        self.look()
        self.show()

    def _along(self, way: Callable[[Way], bool]) -> None:
        """Moves along the frames, and looks at the same frame again or at what is left of it."""
        if not self.stack.frames:
            raise PyrrError("no Python frame to start from: 'event' and 'revent' move by events, 'seek' anywhere")
        path = Way(self.session, self.stack, self.index)
        innermost = self.index == 0
        found = way(path)
        self.look(self.stack.task if found else None)
        if found and not innermost:
            self.index = path.index_in(self.stack)
        if not found:
            self.say("there is no such event:")
        self.show()

    def do_step(self, _: str) -> None:
        self.index = 0
        self._along(lambda way: way.step(False))

    def do_rstep(self, _: str) -> None:
        self.index = 0
        self._along(lambda way: way.step(True))

    def do_next(self, _: str) -> None:
        self._in_frame(lambda way: way.next(False))

    def do_rnext(self, _: str) -> None:
        self._in_frame(lambda way: way.next(True))

    def do_until(self, text: str) -> None:
        self._in_frame(lambda way: way.until(self._line(text), False))

    def do_runtil(self, text: str) -> None:
        self._in_frame(lambda way: way.until(self._line(text), True))

    def do_return(self, _: str) -> None:
        self._in_frame(lambda way: way.leave(False))

    def do_rreturn(self, _: str) -> None:
        self._in_frame(lambda way: way.leave(True))

    def _line(self, text: str) -> int | None:
        return self._number(text, 0) or None

    def _in_frame(self, way: Callable[[Way], bool]) -> None:
        """As `_along`, but it is this frame that is looked at in the end, not what it has called meanwhile."""
        path: list[Way] = []

        def remembering(one: Way) -> bool:
            path.append(one)
            return way(one)

        self._along(remembering)
        index = path[0].index_in(self.stack)
        if index != self.index:
            self.index = index
            self._show_frame(index, ">")

    def do_continue(self, _: str) -> None:
        self._continue(backward=False)

    def do_rcontinue(self, _: str) -> None:
        self._continue(backward=True)

    def _continue(self, backward: bool) -> None:
        number = self.session.find(lambda event: any(one.meets(event) for one in self.breakpoints), backward)
        if number is None:
            self.session.seek(0 if backward else self.session.trace.count)
            self._arrive()
            return
        self.session.seek(number)
        event = self.session.next_event()
        assert event is not None
        met = next(one for one in self.breakpoints if one.meets(event))
        if met.temporary:
            self.breakpoints.remove(met)
        self.say(f"breakpoint {met.number}, {met.text}")
        self._arrive()

    def do_break(self, text: str) -> None:
        if text:
            self._add_breakpoint(text, temporary=False)
            return
        for one in self.breakpoints:
            self.say(f"{one.number:>3} {'once ' if one.temporary else ''}{one.text}")

    def do_tbreak(self, text: str) -> None:
        self._add_breakpoint(text, temporary=True)

    def _add_breakpoint(self, text: str, temporary: bool) -> None:
        place = parse(text)
        if isinstance(place, Occurrence) and place.which == 1:
            meets: Callable[[Event], bool] = place.matches
        elif isinstance(place, Output) and place.which == 1:
            numbers = place.all(self.session.trace)
            meets = lambda event: event.number in numbers  # noqa: E731
        else:
            raise PyrrError(f"{text!r}: stop at syscall:NAME, signal:NAME or output:/regex/; 'seek' goes to a position")
        self._numbers += 1
        self.breakpoints.append(Breakpoint(self._numbers, text, meets, temporary))
        self.say(f"breakpoint {self._numbers}: {text}")

    def do_clear(self, text: str) -> None:
        number = self._number(text, 0)
        if number and number not in [one.number for one in self.breakpoints]:
            raise PyrrError(f"there is no breakpoint {number}: 'break' lists them")
        self.breakpoints = [one for one in self.breakpoints if number and one.number != number]

    # The rest

    def do_help(self, text: str) -> None:
        if text and text not in _BY_NAME:
            raise PyrrError(f"there is no command {text!r}")
        for command in [_BY_NAME[text]] if text else COMMANDS:
            self.say(f"{' '.join([', '.join(command.names), command.usage]).strip():<38} {command.help}")
        if not text:
            self.say(
                "An empty line repeats the last command. Every move ends at an event; lines in between are passed."
            )

    def do_quit(self, _: str) -> None:
        raise Quit
