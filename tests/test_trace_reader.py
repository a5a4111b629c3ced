"""A trace can be read with msgpack and zstandard alone, by docs/trace-format.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
import pytest
from harness import Interpreter, Surroundings


def read_trace(trace: Path) -> list[dict[str, Any]]:
    """The syscall events of a trace, with keys event, name, result and more. Imports nothing of pyrr."""
    # TODO: write this from docs/trace-format.md when it exists, in 30 lines, with msgpack and zstandard only.
    pytest.skip("docs/trace-format.md does not exist yet")


def test_trace_is_readable_without_pyrr(
    one_interpreter: Interpreter, around: Surroundings, trace: Path
) -> None:
    """A reader of 30 lines finds the same events as `pyrr dump --json`, and the program's output in them."""
    harness.record(trace, one_interpreter.path, "-c", "print('a quite special text')", around=around)
    events = read_trace(trace)
    keys = ("event", "name", "result")
    calls = [event for event in harness.dump(trace) if event["kind"] == "syscall"]
    dumped = [{key: event[key] for key in keys} for event in calls]
    assert [{key: event[key] for key in keys} for event in events] == dumped
    assert len(dumped) > 100
    assert any("a quite special text" in str(event) for event in events)
