"""Expressions that are evaluated in clones: what they give, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.replayer.evaluation import EvaluationError, evaluate
from pyrr_debugger.replayer.place import python_thread
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.stack import PythonStack, handled_stack, stack_of
from pyrr_debugger.replayer.traps import Trap
from pyrr_debugger.trace_reader import TraceReader


class Recorded:
    """A replayed victim: `at` goes somewhere, `ask` evaluates there."""

    def __init__(self, session: ReplaySession, output: bytes) -> None:
        self.session = session
        self.output = output
        self.stack: PythonStack

    def at(self, position: str | int, task: int | None = None) -> None:
        self.session.seek(position)
        event = self.session.next_event()
        assert event is not None
        self.stack = stack_of(self.session, task or event.task)

    def ask(self, source: str, function: str | None = None, how: str = "show") -> str:
        index = 0
        if function is not None:
            names = [frame.function.rpartition(".")[2] for frame in self.stack.frames]
            index = names.index(function)
        return evaluate(self.session, self.stack, index, source, how)

    def memory(self) -> dict[int, tuple[dict[str, int], str]]:
        session = self.session
        return {task: (session.registers(task), session.memory_checksum(task)) for task in session.tasks}


@pytest.fixture
def replayed(interpreter: Interpreter, tmp_path: Path) -> Callable[..., object]:
    """Records a victim and replays it."""

    @contextmanager
    def open_(name: str | Path, stdin: bytes | None = None) -> Iterator[Recorded]:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        path = name if isinstance(name, Path) else victim(name)
        around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch, stdin=stdin)
        result = harness.record(tmp_path / "trace", interpreter.path, path, around=around)
        with TraceReader(tmp_path / "trace") as reader, ReplaySession(reader) as session:
            yield Recorded(session, result.stdout)

    return open_


def test_every_kind_of_value(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    """In a read of stdin, deep below: the same words that the program had for its variables."""
    with replayed("variables", stdin=b"\n") as program:
        said = json.loads(program.output)
        program.at("output:/as_integers/")
        program.at(program.session.position + 1)
        before = program.memory()
        frames = [frame.function.rpartition(".")[2] for frame in program.stack.frames]
        assert frames[:4] == ["show", "generate", "<genexpr>", "inner"]
        names = "{name: repr(value) for name, value in locals().items() if name.startswith('as_')}"
        assert program.ask(names, "values") == repr(said)
        for name, expected in said.items():
            assert program.ask(name, "values") == expected
        assert program.ask("plain.two + text", "values") == "'twoof a class'"
        assert program.ask("point", "values") == "Point(x=3, y=4)"
        assert program.ask("captured, free", "inner") == "({'in': 'a cell'}, 1)"
        assert program.ask("state", "generate") == "[1]"
        assert program.ask("in_class", "Body") == "'class body'"
        assert program.ask("sorted(builtin)[0]", "show") == "'as_bools'"
        assert program.ask("[argument for _ in range(positional)]", "values") == "[1]".replace("1", "'given'")
        assert program.ask("(lambda: keyword)()", "values") == "'key'"
        assert program.memory() == before


def test_side_effects_stay_in_the_clone(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    """It prints, changes and breaks what it likes: the replay is what it was, and ends as the recording did."""
    with replayed("steps") as program:
        program.at("output:/^end 2/")
        before = program.memory()
        assert program.ask("before.append('changed') or before", "work") == "[2, 4, 'changed']"
        assert program.ask("print('said'); before.clear()", "work", "run") == "said\n"
        assert program.ask("import sys; sys.modules.clear()", "work", "run") == ""
        assert program.ask("bytearray(50 << 20)[:1]", "work") == "bytearray(b'\\x00')"
        for source in ("open('/tmp/x', 'w')", "__import__('os').fork()", "__import__('os').kill(1, 9)"):
            with pytest.raises(EvaluationError):
                program.ask(source, "work")
        for source in ("__import__('os')._exit(3)", "__import__('os').abort()"):
            with pytest.raises(PyrrError):
                program.ask(source, "work")
        assert program.ask("before", "work") == "[2, 4]"
        assert program.memory() == before
        program.session.seek("end")
        assert program.session.position == program.session.trace.count


def test_exceptions_are_said(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    with replayed("steps") as program:
        program.at("output:/^end 2/")
        for source, message in [
            ("1 // 0", "ZeroDivisionError: "),
            ("nothing", "NameError: name 'nothing' is not defined"),
            ("number +", "SyntaxError: "),
            ("import os", "SyntaxError: "),
            ("exit(3)", "SystemExit: 3"),
            ("'\\udcff' + number", "TypeError: "),
        ]:
            with pytest.raises(EvaluationError, match=message):
                program.ask(source, "work")
        assert program.ask("'\\udcff\\u4e2d'", "work") == "'\\udcff中'"
        assert program.ask("None", "work", "run") == ""
        assert program.ask("None", "work") == "None"
        assert "\n" in program.ask("list(range(100))", "work", "pretty")


def test_an_uncaught_exception(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    """Its frames have run to their end, and still know everything."""
    with replayed("traceback_crash") as program:
        program.at("output:/^Traceback/#-1")
        assert program.stack.exception is not None
        assert program.ask("depth, os.name") == "(0, 'posix')"
        assert program.ask("[depth] * 2", None) == "[0, 0]"
        assert evaluate(program.session, program.stack, 7, "depth") == "7"


def test_threads(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    """Each knows its own, whoever holds the GIL."""
    with replayed("threads_queue") as program:
        asked: set[tuple[bool, str]] = set()
        for position in random.Random(0).sample(range(program.session.trace.count), 60 if LONG else 25):
            program.at(position)
            for task in program.session.tasks:
                thread = python_thread(program.session, task)
                stack = stack_of(program.session, task)
                names = [frame.function for frame in stack.frames]
                if thread is None or "work" not in names:
                    continue
                number = stack.locals(names.index("work"))["number"]
                before = program.memory()
                with suppress(PyrrError):  # in the midst of an allocation
                    got = evaluate(program.session, stack, names.index("work"), "number")
                    assert got == str(number)
                    asked.add((bool(thread.holds_gil), got))
                assert program.memory() == before
        assert len({number for _, number in asked}) == 4
        assert {held for held, _ in asked} >= {False}


def test_coroutines(replayed: Callable[..., contextmanager[Recorded]], tmp_path: Path) -> None:
    path = tmp_path / "coroutines.py"
    path.write_text(
        "import asyncio, os\n"
        "async def inner(value):\n    await asyncio.sleep(0.001)\n    os.write(1, b'marker\\n')\n    return value\n"
        "async def outer():\n    mine = 'outer'\n    return await inner(mine * 2)\n"
        "asyncio.run(outer())\n"
    )
    with replayed(path) as program:
        program.at("output:/marker/")
        assert program.ask("value", "inner") == "'outerouter'"
        assert program.ask("mine", "outer") == "'outer'"


def test_where_a_signal_ends_the_program(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    with replayed("segfault") as program:
        program.at("exit")
        assert program.stack.frames
        assert program.ask("__name__", "<module>") == "'__main__'"


STOPS = """\
import asyncio, ctypes, os, struct, threading

