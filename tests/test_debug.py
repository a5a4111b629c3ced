"""`pyrr debug`: what it shows, and where its moves lead."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.replayer.opening import open_at_failure
from pyrr_debugger.replayer.prompt import COMMANDS, Prompt, Quit
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Place
from pyrr_debugger.trace_reader import TraceReader

SOURCE = str(victim("steps"))


@pytest.fixture(scope="module")
def traces() -> dict[tuple[str, str], Path]:
    return {}


@pytest.fixture
def recorded(
    interpreter: Interpreter, traces: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The trace of a victim, recorded once with each interpreter."""

    def record(name: str) -> Path:
        if (name, interpreter.name) not in traces:
            directory = tmp_path_factory.mktemp(name)
            scratch = directory / "scratch"
            scratch.mkdir()
            around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
            harness.record(directory / "trace", interpreter.path, victim(name), around=around)
            traces[name, interpreter.name] = directory / "trace"
        return traces[name, interpreter.name]

    return record


def one_will_do(interpreter: Interpreter) -> None:
    """All interpreters have their turn in the long run."""
    if not LONG and not interpreter.runs_pytest:
        pytest.skip("in the long run")


class Session:
    """A prompt, and what it said last."""

    def __init__(self, session: ReplaySession) -> None:
        self._out = io.StringIO()
        self._session = session
        self.prompt = Prompt(session, self._out)

    def __call__(self, command: str) -> str:
        self._out.seek(0)
        self._out.truncate()
        self.prompt.execute(command)
        return self._out.getvalue().rstrip("\n")

    @property
    def line(self) -> tuple[str, int]:
        """Function and line of the frame that is looked at."""
        frame = self.prompt.stack.frames[self.prompt.index]
        return frame.function, frame.line

    @property
    def position(self) -> int:
        return self._session.position

    @property
    def place(self) -> Place:
        return self._session.place

    def registers_at(self, place: Place | None) -> dict[str, int]:
        if place is not None:
            here = self._session.place
            self._session.go(place)
            found = self._session.registers(self.prompt.stack.task)
            self._session.go(here)
            return found
        return self._session.registers(self.prompt.stack.task)


@pytest.fixture
def at_failure(recorded: Callable[[str], Path]) -> Iterator[Session]:
    """The program of steps.py where it failed."""
    with TraceReader(recorded("steps")) as reader, ReplaySession(reader) as session:
        open_at_failure(session)
        yield Session(session)


def test_failure_is_where_it_opens(at_failure: Session) -> None:
    """At the raising line, with the variables that were; though no Python runs any more."""
    assert at_failure("where") == "\n".join(
        [
            f"  {SOURCE}(30)<module>()",
            "-> sys.exit(main())",
            f"> {SOURCE}(26)main()",
            "-> return done[0] and 1 // limit",
        ]
    )
    assert at_failure("locals") == "\n".join(
        ["done = {0: [0, 0], 1: [1, 2], 2: [2, 4], 3: [3, 6], 4: [4, 8]}", "number = 4", "limit = 0"]
    )
    assert at_failure("p done[3][1]") == "6"
    assert at_failure("done[-1]") == "*** KeyError: -1"
    assert at_failure("whatis done") == "<class 'dict'>"
    assert at_failure("pp done[2]") == "[2, 4]"
    assert at_failure("p limit + 1") == "1"
    assert "ZeroDivisionError" in at_failure("exception")
    assert at_failure("up") == f"> {SOURCE}(30)<module>()\n-> sys.exit(main())"
    assert at_failure("p __name__") == "'__main__'"
    assert at_failure("up") == "*** oldest frame"
    assert at_failure("down").startswith(f"> {SOURCE}(26)main()")
    assert at_failure("down") == "*** newest frame"


def test_steps_backward_and_forward(at_failure: Session) -> None:
    """Each to another line, also where no system call is made; and the same way back."""
    trail: list[tuple[Place, tuple[str, int]]] = []
    for _ in range(14):
        at_failure("rs")
        trail.append((at_failure.place, at_failure.line))
    work = [("work", 16), ("report", 8), ("work", 15), ("work", 14)]
    loop = [("report", 8), ("main", 23), *work, ("report", 8), ("work", 13), ("work", 12), ("main", 22), ("main", 21)]
    assert [line for _, line in trail] == [("report", 8), ("main", 25), ("main", 24), ("main", 21), *loop][:14]
    for place, line in trail[-2::-1]:
        at_failure("s")
        assert at_failure.line == line
        assert at_failure.registers_at(place) == at_failure.registers_at(None)
    at_failure("s")
    assert at_failure.line == ("main", 26)


