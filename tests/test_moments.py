"""Signals and switches amid computation (tests/moments.py): each case recorded again and again on every interpreter,
and each recording replayed three times, outputs and memory compared.

With PYRR_LONG=1 twenty times; what is done is noted in the folder PYRR_RESULTS, if that is given, so that a run that
was broken off goes on. All cases are recorded once before any is recorded twice.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings

from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

PROGRAM = Path(__file__).resolve().parent / "moments.py"
INTERRUPTED = ["loop", "comprehension", "generators", "recursion", "race", "expression", "sleep", "numpy"]
CASES = [*INTERRUPTED, "timer", "watchdog", "alarm", "threads_2", "threads_8", "threads_64"]
RECORDINGS, REPLAYS = 20 if LONG else 0, 3
STATUS = {**dict.fromkeys(INTERRUPTED, 130), "alarm": 128 + signal.SIGALRM}
RESULTS = os.environ.get("PYRR_RESULTS")


@pytest.fixture(autouse=True)
def heeded_interrupts() -> None:
    """In the background jobs of a script SIGINT is ignored, and what they start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def record(trace: Path, case: str, python: Path, around: Surroundings, chance: random.Random) -> harness.Result:
    """Records a case; one that waits for it gets its SIGINT, with or without its recorder, as from a terminal."""
    words = harness.record_words(trace, python, PROGRAM, case)
    if case not in INTERRUPTED:
        return harness.run(words, around)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with harness.started(words, **streams, **around.popen_options()) as process:
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.3))
        if chance.random() < 0.5:
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(int(first.split()[1]), signal.SIGINT)
        out, err = process.communicate(timeout=around.timeout)
        return harness.Result(words, first + out, err, process.returncode)


def assert_replayed(trace: Path, recorded: harness.Result) -> None:
    with TraceReader(trace) as reader:
        out, err = (os.memfd_create(name) for name in ("out", "err"))
        try:
            with ReplaySession(reader, out, err, verify=True) as session:
                session.run()
                verification = session.verification
            written = [os.pread(stream, 1 << 26, 0) for stream in (out, err)]
        finally:
            os.close(out)
            os.close(err)
    assert written == [recorded.stdout, recorded.stderr]
    assert verification
    assert verification.checksums > 0
    assert (verification.differing_bytes, verification.first) == (0, None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("turn", range(RECORDINGS), scope="session")
def test_moments(
    turn: int,
    case: str,
    interpreter: Interpreter,
    around: Surroundings,
    trace: Path,
    with_package: Callable[[Interpreter, str], Path],
) -> None:
    done = Path(RESULTS, f"{case}-{interpreter.name}-{turn}") if RESULTS else None
    if done and done.exists():
        pytest.skip("done")
    python = with_package(interpreter, "numpy") if case == "numpy" else interpreter.path
    chance = random.Random(f"{case} {interpreter.name} {turn}")
    recorded = record(trace, case, python, around, chance)
    assert recorded.status == STATUS.get(case, 0), str(recorded)
    for _ in range(REPLAYS):
        assert_replayed(trace, recorded)
    shutil.rmtree(trace)
    if done:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
