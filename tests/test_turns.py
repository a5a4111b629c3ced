"""What the order of turns is seen by, from inside and from outside of a recording."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import harness
import pytest
from conftest import WAYS
from harness import Interpreter, victim

BOTH_WAYS = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)


@BOTH_WAYS
def test_who_yields_lets_the_other_go_on(options: tuple[str, ...], compiled: Callable[..., Path], trace: Path) -> None:
    """At once, not one call later."""
    program = compiled("yields_in_turn", "-pthread")
    recorded = harness.run(harness.record_words(trace, program, options=options))
    assert recorded.status == 0, str(recorded)
    order = recorded.stdout.split()[1].decode()
    assert order.count("A") == order.count("B") == 50
    assert order.count("AA") + order.count("BB") <= 1, order
    harness.assert_same_output(recorded, harness.replay(trace))


@BOTH_WAYS
@pytest.mark.parametrize("merged", [False, True])
def test_writers_that_sleep_are_replayed_in_the_order_that_a_reader_saw(
    merged: bool, options: tuple[str, ...], one_interpreter: Interpreter, trace: Path
) -> None:
    words = harness.record_words(trace, one_interpreter.path, victim("full_pipe"), options=options)
    output = b""
    stderr = subprocess.STDOUT if merged else subprocess.DEVNULL
    with harness.started(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr) as process:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        while part := os.read(process.stdout.fileno(), 3000):
            output += part
            time.sleep(0.001)
    assert process.returncode == 0
    assert output.count(b"\n") == 1600
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    assert replayed.stdout == output
