"""By how much a thread that sleeps wakes too late beside N that compute, recorded and bare: medians of all naps of all
rounds (naps.py), in turns.

    python bench/fairness.py [N ...] [--rounds 5] [--milliseconds 10]

The lowest and the highest median of a round stand beside them. Bare, two threads and naps of 10 ms may fall into step
for a whole round: the interpreter's lock is handed over every 5 ms, just as the one that sleeps wakes, and it waits for
0.2 to 0.5 ms instead of 5. It judges nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

PYRR = str(Path(sys.executable).parent / "pyrr")
NAPS = str(Path(__file__).with_name("naps.py"))


def lateness(command: list[str]) -> list[float]:
    """Of each nap, in milliseconds."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return [1000 * float(line) for line in done.stdout.split()]


def flatten(rounds: list[list[float]]) -> list[float]:
    return [late for naps in rounds for late in naps]


def describe(rounds: list[list[float]]) -> str:
    medians = [statistics.median(naps) for naps in rounds]
    return f"{statistics.median(flatten(rounds)):.2f} ({min(medians):.2f} to {max(medians):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="By how much a sleeper wakes too late beside threads that compute.")
    parser.add_argument("threads", nargs="*", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=int, default=10)
    options = parser.parse_args()
    table = Table("threads", "bare, ms", "recorded, ms", "ratio")
    for count in options.threads:
        bare: list[list[float]] = []
        recorded: list[list[float]] = []
        program = [sys.executable, NAPS, str(count), str(options.milliseconds)]
        for _ in range(options.rounds):
            bare.append(lateness(program))
            with tempfile.TemporaryDirectory() as folder:
                recorded.append(lateness([PYRR, "record", "-o", f"{folder}/trace", *program]))
        ratio = statistics.median(flatten(recorded)) / statistics.median(flatten(bare))
        table.add_row(str(count), describe(bare), describe(recorded), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