def line(number):
    square = number * number
    return square + 1

def in_c(buffer):
    mine = "in C"
    struct.pack_into("Q", buffer, 8, 7)
    return mine

def released(text):
    mine = "released"
    os.write(1, text)
    return mine

def waiting(pipe):
    mine = "waiting"
    return os.read(pipe, 10), mine

def generate(number):
    for turn in range(number):
        mine = turn * 10
        yield mine

async def inner(number):
    await asyncio.sleep(0)
    mine = number + 1
    return mine

async def outer():
    mine = "outer"
    return await inner(40), mine

def crash(address):
    mine = "crash"
    ctypes.string_at(address)

def main():
    reading, writing = os.pipe()
    thread = threading.Thread(target=waiting, args=(reading,))
    thread.start()
    os.write(1, b"started\\n")
    line(7)
    in_c(bytearray(b"looked for".ljust(16, b"!")))
    released(b"GIL\\n")
    sum(generate(3))
    asyncio.run(outer())
    os.write(writing, b"done")
    thread.join()
    crash(8)

main()
"""


def test_wherever_python_stops(replayed: Callable[..., contextmanager[Recorded]], tmp_path: Path) -> None:
    """The stack, the variables and what is asked are right at a line, amid a call of C, in a call without the GIL, in a
    thread that waits while another holds the GIL, in generators and coroutines, and where a signal ends the program.
    No question changes anything, whatever it does."""
    path = tmp_path / "stops.py"
    path.write_text(STOPS)

    def check(program: Recorded, names: list[str], known: dict[str, str], task: int | None = None) -> None:
        task = task or program.session.midway
        program.stack = stack_of(program.session, task)
        found = [frame.function.rpartition(".")[2] for frame in program.stack.frames]
        assert found[: len(names)] == names
        before = program.memory()
        values = program.stack.locals(0)
        assert {name: str(values[name]) for name in known} == known
        for name, value in known.items():
            assert program.ask(name) == value
        program.ask("import sys; print('said'); sys.modules.clear(); mine = [0] * 1_000_000", how="run")
        with pytest.raises(PyrrError):
            program.ask("__import__('os').abort()")
        assert program.memory() == before

    with replayed(path) as program:
        session = program.session
        session.seek("output:/started/")
        event = session.next_event()
        assert event is not None
        main, (other,) = event.task, [task for task in session.tasks if task != event.task]
        session.seek("stops.py:5")
        assert session.midway == main
        check(program, ["line", "main", "<module>"], {"number": "7", "square": "49"})
        check(program, ["waiting", "run"], {"mine": "'waiting'"}, other)
        thread = python_thread(session, main)
        waits = python_thread(session, other)
        assert thread is not None
        assert waits is not None
        assert (thread.holds_gil, waits.holds_gil) == (True, False)
        session.seek("stops.py:9")
        places = list(session.search(main, b"looked for!!!!!!"))
        assert session.run_to([Trap(place + 8, 8, "write", main) for place in places[-4:]])
        check(program, ["in_c", "main"], {"mine": "'in C'"})
        session.seek("output:/GIL/")
        check(program, ["released", "main"], {"text": "b'GIL\\n'", "mine": "'released'"}, main)
        thread = python_thread(session, main)
        assert thread is not None
        assert not thread.holds_gil
        session.seek("stops.py:24#2")
        check(program, ["generate", "main"], {"number": "3", "turn": "1", "mine": "10"})
        session.seek("stops.py:29")
        check(program, ["inner", "outer"], {"number": "40", "mine": "41"})
        assert program.ask("mine", "outer") == "'outer'"
        session.seek("signal:SIGSEGV")
        check(program, ["string_at", "crash", "main", "<module>"], {"ptr": "8"}, main)
        assert program.ask("mine", "crash") == "'crash'"


def test_an_endless_expression_is_given_up(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    with replayed("steps") as program:
        program.at("output:/^end 2/")
        with pytest.raises(PyrrError, match="longer than 10 s"):
            program.ask("while True: pass", "work", "run")
        assert program.ask("number", "work") == "2"


def test_at_any_position(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    """There is an answer or a message, and never a change; in the midst of an allocation too."""
    with replayed("memory_management") as program:
        seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
        print(f"PYRR_SEED={seed}")
        answers = 0
        for position in random.Random(seed).sample(range(program.session.trace.count), 100 if LONG else 25):
            program.at(position)
            if not program.stack.frames:
                continue
            before = program.memory()
            with suppress(PyrrError):
                assert program.ask("[str(n) for n in range(1000)][-1]") == "'999'"
                answers += 1
            assert program.memory() == before
        assert answers > 3


def test_nothing_without_python(replayed: Callable[..., contextmanager[Recorded]]) -> None:
    with replayed("steps") as program:
        program.at(5)
        with pytest.raises(PyrrError, match="no Python runs here"):
            program.ask("1")
        assert handled_stack(program.session, program.session.tasks[0]) is None
