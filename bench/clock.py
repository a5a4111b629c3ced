"""What the bytecode clock costs: pyperformance's benchmarks, bare and recorded, in turns.

    python bench/clock.py FOLDER [--python PYTHON] [--runs 5] [NAME ...]

FOLDER holds the benchmarks (pyperformance/data-files/benchmarks in its wheel; `pip download pyperformance`). Each
program measures its own processor time, without the interpreter's start; two ratios are printed, of the medians and of
the fastest runs. Nothing but the standard library is needed: a stand-in for pyperf runs each benchmark's function as
often as fills some tenths of a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = [
    *("chaos", "comprehensions", "coroutines", "deltablue", "fannkuch", "float", "generators", "go", "hexiom"),
    *("json_dumps", "json_loads", "logging", "nbody", "nqueens", "pickle_pure_python", "pidigits", "pyflate"),
    *("raytrace", "regex_compile", "regex_effbot", "richards", "scimark", "spectral_norm", "telco", "unpack_sequence"),
]
"""Those that need no package."""

STAND_IN = """
import os, sys, time

_ROUNDS = int(os.environ["ROUNDS"])
_spent = 0.0


def perf_counter():
    return time.process_time()


class _Metadata(dict):
    pass


class Runner:
    def __init__(self, *args, **kwargs):
        import argparse
        self.argparser = argparse.ArgumentParser()
        self.metadata = _Metadata()
        self.args = None
        self._add = kwargs.get("add_cmdline_args")

    def parse_args(self, args=None):
        self.args = self.argparser.parse_args(args)
        return self.args

    def _done(self, seconds):
        global _spent
        _spent += seconds

    def bench_func(self, name, function, *args, **kwargs):
        start = time.process_time()
        for _ in range(_ROUNDS):
            function(*args)
        self._done(time.process_time() - start)

    def bench_time_func(self, name, function, *args, **kwargs):
        self._done(function(_ROUNDS, *args))

    def bench_async_func(self, name, function, *args, **kwargs):
        import asyncio
        start = time.process_time()
        for _ in range(_ROUNDS):
            asyncio.run(function(*args))
        self._done(time.process_time() - start)


def _report():
    with open(os.environ["RESULT"], "w") as file:
        file.write(str(_spent))


import atexit
atexit.register(_report)
"""

PYRR = Path(sys.executable).parent / "pyrr"


def measure(python: str, program: Path, rounds: int, folder: Path, recorded: bool) -> float:
    """Seconds of processor time of one run."""
    result = folder / "result"
    result.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(folder), "ROUNDS": str(rounds), "RESULT": str(result)}
    words = [python, str(program)]
    if recorded:
        words = [str(PYRR), "record", "-q", "-o", str(folder / "trace"), "--", *words]
    subprocess.run(words, env=environment, cwd=program.parent, check=True, stdout=subprocess.DEVNULL, timeout=600)
    subprocess.run(["rm", "-rf", str(folder / "trace")], check=True)
    return float(result.read_text())


def rounds_for(python: str, program: Path, folder: Path) -> int:
    """As many as fill some tenths of a second."""
    rounds = 1
    while (seconds := measure(python, program, rounds, folder, False)) < 0.2:
        rounds = max(rounds * 2, round(rounds * 0.3 / seconds)) if seconds > 0.01 else rounds * 20
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    ratios, fastest = [], []
    with tempfile.TemporaryDirectory(prefix="pyrr-bench") as name:
        folder = Path(name)
        (folder / "pyperf.py").write_text(STAND_IN)
        for benchmark in options.names or NAMES:
            program = options.folder / f"bm_{benchmark}" / "run_benchmark.py"
            try:
                rounds = rounds_for(options.python, program, folder)
                measured: dict[bool, list[float]] = {False: [], True: []}
                for _ in range(options.runs):
                    for recorded in (False, True):
                        measured[recorded].append(measure(options.python, program, rounds, folder, recorded))
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                print(f"{benchmark:20} does not run: {error}", flush=True)
                continue
            bare, with_clock = (statistics.median(measured[recorded]) for recorded in (False, True))
            ratios.append(with_clock / bare)
            fastest.append(min(measured[True]) / min(measured[False]))
            print(f"{benchmark:20} {bare:7.3f} s  {ratios[-1]:6.3f}  fastest {fastest[-1]:6.3f}", flush=True)
    if ratios:
        for name, found in (("medians", ratios), ("fastest", fastest)):
            mean = statistics.geometric_mean(found)
            print(f"{len(found)} benchmarks, {name}: geometric mean {mean:.3f}, worst {max(found):.3f}")


if __name__ == "__main__":
    main()
