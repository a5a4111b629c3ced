"""Threads that compute, and one that sleeps for a time again and again: prints the median of the seconds by which it
wakes too late. python bench/fairness.py [THREADS [MILLISECONDS]]

Bare, two threads and naps of 10 ms fall into step: the interpreter's lock is handed over every 5 ms, just as the one
that sleeps wakes."""

import statistics
import sys
import threading
import time

NAPS = 100


def main(count: int = 8, milliseconds: int = 10) -> None:
    nap = milliseconds / 1000
    over = False

    def compute() -> None:
        turns = 0
        while not over:
            turns += 1

    threads = [threading.Thread(target=compute) for _ in range(count)]
    for thread in threads:
        thread.start()
    late = []
    for _ in range(NAPS):
        start = time.monotonic()
        time.sleep(nap)
        late.append(time.monotonic() - start - nap)
    over = True
    for thread in threads:
        thread.join()
    print(statistics.median(late))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
