"""What going live costs, and how large a program is that is stored: python bench/resume.py [--runs N]

Programs with more and more memory go live from amid their way, in turns. Told is how long making the processes takes,
beside a copy of as much memory within one process in the same run: the ratio is what to compare. Then the same
programs, and one with four processes that were forked, are looked at as `pyrr checkpoint` stores them: their pages
before and after those are taken together that are the same. It judges nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pyrr_debugger import _engine, procfs
from pyrr_debugger.live import going
from pyrr_debugger.live.memory import own_mappings
from pyrr_debugger.live.policy import Policy
from pyrr_debugger.live.restore import Restoration
from pyrr_debugger.live.waiting import wait_for
from pyrr_debugger.replayer.position import parse
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

PYRR = str(Path(sys.executable).parent / "pyrr")
AMID = "output:/^amid/"
PAGE = 4096
SUM = 32  # bytes that _engine.checksum gives for a page that is not zero

MEMORY = """
import random, sys

chance = random.Random(1)
held = [chance.randbytes(1 << 20) for _ in range(int(sys.argv[1]))]
print("amid", flush=True)
"""
FORKED = """
import os, sys

held = [bytes([n % 255 + 1]) * 2000 + str(n).encode() for n in range(20_000)]
ours, others = os.pipe(), os.pipe()
for number in range(4):
    if not os.fork():
        held[number * 100 : number * 100 + 100] = [b"own"] * 100
        os.write(others[1], b"x")
        os.read(ours[0], 1)
        os._exit(0)
for _ in range(4):
    os.read(others[0], 1)
print("amid", flush=True)
os.write(ours[1], b"1234")
for _ in range(4):
    os.wait()
"""


def go_live(trace: str) -> None:
    """One program goes live: prints seconds of making its processes, and of a copy of as much memory."""
    took: list[float] = []
    build = Restoration.build

    def timed(restoration: Restoration) -> None:
        began = time.perf_counter()
        build(restoration)
        took.append(time.perf_counter() - began)
        size = sum(int(procfs.status(one.tid)["VmRSS"].split()[0]) for one in restoration.processes.values()) << 10
        source = bytearray(b"x") * size
        began = time.perf_counter()
        bytes(source)
        took.append(time.perf_counter() - began)
        took.append(size / 1e6)

    Restoration.build = timed  # type: ignore[method-assign]
    with TraceReader(trace) as reader:
        wait_for(going.go_live(reader, AMID, Policy(), None, lambda _: None, lambda _: None, None))
    print(json.dumps(took), file=sys.stderr)


def pages(trace: Path) -> tuple[int, int, int]:
    """Pages that are not zero of all processes amid their way; of these, different ones; and not of a stored file."""
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        session.seek(parse(AMID).resolve(reader))
        found, own = [], []
        for process in {session.process_of(task) for task in session.tasks}:
            real = session.real(process)
            for mapping in own_mappings(real):
                if not mapping.prot:
                    continue
                sums = _engine.checksum(real, mapping.start, mapping.end, False)
                parts = [sums[at + 8 : at + SUM] for at in range(0, len(sums), SUM)]
                found += parts
                if mapping.inode:
                    private = procfs.private_pages(real, (mapping.start, mapping.end))[0]
                    changed = [_engine.checksum(real, start, end, False) for start, end in private]
                    parts = [one[at + 8 : at + SUM] for one in changed for at in range(0, len(one), SUM)]
                own += parts
    return len(found), len(set(found)), len(set(own))


def record(folder: Path, name: str, text: str, *words: str) -> Path:
    (folder / f"{name}.py").write_text(text)
    command = [PYRR, "record", "-q", "-o", str(folder / name), sys.executable, str(folder / f"{name}.py"), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        go_live(chosen.one)
        return
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traces = {size: record(folder, f"memory{size}", MEMORY, str(size)) for size in (0, 100, 400)}
        times: dict[int, list[list[float]]] = {size: [] for size in traces}
        for _ in range(chosen.runs):
            for size, trace in traces.items():
                words = [sys.executable, __file__, "--one", str(trace)]
                done = subprocess.run(words, capture_output=True, check=True)
                times[size].append(json.loads(done.stderr.splitlines()[-1]))
        table = Table("memory", "made in", "copied in", "ratio", box=None)
        for size, all_runs in times.items():
            made, copied, megabytes = (statistics.median(run[at] for run in all_runs) for at in range(3))
            ratio = statistics.median(run[0] / run[1] for run in all_runs)
            table.add_row(f"{megabytes:.0f} MB", f"{made:.3f} s", f"{copied:.3f} s", f"{ratio:.1f}")
            if size == 400:
                bare = statistics.median(run[0] for run in times[0])
                console.print(f"{(made - bare) / 4:.3f} s per 100 MB more")
        console.print(table)
        table = Table("program", "pages", "different", "not in files", box=None)
        forked = record(folder, "forked", FORKED)
        for trace in (traces[0], traces[100], forked):
            counts = pages(trace)
            table.add_row(trace.name, *(f"{count * PAGE / 1e6:.1f} MB" for count in counts))
        console.print(table)


if __name__ == "__main__":
    main()
