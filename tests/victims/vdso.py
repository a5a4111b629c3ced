"""The calls that libc answers through the vDSO, a thousand times each."""

import ctypes
import time

libc = ctypes.CDLL(None)
pair = (ctypes.c_long * 2)()
last = 0
rising = 0
for turn in range(1000):
    now = time.monotonic_ns()
    rising += now >= last
    last = now
    print(
        "~", turn, time.time(), now, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_getres(time.CLOCK_REALTIME)
    )
    libc.gettimeofday(ctypes.byref(pair), None)
    print("~", list(pair), libc.time(None), libc.sched_getcpu(), time.clock_gettime(6 if turn % 2 else 5))
print(rising)
