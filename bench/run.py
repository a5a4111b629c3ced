"""What recording and replaying cost, as ratios to the bare program: python bench/run.py [--runs N] [WORKLOAD...]

Each workload runs bare, under strace (if there is one), recorded with and without the agent, and replayed; the runs
take turns so that a slow moment of the machine hits all alike, and the table shows medians. It judges nothing.
The computation and the server time themselves, without their start; under replay that time is the recorded one, so that
the whole is timed. For the others the table also has the ratios of what is left when each way's own start-up, measured
in the same run, is taken away: what a longer program sees. The server needs gunicorn (pip install '.[bench]'); for the
suite of click an environment is made in the user's cache, once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PYRR = str(Path(sys.executable).parent / "pyrr")
GUNICORN = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind=unix:{socket}", "--pid", "{socket}.pid"]
START = "start-up"
WORKLOADS = {
    START: [sys.executable, "-c", "pass"],
    "200k system calls": [sys.executable, str(HERE / "syscalls.py")],
    "computation": [sys.executable, str(HERE / "compute.py")],
    "10k thread switches and back": [sys.executable, str(HERE / "ping_pong.py")],
    "50k inserts into sqlite": [sys.executable, str(HERE / "inserts.py")],
    "import of 30 modules": [sys.executable, str(HERE / "imports.py")],
    "click's own tests": [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not expand_args",
    ],  # needs its directory
    "50 subprocesses": [sys.executable, str(HERE / "subprocesses.py")],
    "20k asyncio round trips": [sys.executable, str(HERE / "echo.py")],
    "500 requests to gunicorn": [*GUNICORN, "--chdir", str(HERE), "application:application"],
}
SERVER = "500 requests to gunicorn"
SUITE = "click's own tests"
CLICK = "click==8.1.7"
TIME_THEMSELVES = ("computation", SERVER)
WAYS = ("native", "strace", "record", "no agent", "replay")


def with_click() -> tuple[str, str]:
    """A Python with click and pytest, and click's sources, which have its tests. Made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pyrr-bench")
    python, sources = cache / "environment/bin/python", cache / CLICK.replace("==", "-")
    if not sources.is_dir():
        pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache / "environment")], check=True)
        subprocess.run([*pip, "install", CLICK, "pytest<9"], check=True)  # pytest 9 refuses click's parameters
        subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", str(cache), CLICK], check=True)
        with tarfile.open(f"{sources}.tar.gz") as archive:
            archive.extractall(cache)
    return str(python), str(sources / "tests")


def words(way: str, workload: str, trace: Path) -> list[str]:
    program = WORKLOADS[workload]
    if workload == SUITE and way != "replay":
        python, tests = with_click()
        program = [python, *program, tests]
    under = command(way, program, trace)
    return [sys.executable, str(HERE / "server.py"), *under] if workload == SERVER and way != "replay" else under


def command(way: str, program: list[str], trace: Path) -> list[str]:
    if way == "strace":
        return ["strace", "-f", "-o", "/dev/null", *program]
    if way == "record":
        return [PYRR, "record", "-q", "-o", str(trace), *program]
    if way == "no agent":
        return [PYRR, "record", "--no-agent", "-q", "-o", f"{trace}.no-agent", *program]
    if way == "replay":
        return [PYRR, "replay", str(trace)]
    return program


def run(arguments: list[str], timeout: float, times_itself: bool = False) -> float | str:
    """The seconds it took (or says that it took), or what went wrong."""
    start = time.perf_counter()
    try:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that the traced program can be killed along with its tracer
        )
    except OSError as error:
        return str(error)
    try:
        output, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return f"over {timeout:g} s"
    if child.returncode:
        return f"status {child.returncode}: {errors.decode(errors='replace').strip().rpartition(chr(10))[2]}"
    return float(output) if times_itself else time.perf_counter() - start


def remove(trace: Path) -> None:
    if trace.is_dir():
        shutil.rmtree(trace)
    else:
        trace.unlink(missing_ok=True)


def bytes_per_event(trace: Path, timeout: float) -> str:
    try:
        info = subprocess.run([PYRR, "info", "--json", str(trace)], capture_output=True, timeout=timeout, check=True)
        facts = json.loads(info.stdout)
        events = int(facts["events"])
        return f"{facts['event_bytes'] / events:.1f} ({events:,} events)"
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError, ZeroDivisionError):
        return "-"


def less_start(way: str, workload: str, medians: dict[str, float], starts: dict[str, float]) -> str:
    """The ratio of a way without its start-up, where the workload has one in its time."""
    if workload == START or way not in medians or way not in starts or not {"native"} <= medians.keys() & starts.keys():
        return "-"
    whole = workload not in TIME_THEMSELVES
    native = medians["native"] - starts["native"] * whole
    return f"{(medians[way] - starts[way] * (whole or way == 'replay')) / native:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="a part of its name (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (default 5)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each child (default 300)")
    parser.add_argument("--without", action="append", default=[], choices=WAYS[1:], help="leave out a way (repeatable)")
    options = parser.parse_args()
    ways = [way for way in WAYS if way not in options.without and (way != "strace" or shutil.which("strace"))]
    table = Table(title=f"Ratios to native, medians of {options.runs} interleaved runs")
    table.add_column("workload")
    for heading in (*ways, *(f"{way} less start" for way in ways[1:]), "event bytes/event"):
        table.add_column(heading, justify="right")
    starts: dict[str, float] = {}
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory, "trace")
        for workload in WORKLOADS:
            chosen = not options.workloads or any(part in workload for part in options.workloads)
            if not chosen and workload != START:
                continue
            times: dict[str, list[float]] = {way: [] for way in ways}
            failed: dict[str, str] = {}
            for _ in range(options.runs):
                for way in ways:
                    if way in failed:
                        continue
                    if way in ("record", "no agent"):
                        remove(trace if way == "record" else Path(f"{trace}.no-agent"))
                    times_itself = workload in TIME_THEMSELVES and way != "replay"
                    result = run(words(way, workload, trace), options.timeout, times_itself)
                    if isinstance(result, str):
                        failed[way] = result
                    else:
                        times[way].append(result)
            failures += [f"{workload}, {way}: {reason}" for way, reason in failed.items()]
            medians = {way: statistics.median(times[way]) for way in ways if times[way] and way not in failed}
            starts = starts or medians
            cells = [
                "failed" if way not in medians
                else f"{medians[way] * 1000:.0f} ms" if way == "native"
                else f"{medians[way] / medians['native']:.2f}" if "native" in medians
                else "-"
                for way in ways
            ]  # fmt: skip
            cells += [less_start(way, workload, medians, starts) for way in ways[1:]]
            table.add_row(workload, *cells, bytes_per_event(trace, options.timeout))
            remove(trace)
            remove(Path(f"{trace}.no-agent"))
    console = Console()
    console.print(table)
    for failure in failures:
        console.print(failure, markup=False, highlight=False)


if __name__ == "__main__":
    main()