def test_next_does_not_enter_calls(at_failure: Session) -> None:
    at_failure("seek output:/^begin 2/")
    assert at_failure.line == ("report", 8)
    at_failure("up")
    assert at_failure.line == ("work", 13)
    assert at_failure("p before") == "[2]"
    at_failure("next")
    assert at_failure.line == ("work", 14)
    at_failure("next")
    assert at_failure.line == ("work", 15)
    assert at_failure("locals") == "number = 2\nbefore = [2, 4]"
    at_failure("rnext")
    assert at_failure.line == ("work", 14)
    assert at_failure("p before") == "[2]"
    for line in (13, 12):
        at_failure("rnext")
        assert at_failure.line == ("work", line)
    at_failure("rnext")
    assert at_failure.line == ("main", 22)
    at_failure("next")
    assert at_failure.line == ("main", 23)


def test_return_and_its_reverse(at_failure: Session) -> None:
    at_failure("seek output:/^end 3/")
    at_failure("up")
    assert at_failure.line == ("work", 15)
    at_failure("return")
    assert at_failure.line == ("main", 22)
    at_failure("next")
    assert at_failure.line == ("main", 23)
    assert at_failure("p done[3]") == "[3, 6]"
    at_failure("seek output:/^end 3/")
    at_failure("up")
    at_failure("rreturn")
    assert at_failure.line == ("main", 22)
    assert at_failure("p number") == "3"
    assert at_failure("p 3 in done") == "False"


def test_until_leaves_loops(at_failure: Session) -> None:
    at_failure("seek output:/^---/")
    at_failure("up")
    assert at_failure.line == ("main", 23)
    at_failure("until")
    assert at_failure.line == ("main", 24)
    at_failure("runtil 22")
    assert at_failure.line == ("main", 21)


def test_line_breakpoints(at_failure: Session, interpreter: Interpreter) -> None:
    """Both ways; with conditions, counts and commands; of functions; and from before the file is loaded."""
    one_will_do(interpreter)
    assert at_failure("b 14") == f"breakpoint 1: {SOURCE}:14"
    for number in (4, 3, 2):
        assert at_failure("rc").splitlines()[0] == f"breakpoint 1, {SOURCE}:14"
        assert at_failure.line == ("work", 14)
        assert at_failure("p (number, before)") == f"({number}, [{number}])"
    assert at_failure("condition 1 number == 4").endswith("if number == 4")
    at_failure("c")
    assert at_failure("p number") == "4"
    at_failure("clear 1")
    assert at_failure("b 17").startswith("*** line 17 of ")
    at_failure("tbreak report, text == 'begin 1\\n'")
    at_failure("restart")
    at_failure("c")
    assert at_failure.line == ("report", 8)
    assert at_failure("p text") == r"'begin 1\n'"
    assert at_failure("b") == ""
    at_failure("b steps.py:22")
    at_failure("ignore 3 2")
    at_failure("commands")
    at_failure("p number * 100")
    at_failure("end")
    assert at_failure("c").splitlines()[-1] == "400"
    assert at_failure("disable 3").endswith("off")
    at_failure("rc")
    assert at_failure.position == 0
    at_failure("enable 3")
    at_failure("c")
    assert at_failure("p number") == "0"
    assert at_failure("display number") == "display number: 0"
    assert at_failure("c").splitlines()[-2:] == ["display number: 1  [before: 0]", "100"]


def test_breakpoints_both_ways(at_failure: Session) -> None:
    at_failure("break output:/^begin/")
    seen = []
    for _ in range(5):
        assert at_failure("rc").startswith("breakpoint 1, output:/^begin/")
        seen.append(at_failure("p text"))
    assert seen == [f"'begin {number}\\n'" for number in (4, 3, 2, 1, 0)]
    at_failure("c")
    assert at_failure("p text") == "'begin 1\\n'"
    at_failure("tbreak output:/^end/")
    assert at_failure("break").count("\n") == 1
    at_failure("c")
    assert at_failure("p text") == "'end 1\\n'"
    assert at_failure("break") == "  1 output:/^begin/"
    at_failure("clear 1")
    at_failure("rc")
    assert at_failure.position == 0
    at_failure("c")
    assert "behind the last event" in at_failure("when") or "of" in at_failure("when")


