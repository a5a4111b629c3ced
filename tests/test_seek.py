"""Sessions that move forward and backward: every position is the same, however it was come to."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.events import Event, SyscallEvent
from pyrr_debugger.replayer.position import Occurrence
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

POSITIONS = 100 if LONG else 15
MANY_KINDS = [
    "deep_recursion",
    "fault_handler",
    "mapped_files",
    "memory_management",
    "process_tree",
    "shared_memory",
    "signal_handler",
    "sqlite_database",
    "subprocess_output",
    "threads_queue",
    "time_stamp_counter",
]

Look = dict[int, tuple[dict[str, int], str, str]]


def look(session: ReplaySession) -> Look:
    """All that is compared of a position: registers, stop and memory of every task."""
    tasks = session.tasks
    return {task: (session.registers(task), session.stop(task), session.memory_checksum(task)) for task in tasks}


def chance() -> random.Random:
    """Chance that can be repeated: the seed is printed, and taken from $PYRR_SEED."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def recorded_by(tmp_path: Path) -> Iterator[Callable[[Interpreter, str], TraceReader]]:
    """Records a victim with an interpreter and opens its trace."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    readers = []

    def record(interpreter: Interpreter, name: str) -> TraceReader:
        around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
        harness.record(tmp_path / name, interpreter.path, victim(name), around=around)
        readers.append(TraceReader(tmp_path / name))
        return readers[-1]

    yield record
    for reader in readers:
        reader.__exit__()


@pytest.fixture
def recorded(
    one_interpreter: Interpreter, recorded_by: Callable[[Interpreter, str], TraceReader]
) -> Callable[[str], TraceReader]:
    """Records a victim and opens its trace."""
    return partial(recorded_by, one_interpreter)


def seek_at_random(trace: TraceReader) -> None:
    """Random positions, come to from before and from behind, are those of a replay that only went forward."""
    choice = chance()
    where = [choice.randrange(trace.count + 1) for _ in range(POSITIONS)]
    seen: dict[int, Look] = {}
    with ReplaySession(trace) as session:
        for position in [trace.count, *where, *reversed(where)]:
            session.seek(position)
            assert session.position == position
            assert seen.setdefault(position, look(session)) == look(session), position
    with ReplaySession(trace) as session:
        for position in sorted(seen):
            session.run(position)
            assert seen[position] == look(session), position


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", MANY_KINDS)
def test_seeking_is_replaying(name: str, recorded: Callable[[str], TraceReader]) -> None:
    seek_at_random(recorded(name))


@pytest.mark.skipif(not LONG, reason="one interpreter will do")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["signal_in_computation", "subprocess_output", "threads_queue"])
def test_seeking_on_every_interpreter(
    name: str, interpreter: Interpreter, recorded_by: Callable[[Interpreter, str], TraceReader]
) -> None:
    seek_at_random(recorded_by(interpreter, name))


def test_steps_backward_retrace_those_forward(recorded: Callable[[str], TraceReader]) -> None:
    """Across thread switches and signals."""
    for name in ("threads_queue", "signal_handler"):
        trace = recorded(name)
        with ReplaySession(trace) as session:
            session.seek("50%")
            forward = []
            for _ in range(40):
                forward.append((session.position, look(session)))
                session.seek(session.position + 1)
            for position, seen in reversed(forward):
                session.seek(session.position - 1)
                assert (session.position, look(session)) == (position, seen)


def test_looking_changes_nothing(recorded: Callable[[str], TraceReader]) -> None:
    """A replay that went to and fro ends as the recording did, to the last byte."""
    trace, choice = recorded("threads_queue"), chance()
    with ReplaySession(trace, verify=True) as session:
        for _ in range(POSITIONS):
            session.seek(choice.randrange(trace.count))
        session.seek("end")
        assert session.verification is not None
        assert session.verification.checksums
        assert session.verification.first is None


def test_a_budget_is_kept(recorded: Callable[[str], TraceReader], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for checkpoints positions are the same, and only the first and the present one are kept."""
    monkeypatch.setattr("pyrr_debugger.replayer.session._SMALLEST_GAP", 0.0)
    trace = recorded("threads_queue")
    with ReplaySession(trace) as session:
        for position in ("end", "25%", "75%", "50%"):
            session.seek(position)
        expected = look(session)
        assert len(session.checkpoints) > 2
    with ReplaySession(trace, checkpoint_memory=0) as session:
        for position in ("end", "25%", "75%", "50%"):
            session.seek(position)
        assert look(session) == expected
        assert len(session.checkpoints) <= 2


def test_nothing_is_left_behind(recorded: Callable[[str], TraceReader]) -> None:
    def children() -> set[str]:
        gc.collect()
        return set(Path("/proc/thread-self/children").read_text().split())

    trace, before = recorded("process_tree"), children()
    with ReplaySession(trace) as session:
        for position in ("end", "20%", "60%", "start", "80%"):
            session.seek(position)
        assert len(session.checkpoints) > 1
        pids = {pid for checkpoint in session.checkpoints for pid in checkpoint.processes}
        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    del session
    assert children() <= before


