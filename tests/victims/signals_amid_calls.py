"""A timer of one millisecond, with a handler in Python, while cheap system calls of many kinds are made."""

import os
import signal
import tempfile
import time

came = []
calls = 0


def handle(number, frame):
    # CPython 3.11 shows no line where a loop jumps back, as it does in tempfile.
    line = main.__code__.co_firstlineno if frame.f_lineno is None else frame.f_lineno
    came.append((calls, line - main.__code__.co_firstlineno))
    os.getppid()
    os.stat("/")


def main(wanted):
    global calls
    before = calls
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 2000)
        file.flush()
        descriptor = file.fileno()
        read, write = os.pipe()
        good = 0
        while len(came) < wanted:
            calls += 1
            good += os.getppid() > 0
            good += os.stat("/").st_ino > 0
            good += os.pread(descriptor, 64, 5) == b"5678901234" * 6 + b"5678"
            good += len(os.pread(descriptor, 16384, calls % 100)) == 16384
            good += os.write(write, b"x" * 300) == 300
            good += os.read(read, 1000) == b"x" * 300
            good += os.lseek(descriptor, calls % 100, os.SEEK_SET) == calls % 100
            good += time.monotonic() > 0
            good += not os.path.exists("/nothing")
        return good == 9 * (calls - before)


signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
print("calls as they should be", main(300))
signal.setitimer(signal.ITIMER_REAL, 0)
print("~", calls, sum(line * number for number, line in came), came[:20])
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
del came[:]
print("without interruption", main(100))
signal.setitimer(signal.ITIMER_REAL, 0)
print("~", calls, came[:20])
