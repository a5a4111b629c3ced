"""The prompt of `pyrr debug`: pdb's commands, and their reverse.

`COMMANDS` is the only list of commands: help, completion and dispatch come from it.
"""

from __future__ import annotations

import inspect
import pprint
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from ..errors import PyrrError
from ..pythonstack import Value
from ..pythonstack.memory import UnreadableError
from . import expression
from .debugger import Breakpoint, Debugger, Stop
from .description import describe_event
from .evaluation import EvaluationError, evaluate
from .place import native_location, python_thread
from .position import parse
from .session import ReplaySession
from .source import source_line, source_lines
from .stack import PythonStack

_AROUND = 5  # lines of source before and behind the current one
_EVENTS = 5


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
    _command("longlist ll", "", "the source of the whole function"),
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
        "seek",
        "POSITION",
        "go to: 1200, -1, exit, 50%, +1.5s, output:/regex/, syscall:NAME#K, signal:NAME, file.py:LINE#K, exception",
    ),
    _command("event e", "[N]", "one event forward, or N"),
    _command("revent re", "[N]", "one event back, or N"),
    _command("restart run", "", "go to the start; breakpoints stay"),
    _command("step s", "", "forward to the next line, of any function of this thread"),
    _command("rstep rs", "", "back to the line before, of any function of this thread"),
    _command("next n", "", "forward to the next line of this frame, or of its caller"),
    _command("rnext rn", "", "back to the line before of this frame, or to the line that called it"),
    _command("until unt", "[LINE]", "forward to a later line of this frame, or to where it has returned"),
    _command("runtil runt", "[LINE]", "back to an earlier line of this frame, or to the line that called it"),
    _command("return r", "", "forward to where this frame has returned", "do_return"),
    _command("rreturn rr", "", "back to the line that called this frame"),
    _command("continue c cont", "", "forward to a breakpoint, or to the end", "do_continue"),
    _command("rcontinue rc", "", "back to a breakpoint, or to the start"),
    _command(
        "break b",
        "[[FILE:]LINE | [FILE:]FUNCTION | syscall:NAME | signal:NAME | output:/regex/][, CONDITION]",
        "stop there; without a place, list all",
        "do_break",
    ),
    _command("tbreak", "as break", "stop there once"),
    _command("watch", "NAME", "stop where a variable, NAME.attribute or NAME[item] has been set to another object"),
    _command("condition", "N [CONDITION]", "stop at breakpoint N only if it is true; without one, always"),
    _command("ignore", "N [COUNT]", "pass breakpoint N by COUNT times"),
    _command("commands", "[N]", "the lines up to 'end' are carried out at breakpoint N, or at the last one"),
    _command("enable", "[N ...]", "breakpoints are in use again"),
    _command("disable", "[N ...]", "breakpoints are kept, but not stopped at"),
    _command("clear cl", "[N ... | FILE:LINE]", "remove breakpoints, or all"),
    _command("display", "[EXPRESSION]", "show its value at each stop where it has changed; without one, list all"),
    _command("undisplay", "[EXPRESSION]", "no longer"),
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
    debugger: Debugger = field(init=False)

    def __post_init__(self) -> None:
        self._last = ""
        self._displayed: dict[str, str] = {}
        self._collecting: Breakpoint | None = None
        self.debugger = Debugger(self.session)
        self.debugger.complaint = lambda text: self.say(f"*** {text}")
        self.look()

    # The user's side

    def greet(self, where: str, frame: int = 0) -> None:
        """Says what was opened, where, and how to go on; looks at a frame."""
        command = shlex.join(map(str, self.session.trace.header["command"]))
        self.say(f"{self.session.trace.path}: {command}, {self.session.trace.count} events. 'help' lists the commands.")
        self.say(f"at {where}:")
        if self.stack.exception is None and (handled := self.debugger.handled()):
            self._take(handled)
        self.index = frame
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
        if self._collecting is not None:
            self._collect(line.strip())
            return
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
        except UnreadableError as error:
            self.say(f"*** memory cannot be read here: {error}")
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
        """Takes the stack of this position: of a task, or of the one that runs, or whose event comes next."""
        self.debugger.look(task)
        self._take(self.debugger.stack())

    def _take(self, stack: PythonStack) -> None:
        self.stack, self.index = stack, 0
        self.debugger.past = stack if stack.exception is not None else None

    def show(self) -> None:
        """Where we are, in two or three lines."""
        event = self.session.next_event()
        text = describe_event(event) if event else "behind the last event"
        if self.session.midway:
            text = f"on its way to {text}"
        self.say(f"event {self.session.position}, task {self.stack.task}: {text}")
        if (raised := self.debugger.raising()) is not None:
            self.say(f"  {raised[1]} is raised")
        if self.stack.exception is not None:
            self.say(f"  the exception {self.stack.exception}, and the frames as it left them:")
        if self.stack.frames:
            self._show_frame(self.index, ">")
        else:
            self.say("  no Python frame")

    def _show_frame(self, index: int, mark: str) -> None:
        frame = self.stack.frames[index]
        self.say(f"{mark} {frame.file}({frame.line}){frame.function}()")
        source = source_line(self.session.trace, frame.file, frame.line).strip()
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
        lines = source_lines(self.session.trace, frame.file)
        if not lines:
            raise PyrrError(f"{frame.file} is not here: the source is looked up where it was recorded")
        middle = self._number(text, frame.line)
        for number in range(max(1, middle - _AROUND), min(len(lines), middle + _AROUND) + 1):
            mark = "->" if number == frame.line else "  "
            self.say(f"{number:>4} {mark} {lines[number - 1].rstrip()}")

    def do_longlist(self, _: str) -> None:
        if not self.stack.frames:
            raise PyrrError("no Python frame")
        frame = self.stack.frames[self.index]
        lines = inspect.getblock(source_lines(self.session.trace, frame.file)[max(frame.first_line - 1, 0) :])
        if not lines:
            raise PyrrError(f"{frame.file} is not here: the source is looked up where it was recorded")
        if frame.function == "<module>":
            lines = source_lines(self.session.trace, frame.file)
        first = 1 if frame.function == "<module>" else frame.first_line
        for number, line in enumerate(lines, first):
            self.say(f"{number:>4} {'->' if number == frame.line else '  '} {line.rstrip()}")

    def do_args(self, _: str) -> None:
        self._show_variables(self.stack.arguments(self.index))

    def do_locals(self, _: str) -> None:
        self._show_variables(self.stack.locals(self.index))

    def _show_variables(self, variables: dict[str, Value]) -> None:
        if self.stack.frames and self.stack.variables is None:
            raise PyrrError("the variables of this version of Python are not known: 3.8 to 3.14 are")
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
        stack = self.debugger.handled()
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
        self._show_displayed()

    def do_restart(self, _: str) -> None:
        self.session.seek(0)
        self._arrive()

    def _moved(self, stop: Stop) -> None:
        """Shows where a move has come to."""
        self.look(self.debugger.task)
        if stop.breakpoint is not None:
            self.say(f"breakpoint {stop.breakpoint.number}, {stop.breakpoint.text}")
        elif stop.reason != "line":
            self.say("the start:" if stop.reason == "start" else "the end:")
        self.show()
        self._show_displayed()
        if stop.breakpoint is not None:
            for line in stop.breakpoint.commands:
                self.execute(line)

    def _frame(self) -> int:
        if not self.stack.frames:
            raise PyrrError("no Python frame to start from: 'event' and 'revent' move by events, 'seek' anywhere")
        return self.index

    def do_step(self, _: str) -> None:
        self._frame()
        self._moved(self.debugger.step())

    def do_rstep(self, _: str) -> None:
        self._frame()
        self._moved(self.debugger.step(backward=True))

    def do_next(self, _: str) -> None:
        self._moved(self.debugger.next(self._frame()))

    def do_rnext(self, _: str) -> None:
        self._moved(self.debugger.next(self._frame(), backward=True))

    def do_until(self, text: str) -> None:
        self._moved(self.debugger.until(self._frame(), self._line(text)))

    def do_runtil(self, text: str) -> None:
        self._moved(self.debugger.until(self._frame(), self._line(text), backward=True))

    def do_return(self, _: str) -> None:
        self._moved(self.debugger.leave(self._frame()))

    def do_rreturn(self, _: str) -> None:
        self._moved(self.debugger.leave(self._frame(), backward=True))

    def _line(self, text: str) -> int | None:
        return self._number(text, 0) or None

    def do_continue(self, _: str) -> None:
        self._moved(self.debugger.resume())

    def do_rcontinue(self, _: str) -> None:
        self._moved(self.debugger.resume(backward=True))

    # Breakpoints

    def do_break(self, text: str) -> None:
        if text:
            self._add_breakpoint(text, temporary=False)
            return
        for one in self.debugger.breakpoints:
            self.say(f"{one.number:>3} {one}")

    def do_tbreak(self, text: str) -> None:
        if not text:
            raise PyrrError("where? Give a place, as for 'break'")
        self._add_breakpoint(text, temporary=True)

    def _add_breakpoint(self, text: str, temporary: bool) -> None:
        place, condition = text, ""
        if not text.startswith("output:"):
            place, _, condition = (part.strip() for part in text.partition(","))
        one = self.debugger.add(place, condition, temporary, self.stack, self.index)
        self.say(f"breakpoint {one.number}: {one}")

    def do_watch(self, text: str) -> None:
        if not text:
            raise PyrrError("what? Give a variable, an attribute or an item")
        one = self.debugger.watch(text, self.stack, self.index)
        self.say(f"breakpoint {one.number}: {one}")

    def _breakpoint(self, text: str) -> tuple[Breakpoint, str]:
        number, _, rest = text.partition(" ")
        return self.debugger.find(self._number(number, 0)), rest.strip()

    def do_condition(self, text: str) -> None:
        one, condition = self._breakpoint(text)
        one.condition = condition
        self.say(f"breakpoint {one.number}: {one}")

    def do_ignore(self, text: str) -> None:
        one, count = self._breakpoint(text)
        one.ignore = self._number(count, 0)
        self.say(f"breakpoint {one.number}: {one}")

    def do_enable(self, text: str) -> None:
        self._enable(text, enabled=True)

    def do_disable(self, text: str) -> None:
        self._enable(text, enabled=False)

    def _enable(self, text: str, enabled: bool) -> None:
        numbers = [self._number(word, 0) for word in text.split()]
        for one in [self.debugger.find(number) for number in numbers] or self.debugger.breakpoints:
            one.enabled = enabled
            self.say(f"breakpoint {one.number}: {one}")

    def do_commands(self, text: str) -> None:
        if not text and not self.debugger.breakpoints:
            raise PyrrError("there is no breakpoint")
        one = self._breakpoint(text)[0] if text else self.debugger.breakpoints[-1]
        one.commands = []
        self._collecting = one

    def _collect(self, line: str) -> None:
        assert self._collecting is not None
        if line == "end":
            self._collecting = None
        elif line and line.split()[0] not in ("commands", "silent"):
            self._collecting.commands.append(line)

    def do_clear(self, text: str) -> None:
        if ":" in text:
            gone = [one for one in self.debugger.breakpoints if one.text == text or one.text.endswith(f"/{text}")]
            if not gone:
                raise PyrrError(f"there is no breakpoint at {text}: 'break' lists them")
        else:
            gone = [self.debugger.find(self._number(word, 0)) for word in text.split()] or list(
                self.debugger.breakpoints
            )
        for one in gone:
            self.debugger.breakpoints.remove(one)

    def do_display(self, text: str) -> None:
        if text:
            self._displayed[text] = ""
        self._show_displayed(everything=True)

    def do_undisplay(self, text: str) -> None:
        if text and text not in self._displayed:
            raise PyrrError(f"{text!r} is not displayed")
        for one in [text] if text else list(self._displayed):
            del self._displayed[one]

    def _show_displayed(self, everything: bool = False) -> None:
        for text, before in self._displayed.items():
            try:
                value = self._evaluate(text, "show")
            except PyrrError as error:
                value = f"** {error} **"
            if value != before or everything:
                self.say(f"display {text}: {value}" + (f"  [before: {before}]" if before and not everything else ""))
            self._displayed[text] = value

    # The rest

    def do_help(self, text: str) -> None:
        if text and text not in _BY_NAME:
            raise PyrrError(f"there is no command {text!r}")
        for command in [_BY_NAME[text]] if text else COMMANDS:
            self.say(f"{' '.join([', '.join(command.names), command.usage]).strip():<38} {command.help}")
        if not text:
            self.say("An empty line repeats the last command. What is no command is Python, carried out in a clone.")

    def do_quit(self, _: str) -> None:
        raise Quit
