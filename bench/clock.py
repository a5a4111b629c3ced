"""What the bytecode clock costs: pyperformance's benchmarks, with it and without, in turns in one process.

    python bench/clock.py FOLDER [--seconds 6] [NAME ...]

FOLDER holds the benchmarks (pyperformance/data-files/benchmarks in its wheel; `pip download pyperformance`). Each is a
process of its own. It has the words of the interpreter's dispatch table lead to trampolines like the agent's, and back,
about ten times a second, so that what else the machine does meets both ways alike; the ratio is that of the processor
time of all turns. Needs nothing but the standard library: a stand-in for pyperf takes the benchmarks' functions.
"""

from __future__ import annotations

import argparse
import re
import runpy
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyrr_debugger.clock import places_in
from pyrr_debugger.clock.calibration import Clock

NAMES = [
    *("chaos", "comprehensions", "coroutines", "deltablue", "fannkuch", "float", "generators", "go", "hexiom"),
    *("json_dumps", "json_loads", "logging", "nbody", "nqueens", "pickle_pure_python", "pidigits", "pyflate"),
    *("raytrace", "regex_compile", "regex_effbot", "richards", "scimark", "spectral_norm", "telco", "unpack_sequence"),
]
"""Those that need no package."""

_TURN = 0.05  # seconds


def own_clock() -> Clock:
    """The ticking words of this very process."""
    maps = Path("/proc/self/maps").read_text()
    code = re.findall(r"^(\w+)-\w+ r-xp (\w+) \S+ \d+ +(\S*python3\S*)$", maps, re.MULTILINE)
    found = [(int(start, 16), places_in(Path(file).read_bytes(), int(offset, 16))) for start, offset, file in code]
    start, places = next((start, places) for start, places in found if places)
    return Clock(start, [(place.place, place.target) for place in places if not place.moved])


def measure(run: Callable[[int], float], seconds: float) -> tuple[float, float, int]:
    """The processor time of all turns without the clock, and with it; and the ticks."""
    clock = own_clock()
    rounds = 1
    while (spent := run(rounds)) < _TURN:
        rounds = max(rounds + 1, min(rounds * 10, int(rounds * _TURN / max(spent, 1e-6) * 1.2)))
    times = [0.0, 0.0]
    turn = 0
    while sum(times) < seconds or turn % 4:
        on = turn % 4 in (1, 2)  # off, on, on, off
        clock.turn(on)
        times[on] += run(rounds)
        turn += 1
    clock.turn(False)
    return times[0], times[1], clock.ticks


class Runner:
    """In the place of pyperf's."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.argparser = argparse.ArgumentParser()
        self.metadata: dict[str, Any] = {}
        self.args: Any = None

    def parse_args(self, *_: Any) -> Any:
        self.args = self.argparser.parse_args([])
        return self.args

    def bench_func(self, _: str, function: Callable[..., Any], *args: Any, **__: Any) -> None:
        def run(rounds: int) -> float:
            start = time.process_time()
            for _ in range(rounds):
                function(*args)
            return time.process_time() - start

        self._report(run)

    def bench_time_func(self, _: str, function: Callable[..., float], *args: Any, **__: Any) -> None:
        self._report(lambda rounds: function(rounds, *args))

    def _report(self, run: Callable[[int], float]) -> None:
        print("RESULT", *measure(run, float(sys.argv.pop())), flush=True)
        raise SystemExit


def run_one(program: Path, seconds: str) -> None:
    stand_in: Any = types.ModuleType("pyperf")
    stand_in.Runner, stand_in.perf_counter = Runner, time.process_time
    sys.modules["pyperf"] = stand_in
    sys.argv = [str(program), seconds]
    sys.path.insert(0, str(program.parent))
    runpy.run_path(str(program), run_name="__main__")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", default="6")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.one:
        run_one(options.folder, options.seconds)
        return
    ratios = []
    for name in options.names or NAMES:
        program = options.folder / f"bm_{name}" / "run_benchmark.py"
        words = [sys.executable, __file__, "--one", "--seconds", options.seconds, str(program)]
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        found = re.search(r"^RESULT (\S+) (\S+) (\d+)", result.stdout, re.MULTILINE)
        if not found:
            print(f"{name:20} does not run: {result.stderr[-200:]}")
            continue
        bare, clocked, ticks = float(found[1]), float(found[2]), int(found[3])
        ratios.append(clocked / bare)
        print(f"{name:20} {ratios[-1]:6.3f}  {ticks / clocked / 1e6:6.1f} million ticks a second", flush=True)
    if ratios:
        mean = statistics.geometric_mean(ratios)
        print(f"{len(ratios)} benchmarks: geometric mean {mean:.3f}, worst {max(ratios):.3f}")


if __name__ == "__main__":
    main()
