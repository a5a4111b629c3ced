"""Threads that compute, and one that sleeps 10 ms at a time: prints the median of the seconds by which it wakes too
late. python bench/fairness.py [THREADS]"""

import statistics
import sys
import threading
import time

NAP, NAPS = 0.01, 100


def main(count: int) -> None:
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
        time.sleep(NAP)
        late.append(time.monotonic() - start - NAP)
    over = True
    for thread in threads:
        thread.join()
    print(statistics.median(late))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
