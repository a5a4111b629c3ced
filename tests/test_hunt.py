"""`pyrr hunt` on programs with one concurrency bug each (tests/races)."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from harness import LONG, PYRR, Interpreter, Surroundings, interpreters, record, run, started

from pyrr_debugger.events import ExitEvent, SyscallEvent, TickEvent
from pyrr_debugger.hunt.course import NOT_OWN, stops
from pyrr_debugger.hunt.minimise import AT_CALL, AT_SLEEP
from pyrr_debugger.hunt.runs import Recorder
from pyrr_debugger.hunt.search import lines_of
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

RACES = Path(__file__).resolve().parent / "races"
QUICK = ["check_then_act"]
"""Those of the plain test run; PYRR_LONG=1 hunts all."""
ALL = sorted(path.stem for path in RACES.glob("*.py"))
REPLAYS = 20 if LONG else 1
SEED = 0
GETXATTR = 191


def own_interpreter() -> Interpreter:
    return next(it for it in interpreters() if it.runs_pytest)


def hunt(tmp_path: Path, *words: str, status: int = 0) -> dict[str, Any]:
    result = run([PYRR, "hunt", "--json", "--keep", tmp_path / "kept", *words], Surroundings(timeout=600))
    assert result.status == status, result
    facts = json.loads(result.stdout)
    assert isinstance(facts, dict)
    return facts


@pytest.mark.parametrize("name", ALL if LONG else QUICK)
def test_bug_is_found_and_its_lines_are_named(tmp_path: Path, name: str) -> None:
    program = RACES / f"{name}.py"
    decisive = [n for n, line in enumerate(program.read_text().split("\n"), 1) if line.endswith("# decides")]
    facts = hunt(tmp_path, "--seed", str(SEED), "--", str(own_interpreter().path), str(program))
    assert facts["found"], facts
    assert facts["smallest"]["switches"] <= 4, facts
    for place in facts["order"].values():
        assert (place["file"], place["line"] in decisive) == (str(program), True), facts["order"]
    for trace in (facts["trace"], facts["smallest"]["trace"]):
        first = run([PYRR, "replay", trace])
        assert facts["hung"] or (facts["exception"] or "").encode() in first.stderr, first
        for _ in range(REPLAYS - 1):
            assert run([PYRR, "replay", trace]) == first


def test_worker_of_a_pool_is_named_by_the_line_that_started_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as pool:\n"
        "    done = pool.submit(os.getxattr, '.', 'user.none')\n"
        "print(done.exception())\n"
    )
    record(tmp_path / "trace", own_interpreter().path, program)
    with TraceReader(tmp_path / "trace") as trace, ReplaySession(trace) as session:
        call = next(e for e in trace.events() if isinstance(e, SyscallEvent) and e.nr == GETXATTR)
        lines = lines_of(trace, session, call.number, call.task)
    assert [line.function for line in lines if line.function.startswith("Thread.")][:1] == ["Thread.run"]
    assert next((line.file, line.line) for line in lines if line.is_own) == (str(program), 4)


@pytest.mark.parametrize("taken", ["kept", "kept-smallest"])
def test_trace_that_is_there_is_not_replaced(tmp_path: Path, taken: str) -> None:
    """Said before anything is recorded."""
    (tmp_path / taken).mkdir()
    result = run([PYRR, "hunt", "--keep", tmp_path / "kept", "--", "/bin/false"])
    assert result.status == 2
    assert f"{tmp_path / taken} exists already".encode() in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / taken]


def test_program_that_does_not_fail_is_not_found(tmp_path: Path) -> None:
    assert hunt(tmp_path, "--runs", "2", "--", "/bin/true", status=1) == {"found": False, "recordings": 2}
    assert list(tmp_path.iterdir()) == [], "nothing is left"


def test_what_fails_in_any_order_needs_no_switch(tmp_path: Path) -> None:
    facts = hunt(tmp_path, "--until", "3", "--", "/bin/sh", "-c", "exit 3")
    assert (facts["status"], facts["smallest"]["switches"], facts["order"]) == (3, 0, None)


def test_program_that_sleeps_for_good_hangs(tmp_path: Path) -> None:
    code = "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()"
    facts = hunt(
        tmp_path, "--until", "hang", "--hang", "2", "--no-minimise", "--", str(own_interpreter().path), "-c", code
    )
    assert facts["hung"], facts
    assert run([PYRR, "replay", facts["trace"]]).status == 0


def test_signal_ends_hunt_and_its_program(tmp_path: Path) -> None:
    """Nothing stays behind: no recorder, no program, no trace."""
    seen = tmp_path / "seen"
    code = f"import time; open({str(seen)!r}, 'w').close(); time.sleep(600)"
    words = [str(PYRR), "hunt", "--keep", str(tmp_path / "kept"), "--", str(own_interpreter().path), "-c", code]
    with started(words) as process:
        while not seen.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == [seen]


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_decisions_name_places_that_the_trace_has(tmp_path: Path, seed: int) -> None:
    """The scheduler counts a task's own calls as hunt/course.py does."""
    command = [str(own_interpreter().path), str(RACES / "check_then_act.py")]
    recording = Recorder(command, tmp_path, 60).record(seed=seed)
    with TraceReader(recording.path) as trace:
        there = {(stop.number, stop.course): stop.event for stop in stops(trace)}
        preemptions = [decided for decided in recording.decided if decided.preempts]
        assert preemptions
        for decided in preemptions:
            if decided.course & AT_CALL < AT_SLEEP:
                tick = trace.event(decided.event - 1)
                later = (event for event in trace.events() if event.number >= decided.event)
                call = next(event for event in later if event.task == decided.from_task)
                at_other_call = isinstance(call, SyscallEvent) and call.nr in NOT_OWN
                assert at_other_call or (isinstance(tick, TickEvent) and tick.task == decided.from_task)
                continue
            event = trace.event(there[decided.task, decided.course])
            assert event.task == decided.from_task
            assert event.number >= decided.event
            assert isinstance(event, SyscallEvent | ExitEvent)
