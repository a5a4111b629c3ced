"""Places between two events, by debug registers: hits are counted, and a place is the same each time."""

from __future__ import annotations

import random
from pathlib import Path

import harness
from harness import Interpreter

from pyrr_debugger.replayer.place import interpreter_of, python_thread
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Place, Trap
from pyrr_debugger.trace_reader import TraceReader

PROGRAM = """
import os
def f(x):
    return x + 1
def main():
    os.write(1, b"start\\n")
    for i in range(100):
        y = f(i)
        z = y * 2
        if i == 50:
            os.write(1, b"middle\\n")
    os.write(1, b"end\\n")
main()
"""


def test_hits_are_places(interpreter: Interpreter, tmp_path: Path) -> None:
    """Of the words of a frame and of its code, in each direction; across an event."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    harness.record(tmp_path / "trace", interpreter.path, program)
    with TraceReader(tmp_path / "trace") as trace, ReplaySession(trace) as session:
        session.seek("output:/^start/")
        start, task = session.position, session.tasks[0]
        reader = interpreter_of(session, task)
        thread = python_thread(session, task)
        assert reader
        assert thread
        frame = thread.frames[0]
        assert frame.function == "main"
        code = reader.reader().code(frame.code)
        first = next(start for start, _, line in code.spans() if line == 8)
        of_frame = Trap(*reader.instruction_word(frame.address), "write", task)
        of_code = Trap(code.words + first, 2)
        hits = session.hits([of_frame, of_code], Place(trace.count))
        offsets = [reader.offset_of(code, hit.value) for hit in hits if hit.index == 0]
        # Once more where the instruction specialises itself.
        assert 100 <= sum(offset == first for offset in offsets) <= 103
        assert {hit.place.position for hit in hits if hit.index == 0} >= {start + 1, start + 2}
        choice = random.Random(0)
        seen: dict[Place, str] = {}
        own = [hit.place for hit in hits if hit.index == 0]
        for place in [*own[:3], *choice.sample(own, 6), *own[:3]]:
            session.go(place)
            assert session.midway == task
            assert session.stop(task) == "trap"
            assert session.place == place
            sum_ = session.memory_checksum(task)
            assert seen.setdefault(place, sum_) == sum_
        assert len(set(seen.values())) == len(seen)
        # On from a place: to the next one, in two legs, which are one.
        session.go(own[0])
        assert session.run_to([of_code]) == [0]
        assert len(session.place.legs) == 2
        here = session.memory_checksum(task)
        simple = session.simplified(session.place)
        assert len(simple.legs) == 1
        assert session.memory_checksum(task) == here
        session.seek(0)
        session.go(simple)
        assert session.memory_checksum(task) == here
        # A run that is finished stands at the position itself.
        session.seek(start + 1)
        rest = session.memory_checksum(task)
        session.go(own[0])
        session.seek(start + 1)
        assert (session.midway, session.memory_checksum(task)) == (0, rest)
        session.seek(trace.count)
        assert session.position == trace.count
