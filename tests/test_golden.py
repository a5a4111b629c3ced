"""Traces of every released format are read as they were on the day they were made (tests/make_golden.py)."""

from __future__ import annotations

from pathlib import Path

import harness
import pytest
from harness import Surroundings

from pyrr_debugger import _engine, cpu
from pyrr_debugger.trace_format import READABLE
from pyrr_debugger.trace_reader import TraceReader

TRACES = Path(__file__).resolve().parent.parent / "traces"
GOLDEN = sorted(path.name for path in TRACES.glob("format-*") if path.suffix != ".expected")
AROUND = Surroundings(env={"COLUMNS": "80"}, cwd=TRACES)


def expected(name: str, what: str) -> bytes:
    return (TRACES / f"{name}.expected" / what).read_bytes()


def test_every_readable_format_has_a_golden_trace() -> None:
    assert [f"format-{version}" for version in READABLE] == GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("command", ["dump", "info"])
def test_golden_trace_is_read(name: str, command: str) -> None:
    """To the letter."""
    result = harness.pyrr(command, name, around=AROUND)
    assert result.status == 0, str(result)
    assert not harness.difference(expected(name, command), result.stdout), str(result)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_trace_is_replayed_or_refused(name: str) -> None:
    """On a processor like the recorded one it replays; on another one it is refused with the reason."""
    with TraceReader(TRACES / name) as trace:
        recorded = cpu.CpuFeatures.from_wire(trace.header["cpu"])
    problems = cpu.compatible(recorded, cpu.features(_engine.cpuid, _engine.xgetbv()))
    result = harness.pyrr("replay", name, around=AROUND)
    verified = harness.pyrr("verify", name, around=AROUND)
    if problems:
        assert (result.status, verified.status) == (2, 2), str(result)
        assert result.stdout == b""
        assert b"another processor" in result.stderr, str(result)
        assert problems[0].encode() in result.stderr, str(result)
    else:
        assert result.status == 0, str(result)
        assert (result.stdout, result.stderr) == (expected(name, "stdout"), expected(name, "stderr"))
        harness.assert_verified(verified)
