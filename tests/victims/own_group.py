"""Signals to the own process group, in which the recorder is too: they come once, and end nobody who handles them."""

import os
import signal
import time

seen = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGABRT, signal.SIGTRAP, signal.SIGHUP):
    signal.signal(number, lambda number, frame: seen.append(number))
    os.kill(0, number)
    time.sleep(0.4)
print([number.name for number in map(signal.Signals, seen)])
print("~", os.urandom(8).hex(), flush=True)
signal.signal(signal.SIGABRT, signal.SIG_DFL)
os.kill(0, signal.SIGABRT)
