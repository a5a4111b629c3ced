"""How long it takes to come to a place of a long trace, and to ask there: python bench/latency.py TRACE [--positions N]

TRACE has checkpoints on disk (`pyrr checkpoint`); a long one is made by

    pyrr record -o TRACE python bench/cases.py
    pyrr checkpoint TRACE

Each position is opened in a session of its own, and by the command. There, steps back are made by lines, within the
frame, by events and by instructions, and an expression is evaluated. The first of each is told apart: it reads the
interpreter's file, and leaves checkpoints for the others. Against the medians stands full re-execution: half of a
replay from start to end. It judges nothing.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.replayer import native
from pyrr_debugger.replayer.debugger import Debugger
from pyrr_debugger.replayer.evaluation import evaluate
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

PYRR = str(Path(sys.executable).parent / "pyrr")
STEPS = 5
EXPRESSION = "[name for name in globals()][:3]"
OPENINGS = ("open, API", "open, `pyrr replay --to`")
MOVES = ("evaluate", "rstep", "rnext", "event back", "instruction back")


class Times:
    """Seconds that moves took, by their name."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {}

    def take(self, name: str, move: Callable[[], object]) -> None:
        began = time.perf_counter()
        move()
        self.of.setdefault(name, []).append(time.perf_counter() - began)


def look(trace: Path, position: int, times: Times) -> None:
    """All moves at one position."""
    began = time.perf_counter()
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        session.seek(position)
        times.of.setdefault("open, API", []).append(time.perf_counter() - began)
        debugger = Debugger(session)
        stack = debugger.stack()
        with suppress(PyrrError):  # where a lock is held that it needs
            for number in range(STEPS + 1):
                times.take("evaluate" + ", first" * (not number), lambda: evaluate(session, stack, 0, EXPRESSION))
        for name, move in (
            ("rstep", lambda: debugger.step(backward=True)),
            ("rnext", lambda: debugger.next(backward=True)),
            ("event back", lambda: debugger.seek(session.position - 1)),
            ("instruction back", lambda: native.step_back(session, debugger.task)),
        ):
            session.seek(position)
            debugger.look()
            for number in range(STEPS + 1):
                times.take(name + ", first" * (not number), move)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--positions", type=int, default=20)
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args()
    times = Times()
    with TraceReader(arguments.trace) as reader:
        count = reader.count
        began = time.perf_counter()
        with ReplaySession(reader, checkpoints=False) as session:
            session.run()
        whole = time.perf_counter() - began
    chance = random.Random(arguments.seed)
    for position in chance.sample(range(1, count), arguments.positions):
        command = [PYRR, "replay", str(arguments.trace), "--to", str(position)]
        times.take(OPENINGS[1], lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))  # noqa: B023
        look(arguments.trace, position, times)
    table = Table(title=f"{arguments.trace.name}: {count} events, re-executed in {whole:.1f} s")
    for title in ("move", "times", "median, ms", "slowest, ms", "of re-execution"):
        table.add_column(title, justify="left" if title == "move" else "right")
    for name in (*OPENINGS, *(name + part for name in MOVES for part in (", first", ""))):
        found = times.of.get(name, [])
        if found:
            median = statistics.median(found)
            cells = (len(found), f"{1000 * median:.0f}", f"{1000 * max(found):.0f}", f"1/{whole / 2 / median:.0f}")
            table.add_row(name, *map(str, cells))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
