"""Threads that compute, and one that sleeps for a time again and again: prints the seconds by which it wakes too late,
one line for each nap. python bench/naps.py [THREADS [MILLISECONDS]]"""

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
    print(*late, sep="\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
