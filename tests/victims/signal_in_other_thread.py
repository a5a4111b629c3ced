"""A signal finds a thread that computes; only the main thread may handle it, and first has to get the interpreter's lock."""

import signal
import threading
import time

seen = []
turns = 0


def compute():
    global turns
    while not seen:
        turns += 1


signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
thread = threading.Thread(target=compute)
thread.start()
time.sleep(0.01)
signal.pthread_kill(thread.ident, signal.SIGUSR1)
while not seen:
    time.sleep(0.001)
thread.join()
print(seen)
print("~", turns)