def test_events_are_steps_too(at_failure: Session) -> None:
    start = at_failure.position
    at_failure("re 3")
    assert at_failure.position == start - 3
    at_failure("e")
    at_failure("")
    assert at_failure.position == start - 1
    assert [line.split()[0] for line in at_failure("events 1").splitlines()] == [str(start - 2), ">", str(start)]
    at_failure("seek start")
    assert "no Python frame" in at_failure("re")
    assert at_failure("rs").startswith("*** no Python frame")


def test_source(at_failure: Session) -> None:
    listing = at_failure("list").splitlines()
    assert listing[5] == "  26 ->     return done[0] and 1 // limit"
    assert at_failure("l 13").splitlines()[5] == '  13        report(f"begin {number}\\n")'
    assert at_failure("source") == f"{SOURCE}, main from line 19"


def test_watching_variables(at_failure: Session, interpreter: Interpreter) -> None:
    """A local variable, and an item; to where they were set, both ways."""
    one_will_do(interpreter)
    at_failure("seek exception")
    at_failure("watch number")
    for number in (4, 3):
        assert at_failure("rc").splitlines()[0] == "breakpoint 1, watch number"
        assert at_failure.line == ("main", 21)
        assert at_failure("p number") == str(number)
    at_failure("c")
    assert at_failure("p number") == "4"
    at_failure("clear")
    at_failure("seek exception")
    at_failure("watch done[2]")
    assert at_failure("rc").splitlines()[0] == "breakpoint 2, watch done[2]"
    assert at_failure.line == ("main", 23)
    assert at_failure("p done") == "{0: [0, 0], 1: [1, 2], 2: [2, 4]}"
    assert at_failure("rc").startswith("the start")
    assert at_failure("watch number + 1").startswith("*** number + 1 cannot be watched")
    assert at_failure("watch").startswith("*** what?")


def test_watching_variables_of_a_failure(at_failure: Session) -> None:
    """Where it opens, the frames are over: it is their variables as they were that are watched, and the place stays."""
    before = at_failure("where"), at_failure("when")
    at_failure("watch limit")
    at_failure("watch done[3]")
    assert (at_failure("where"), at_failure("when")) == before
    assert at_failure("rc").splitlines()[0] == "breakpoint 1, watch limit"
    assert at_failure.line == ("main", 24)
    assert at_failure("p limit") == "0"
    assert at_failure("rc").splitlines()[0] == "breakpoint 2, watch done[3]"
    assert at_failure.line == ("main", 23)
    assert at_failure("p done") == "{0: [0, 0], 1: [1, 2], 2: [2, 4], 3: [3, 6]}"
    assert at_failure("rc").startswith("the start")


def test_watching_an_argument(at_failure: Session) -> None:
    """The call has set it: the function begins there, in that frame."""
    at_failure("break 14")
    at_failure("rc")
    assert at_failure.line == ("work", 14)
    at_failure("clear")
    at_failure("watch number")
    for number in (4, 3):
        assert at_failure("rc").splitlines()[0] == "breakpoint 2, watch number"
        assert at_failure.line == ("work", 12)
        assert at_failure("p number") == str(number)
    at_failure("c")
    assert at_failure.line == ("work", 12)
    assert at_failure("p number") == "4"


def test_lines_and_exceptions_as_positions(recorded: Callable[[str], Path], interpreter: Interpreter) -> None:
    """Wherever a position is asked for; they are between events."""
    one_will_do(interpreter)
    with TraceReader(recorded("steps")) as reader, ReplaySession(reader) as session:
        for text, line, number in [
            ("steps.py:22", 22, "0"),
            ("steps.py:22#3", 22, "2"),
            (f"{SOURCE}:14#-2", 14, "3"),
            ("exception", 26, "4"),
        ]:
            session.seek(text)
            opened = Session(session)
            assert opened.line[1] == line
            assert opened("p number") == number
            assert session.midway
        for text in ("steps.py:22#6", "steps.py:1000"):
            with pytest.raises(PyrrError):
                session.seek(text)
        session.seek("exception:1")
        assert session.stop(session.tasks[0]) == "trap"
    result = harness.pyrr("replay", recorded("steps"), "--to", "steps.py:12#2")
    assert b"line 12, in work" in result.stdout, str(result)
    events = harness.pyrr("dump", recorded("steps"), "--from", "steps.py:12#2")
    assert b'"begin 1' in events.stdout.splitlines()[0], str(events)


