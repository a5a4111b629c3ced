"""Programs that lean on scheduling and signals, written as people write them; each recorded and replayed many times.

`stress.py --count 20` runs every one 20 times. They need the standard
library only. `stress.py --run NAME` runs one bare.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SUITE = "stress"
SECONDS = 10.0


def threads() -> None:
    """64 threads on one queue."""
    todo: queue.Queue[int | None] = queue.Queue(maxsize=100)
    done: queue.Queue[tuple[int, int]] = queue.Queue()

    def work(number: int) -> None:
        while (item := todo.get()) is not None:
            done.put((item * item, number))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for worker in workers:
        worker.start()
    for i in range(5000):
        todo.put(i)
    for _ in workers:
        todo.put(None)
    for worker in workers:
        worker.join()
    results = [done.get() for _ in range(5000)]
    print("sum", sum(value for value, _ in results))
    print("~ order", hash(tuple(results)), [number for _, number in results[:20]])


def processes() -> None:
    """200 processes, 20 at a time, each answering through a pipe."""
    answers = []
    for first in range(0, 200, 20):
        command = [sys.executable, "-S", "-c", "import os, sys; print(int(sys.argv[1]) ** 2, os.getpid())"]
        batch = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE) for i in range(first, first + 20)]
        answers += [process.communicate()[0].split() for process in batch]
        assert not any(process.returncode for process in batch)
    print("sum", sum(int(value) for value, _ in answers))
    print("~ processes", *(int(pid) for _, pid in answers[:20]))


def forks() -> None:
    """A program of eight threads that goes on working while it forks, again and again."""
    over = threading.Event()
    counts = [0] * 8

    def work(number: int) -> None:
        while not over.wait(0.0005):
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    statuses = []
    for i in range(50):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"%d %d" % (i, os.getpid()))
            os._exit(i)
        os.close(writer)
        answer = os.read(reader, 100)
        os.close(reader)
        statuses.append(os.waitpid(pid, 0)[1] >> 8)
        assert answer == b"%d %d" % (i, pid)
    over.set()
    for worker in workers:
        worker.join()
    print("statuses", sum(statuses))
    print("~ counts", *counts)


def signals() -> None:
    """A timer at 1 kHz for ten seconds, its handler in Python; the program sleeps, reads and computes."""
    count = 0

    def tick(*_: object) -> None:
        nonlocal count
        count += 1

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    end = time.monotonic() + SECONDS
    rounds = total = 0
    while time.monotonic() < end:
        total += sum(i * i for i in range(2000))
        time.sleep(0.002)
        total += len(Path("/proc/self/stat").read_bytes()) > 0
        rounds += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("ticked", count > 10 * SECONDS)
    print("~ ticks", count, "rounds", rounds)


PROGRAMS: tuple[Callable[[], None], ...] = (threads, processes, forks, signals)


def main(words: Sequence[str]) -> int:
    if words and words[0] == "--run":
        next(program for program in PROGRAMS if program.__name__ == words[1])()
        return 0
    import runner  # not when a program is run: it is recorded

    parser: argparse.ArgumentParser = runner.arguments(__doc__ or "", SUITE)
    parser.add_argument("--count", type=int, default=20, help="runs of each (default: %(default)s)")
    parser.add_argument("--match", default="", help="only programs with this in their name")
    options = parser.parse_args(words)
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    python = Path(sys.executable).resolve()
    items = [
        runner.Item(
            SUITE,
            "verdict",
            program.__name__,
            f"{program.__name__} {number + 1}",
            [str(python), os.path.abspath(__file__), "--run", program.__name__],
        )
        for program in PROGRAMS
        if options.match in program.__name__
        for number in range(options.count)
    ]
    return min(1, runner.run_suite(items, runner.read_whole, options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
