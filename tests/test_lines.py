"""Steps by Python lines: back is the way there, through all that calls, whoever called it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter

from pyrr_debugger.replayer.backward import hits_of, spans
from pyrr_debugger.replayer.lines import LineWay, Thread
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Place, Trap
from pyrr_debugger.trace_reader import TraceReader

PROGRAM = """\
import asyncio, threading

def gen(n):
    for i in range(n):
        yield i * 2

def key(x):
    y = -x
    return y

async def inner(x):
    await asyncio.sleep(0)
    return x + 1

async def outer():
    total = 0
    for i in range(3):
        total += await inner(i)
    return total

def worker(n):
    s = 0
    for v in gen(n):
        s += v
    return s

def recurse(n):
    if n == 0:
        raise ValueError("bottom")
    return recurse(n - 1)

class Thing:
    def __init__(self, a):
        self.a = a

def main():
    a = list(gen(2))
    b = sorted([3, 1], key=key)
    c = [key(x) for x in b]
    t = Thing(c)
    try:
        recurse(6)
    except ValueError:
        e = 1
    d = asyncio.run(outer())
    ts = [threading.Thread(target=worker, args=(k,)) for k in (2, 3)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    print(a, b, c, d, e)

main()
"""

CALLS = """\
def negative(number):
    return -number

class Middle:
    def __init__(self, *numbers):
        self.least = max(numbers, key=negative)

class Outer:
    def __init__(self):
        self.middle = Middle(1, 2)

def closure(step):
    before = 0
    def numbers():
        yield step
        yield step + 1
        before
    return numbers

def last():
    pass

def main():
    outer = Outer()
    made = closure(3)()
    a = 1
    b = 2
    c = next(made)
    d = next(made)
    e = sum(made)
    last()

main()
"""

Line = tuple[str, int]
LINES_OF_CALLS = [
    *[("<module>", 23), ("<module>", 33), ("main", 24), ("__init__", 10), ("__init__", 6), ("negative", 2)],
    *[("negative", 2), ("main", 25), ("closure", 13), ("closure", 14), ("closure", 18), ("main", 26), ("main", 27)],
    *[("main", 28), ("numbers", 15), ("main", 29), ("numbers", 16), ("main", 30), ("numbers", 17), ("main", 31)],
    ("last", 21),
]


def _skip_unless_known(interpreter: Interpreter) -> None:
    if not LONG and not interpreter.runs_pytest:
        pytest.skip("in the long run")


@pytest.fixture
def trace(interpreter: Interpreter, tmp_path: Path) -> Path:
    _skip_unless_known(interpreter)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    harness.record(tmp_path / "trace", interpreter.path, program)
    return tmp_path / "trace"


ARITHMETIC_FLAGS = 0x8D5
"""What the clock's trampoline leaves in them depends on the ticks to go; nothing reads them there (clock/tables.py)."""


def _registers(session: ReplaySession, task: int) -> dict[str, int]:
    found = session.registers(task)
    return {**found, "eflags": found["eflags"] | ARITHMETIC_FLAGS}


def _assert_same_registers(session: ReplaySession, task: int, there: list[Place], back: list[Place]) -> None:
    for one, other in zip(there, back, strict=True):
        session.go(one)
        registers = _registers(session, task)
        session.go(other)
        assert _registers(session, task) == registers


def _line(session: ReplaySession, task: int) -> Line:
    frame = Thread(session, task).top()
    assert frame is not None
    return frame.function.rpartition(".")[2], Thread(session, task).lines(frame).line(frame.offset)


def _walk(session: ReplaySession, task: int, move: Callable[[], bool], count: int) -> list[tuple[Line, Place]]:
    seen: list[tuple[Line, Place]] = []
    while True:
        seen.append((_line(session, task), session.simplified(session.place)))
        if len(seen) == count:
            return seen
        if not move():
            session.go(seen[-1][1])
            return seen


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("start", ["program.py:37", "program.py:45"] if LONG else ["program.py:37"])
def test_steps_back_retrace_those_forward(start: str, trace: Path) -> None:
    """Through generators, functions that C code calls, comprehensions, exceptions."""
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        session.seek(start)
        task = session.midway
        way = LineWay(session, task)
        there = _walk(session, task, way.step, 300 if LONG else 45)
        back = _walk(session, task, way.rstep, len(there))
        assert [line for line, _ in back] == [line for line, _ in reversed(there)]
        functions = {line[0] for line, _ in there}
        if start.endswith("37"):
            assert functions >= {"main", "gen", "key", "__init__", "recurse"}


@pytest.mark.timeout(300)
def test_steps_back_into_what_c_code_has_called(interpreter: Interpreter, tmp_path: Path) -> None:
    """Calls within calls from C, each the last thing of its function; generators that are made long before they run."""
    _skip_unless_known(interpreter)
    (tmp_path / "calls.py").write_text(CALLS)
    harness.record(tmp_path / "trace", interpreter.path, tmp_path / "calls.py")
    with TraceReader(tmp_path / "trace") as reader, ReplaySession(reader) as session:
        session.seek("calls.py:23")
        task = session.midway
        way = LineWay(session, task)
        there = _walk(session, task, way.step, len(LINES_OF_CALLS))
        assert [line for line, _ in there] == LINES_OF_CALLS
        back = _walk(session, task, way.rstep, len(there))
        assert [line for line, _ in back] == [line for line, _ in reversed(there)]
        _assert_same_registers(session, task, [place for _, place in there], [place for _, place in reversed(back)])
        for move in (way.rnext, way.rleave):
            session.seek("calls.py:15")
            assert move(0)
            assert _line(session, task) == ("main", 28)


SIGNALS = """\
import os, signal, threading

caught = []

def handler(number, frame):
    os.getppid()
    caught.append(number)

def spin(turn, count):
    while len(caught) < count:
        turn += 1
    return turn

def work(path):
    os.stat(path)
    spin(1, 2)
    os.stat(path)

def main():
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    spin(0, 1)
    thread = threading.Thread(target=work, args=("/",))
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    spin(2, 2)
    thread.join()
    os.kill(os.getpid(), signal.SIGALRM)
    return 0

main()
"""


@pytest.fixture
def signals(interpreter: Interpreter, tmp_path: Path) -> Path:
    _skip_unless_known(interpreter)
    (tmp_path / "signals.py").write_text(SIGNALS)
    harness.record(tmp_path / "trace", interpreter.path, tmp_path / "signals.py")
    return tmp_path / "trace"


@pytest.mark.timeout(3600 if LONG else 300)
def test_steps_over_signals_and_thread_switches(signals: Path) -> None:
    """Handlers that come amid a loop, and behind a call; while two threads take turns, too. All registers are the same
    at each line, in either direction."""
    with TraceReader(signals) as reader, ReplaySession(reader) as session:
        main = reader.event(0).task
        for position in ("signal:SIGALRM", "signal:SIGALRM#2", "signal:SIGALRM#3"):
            session.seek(position)
            way = LineWay(session, main)
            assert way.rstep()
            there = _walk(session, main, way.step, 24)
            back = _walk(session, main, way.rstep, len(there))
            assert [line for line, _ in back] == [line for line, _ in reversed(there)]
            assert ("handler", 7) in [line for line, _ in there]
            _assert_same_registers(session, main, [place for _, place in there], [place for _, place in reversed(back)])


@pytest.mark.timeout(3600 if LONG else 300)
def test_bytecodes_are_met_backward_as_forward(signals: Path) -> None:
    """Every instruction of a frame, with a handler amid them and system calls, whatever span they are looked for in."""
    with TraceReader(signals) as reader, ReplaySession(reader) as session:
        session.seek("signal:SIGALRM")
        event = session.next_event()
        assert event is not None
        way, thread = LineWay(session, event.task), Thread(session, event.task)
        assert way.rstep()
        start, top, interpreter = session.simplified(session.place), thread.top(), thread.interpreter()
        assert top is not None
        assert interpreter is not None
        word = Trap(*interpreter.instruction_word(top.address), "write", event.task)
        forward: list[tuple[Place, dict[str, int]]] = []
        while len(forward) < (120 if LONG else 50) and session.run_to([word]):
            registers = _registers(session, event.task)
            forward.append((session.simplified(session.place), registers))
        backward: list[Place] = []
        for first, last in spans(session, forward[-1][0], start.position - 1, event.task):
            for _, hits in hits_of(session, [word], first, last):
                backward += [hit.place for hit in reversed(hits)]
            if start in backward:
                break
        assert backward[: backward.index(start)] == [place for place, _ in forward[-2::-1]]
        for place, registers in reversed(forward):
            session.go(place)
            assert _registers(session, event.task) == registers


@pytest.mark.timeout(3600 if LONG else 300)
def test_next_stays_in_its_frame(trace: Path) -> None:
    """Also where an exception comes through seven frames, and other threads run."""
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        session.seek("program.py:37")
        task = session.midway
        way = LineWay(session, task)
        there = _walk(session, task, lambda: way.next(0), 18)
        lines = [line for (function, line), _ in there if function == "main"]
        assert lines == [37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 47, 48, 47, 49, 50, 49]
        back = _walk(session, task, lambda: way.rnext(0), len(there))
        assert [line for line, _ in back] == [line for line, _ in reversed(there)]


LOOP = """\
import os

def inner(value):
    return value % 7

def work(turns):
    total = 0
    for turn in range(turns):
        total += turn
        if inner(turn) == 3:
            total -= 1
    last = total
    return last

os.getppid()
work(20_000)
"""


def test_back_into_a_long_loop_without_events(interpreter: Interpreter, tmp_path: Path) -> None:
    """Ticks bound the search: a look at all that the loop does would take minutes. The places are those of the way
    forward."""
    _skip_unless_known(interpreter)
    (tmp_path / "loop.py").write_text(LOOP)
    harness.record(tmp_path / "trace", interpreter.path, tmp_path / "loop.py")
    with TraceReader(tmp_path / "trace") as reader, ReplaySession(reader) as session:
        session.seek("loop.py:12")
        task = session.midway
        assert (session.ticks or 0) > 20_000
        way = LineWay(session, task)
        back = _walk(session, task, way.rstep, 12)
        last = [("work", 8), ("inner", 4), ("work", 10), ("work", 9)] * 3
        assert [line for line, _ in back] == [("work", 12), *last[:11]]
        there = _walk(session, task, way.step, 12)
        assert [line for line, _ in there] == [line for line, _ in reversed(back)]
        _assert_same_registers(session, task, [place for _, place in there], [place for _, place in reversed(back)])
