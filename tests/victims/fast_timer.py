"""A timer of one millisecond with a handler in Python, through a fifth of a second of computation."""

import signal
import time

turns = 0
came = []
signal.signal(signal.SIGALRM, lambda number, frame: came.append((turns, frame.f_lasti)))
end = time.perf_counter() + 0.2
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while time.perf_counter() < end or len(came) <= 10:
    for _ in range(1000):
        turns += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(came) > 10)
print("~", came)