def test_a_script_of_commands(recorded: Callable[[str], Path]) -> None:
    """Through the command line: commands come from a pipe, and are shown with what they print."""
    around = Surroundings(stdin=b"where\nrs\nnonsense\np\nquit\np never\n")
    result = harness.pyrr("debug", recorded("steps"), around=around)
    assert result.status == 0, str(result)
    assert result.stderr == b""
    text = result.stdout.decode()
    assert "ZeroDivisionError" in text
    assert "(pyrr) rs\nevent " in text
    assert "*** there is no command and no variable 'nonsense'" in text
    assert text.endswith("(pyrr) quit\n")


def test_opening_at_a_position(recorded: Callable[[str], Path]) -> None:
    around = Surroundings(stdin=b"up\nlocals\n")
    result = harness.pyrr("debug", recorded("steps"), "--to", "output:/^begin 3/", around=around)
    assert b"number = 3\nbefore = [3]\n" in result.stdout, str(result)


def test_on_a_terminal(recorded: Callable[[str], Path]) -> None:
    """With prompt_toolkit; what is typed at once is carried out in order."""
    env = {**os.environ, "TERM": "dumb"}
    result = harness.run_on_terminal(
        [harness.PYRR, "debug", recorded("steps")], b"locals\rrs\rquit\r", Surroundings(env=env)
    )
    assert result.status == 0, str(result)
    assert b"limit = 0" in result.stdout, str(result)
    assert b"(8)report()" in result.stdout, str(result)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("traceback_crash", "the failure that is about to be printed"),
        ("segfault", "the end of the program, by a signal"),
        ("threads_queue", "the beginning of the Python program"),
    ],
)
def test_where_it_opens(name: str, where: str, recorded: Callable[[str], Path]) -> None:
    with TraceReader(recorded(name)) as reader, ReplaySession(reader) as session:
        assert open_at_failure(session).text == where
        opened = Session(session)
        if name == "threads_queue":
            outermost = opened.prompt.stack.frames[-1]
            assert (outermost.function, outermost.file) == ("<module>", str(victim(name)))
        if name == "traceback_crash":
            assert opened.line[0] == "descend"
            assert opened("p depth") == "0"
            assert len(opened.prompt.stack.frames) == 42


def test_an_exception_in_a_thread(interpreter: Interpreter, tmp_path: Path) -> None:
    """The traceback is printed by Python code: the frames of the exception are shown first."""
    program = tmp_path / "failing.py"
    program.write_text(
        "import sys, threading\n"
        "def fail(value):\n    return [value][1]\n"
        "def run():\n    fail('in a thread')\n"
        "thread = threading.Thread(target=run)\nthread.start()\nthread.join()\nsys.exit(3)\n"
    )
    harness.record(tmp_path / "trace", interpreter.path, program)
    result = harness.pyrr("debug", tmp_path / "trace", around=Surroundings(stdin=b"p value\nup\nthreads\n"))
    text = result.stdout.decode()
    assert "IndexError('list index out of range')" in text, text
    assert f"> {program}(3)fail()" in text, text
    assert "(pyrr) p value\n'in a thread'\n" in text, text
    assert f"> {program}(5)run()" in text, text
    listed = text.rpartition("(pyrr) threads\n")[2].splitlines()
    assert [line[0] for line in listed] == [" ", ">"], text


@pytest.mark.timeout(7200 if LONG else 600)
def test_any_commands(at_failure: Session, interpreter: Interpreter) -> None:
    """Whatever is typed, there is an answer and no traceback; the trace is what it was."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    choice = random.Random(seed)
    names = [name for command in COMMANDS for name in command.names]
    rest = ["", "1", "0", "-1", "99999999999999999999", "done", "done[0]", "a b", "\udcff", "'", "(", "50%", "start"]
    rest += ["syscall:write", "output:/---/", "signal:SIGSEGV", "end", "[", "done.x[1][2]", "lambda: 0", "1", "x" * 999]
    rest += [
        "steps.py:22",
        "22",
        "work",
        "work, number == 2",
        "exception",
        "exception:2",
        "1 number > 2",
        "1 3",
        "14, 1/0",
    ]
    for _ in range(10_000 if LONG and interpreter.runs_pytest else 300 if LONG else 40):
        command = f"{choice.choice(names)} {choice.choice(rest)}"
        try:
            assert isinstance(at_failure(command), str)
            if command.startswith("commands"):
                assert "Traceback" not in at_failure("end")  # ends the list, if it has begun one
        except Quit:
            continue
