"""A program that goes live runs its own code: nothing that recording has put there is left."""

from __future__ import annotations

from pathlib import Path

import harness
import pytest
from harness import Interpreter, Surroundings

PROGRAM = """
print("recorded", flush=True)
print("resumed", flush=True)
print(sum(number for number in range(300_000)), flush=True)
"""


@pytest.mark.parametrize("options", [[], ["--no-agent"]], ids=["agent", "no-agent"])
def test_bytecodes_are_not_counted_any_more(
    interpreter: Interpreter, trace: Path, around: Surroundings, options: list[str]
) -> None:
    recording = harness.record(trace, interpreter.path, "-c", PROGRAM, around=around, options=options)
    assert recording.status == 0, str(recording)
    resumed = harness.pyrr("resume", trace, "--to", "output:/^resumed/", "--yes", around=around)
    assert resumed.status == 0, str(resumed)
    assert resumed.stdout == b"resumed\n44999850000\n"
