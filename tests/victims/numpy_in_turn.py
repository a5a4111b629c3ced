"""A thread multiplies matrices for long, without the interpreter's lock and without a call; others have their turns meanwhile."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import threading
import time

import numpy

done = threading.Event()
seen = []


def multiply():
    left = numpy.random.default_rng(1).random((1500, 1500))
    for _ in range(4):
        left = left @ left
        left /= left.max()
    seen.append(float(left.sum()))
    done.set()


thread = threading.Thread(target=multiply)
thread.start()
turns = 0
began = time.monotonic()
while not done.is_set():
    time.sleep(0.005)
    turns += 1
thread.join()
print("~", round(seen[0], 6))
print("~", turns, time.monotonic() - began)
