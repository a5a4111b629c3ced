"""Threads that spin with all signals blocked, SIGTRAP too, of which the program has a handler; SIGSEGV is ignored."""

import os
import signal
import threading
import time

came = []
signal.signal(signal.SIGTRAP, lambda number, frame: came.append(number))
signal.signal(signal.SIGSEGV, signal.SIG_IGN)
turns = 0


def compute():
    global turns
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for _ in range(150000):
        turns += 1
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    print(signal.SIGTRAP in blocked, signal.SIGINT in blocked, flush=True)


threads = [threading.Thread(target=compute) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.kill(os.getpid(), signal.SIGTRAP)
print(came, signal.getsignal(signal.SIGSEGV))
print("~", turns, time.monotonic())