def test_positions_in_words(recorded: Callable[[str], TraceReader]) -> None:
    trace = recorded("signal_handler")
    with ReplaySession(trace) as session:
        session.seek("signal:SIGALRM#2")
        later = session.position
        session.seek("signal:SIGALRM")
        assert session.position < later
        with pytest.raises(PyrrError, match="outside of the trace"):
            session.seek(trace.count + 1)
        with pytest.raises(PyrrError, match="no position"):
            session.seek("somewhere")


def test_finding_events(recorded: Callable[[str], TraceReader]) -> None:
    trace = recorded("signal_handler")
    calls = [e.number for e in trace.events() if Occurrence("syscall", "rt_sigprocmask").matches(e)]
    with ReplaySession(trace) as session:
        found = []
        while (number := session.find(Occurrence("syscall", "rt_sigprocmask").matches)) is not None:
            session.seek(number)
            found.append(number)
        assert found == calls
        session.seek("end")
        back = []
        while (number := session.find(Occurrence("syscall", "rt_sigprocmask").matches, backward=True)) is not None:
            session.seek(number)
            back.append(number)
        assert back == calls[::-1]


def test_running_until_something_is_so(recorded: Callable[[str], TraceReader]) -> None:
    """A predicate that reads memory: the first and the last event at which a written buffer begins with `~`."""
    trace = recorded("long_output")

    def writes(event: Event | None) -> bool:
        return isinstance(event, SyscallEvent) and event.stream == 1

    numbers = [event.number for event in trace.events() if writes(event)]

    def is_at_line(session: ReplaySession, text: bytes) -> bool:
        if not writes(session.next_event()):
            return False
        return session.read(session.tasks[0], session.registers(session.tasks[0])["rsi"], 10).startswith(text)

    def at(text: bytes) -> Callable[[ReplaySession], bool]:
        return lambda session: is_at_line(session, text)

    with ReplaySession(trace) as session:
        session.seek(numbers[0])
        assert session.run_until(at(b"~ 17 "))
        assert session.position == numbers[17]
        session.seek(numbers[30])
        assert session.run_until(at(b"~ 17 "), backward=True)
        assert session.position == numbers[17]
        assert not session.run_until(at(b"~ 18 "), backward=True)
        assert session.position == 0
        session.seek(numbers[-1])
        assert not session.run_until(at(b"~ 18 "))
        assert session.position == trace.count


def test_memory_is_searched_and_mapped(recorded: Callable[[str], TraceReader]) -> None:
    """What is written lies in memory, where the call says so; files have their recorded names."""
    trace = recorded("steps")
    with ReplaySession(trace) as session:
        session.seek("output:/^end 3/")
        (task,) = session.tasks
        address = session.registers(task)["rsi"]
        assert address in list(session.search(task, b"end 3\n"))
        assert all(session.read(task, one, 6) == b"end 3\n" for one in session.search(task, b"end 3\n"))
        with pytest.raises(ValueError, match="empty"):
            next(session.search(task, b""))
        mappings = session.mappings(task)
        (at,) = [one for one in mappings if one.start <= address < one.end]
        assert at.prot & 2
        assert any(one.name == "[stack]" and one.start <= session.registers(task)["rsp"] < one.end for one in mappings)
        assert any(one.name.rpartition("/")[2].startswith("libc") and one.prot & 4 for one in mappings)
        assert not any("pyrr" in one.name for one in mappings)


def test_a_move_is_interrupted(recorded: Callable[[str], TraceReader]) -> None:
    """At a position on its way, from which one can go on."""
    trace = recorded("sqlite_database")
    with ReplaySession(trace) as session:
        session.interrupt()
        with pytest.raises(KeyboardInterrupt):
            session.seek("end")
        assert session.position < trace.count
        session.seek("50%")
        expected = look(session)
        timer = threading.Timer(0.01, session.interrupt)
        timer.start()
        with contextlib.suppress(KeyboardInterrupt):
            session.run_until(lambda _: False, backward=True)
            session.run_until(lambda _: False)
        timer.join()
        with contextlib.suppress(KeyboardInterrupt):
            session.seek("50%")
        session.seek("50%")
        assert look(session) == expected


def test_the_example_of_the_documentation(
    recorded: Callable[[str], TraceReader], capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the variables of a failure, and evaluates there."""
    trace = recorded("steps")
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    example = example.replace("/tmp/trace", str(trace.path)).replace("days + 1", "limit + 1")
    exec(compile(example, "docs/api.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["number = 4", "limit = 0", "1"]


def test_opening_and_closing_often(recorded: Callable[[str], TraceReader]) -> None:
    """Descriptors and processes of a session end with it."""
    trace = recorded("exit_status")
    counts: list[Any] = []
    for _ in range(4):
        with ReplaySession(trace) as session:
            session.seek("end")
            session.seek("50%")
        counts.append(len(os.listdir("/proc/self/fd")))
    assert len(set(counts)) == 1
