"""Computations that signals and switches of threads meet: `moments.py CASE`, recorded by tests/test_moments.py.

Those of INTERRUPTED write "ready PID" and compute until a SIGINT comes from outside.
"""

import faulthandler
import os
import re
import signal
import sys
import threading
import time

turns = 0


def ready():
    print("ready", os.getpid(), flush=True)


def loop():
    ready()
    while True:
        pass


def comprehension():
    ready()
    [[[number * turn for number in range(7)] for turn in range(11)] for _ in iter(int, 1)]


def generators():
    def count():
        global turns
        while True:
            turns += 1
            yield turns

    def double(numbers):
        yield from (2 * number for number in numbers)

    ready()
    sum(double(double(count())))


def recursion():
    def descend(depth):
        global turns
        turns += 1
        return 1 if depth < 2 else descend(depth - 1) + descend(depth - 2)

    ready()
    descend(90)


def race():
    def add():
        global turns
        while not over:
            turns += 1

    over = False
    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        ready()
        while True:
            add()
    finally:
        over = True
        for thread in threads:
            thread.join()


def expression():
    ready()
    re.match("(a+)+$", "a" * 60 + "b")


def sleep():
    ready()
    time.sleep(600)


def numpy():
    global turns
    import numpy

    numbers = numpy.arange(300_000, dtype=float)
    ready()
    while True:
        turns += 1
        numbers = numpy.sort(numpy.sin(numbers))


INTERRUPTED = (loop, comprehension, generators, recursion, race, expression, sleep, numpy)


def timer():
    """A handler in Python every millisecond through five seconds of computation."""
    came = []
    signal.signal(signal.SIGALRM, lambda number, frame: came.append((sum_, frame.f_lasti)))
    sum_ = 0
    end = time.monotonic() + 5
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while time.monotonic() < end:
        for number in range(1000):
            sum_ += number * number % 7
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(len(came), sum_, hash(tuple(came)), came[:5], came[-5:])


def watchdog():
    """A thread that is none of Python's writes where a computation is."""
    sum_ = 0
    faulthandler.dump_traceback_later(0.05, repeat=True, file=sys.stdout)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        for number in range(1000):
            sum_ += number * number % 7
    faulthandler.cancel_dump_traceback_later()
    print(sum_)


def alarm():
    """Death amid a computation."""
    global turns
    signal.alarm(1)
    while True:
        turns += 1


def threads_2():
    take_turns(2, 40_000)


def threads_8():
    take_turns(8, 10_000)


def threads_64():
    take_turns(64, 1_000)


def take_turns(count, work):
    """Threads that race for a counter, with the interpreter's shortest switch interval; the order in which they ran."""

    def run(number):
        global turns
        begin.wait()
        for _ in range(work):
            seen = turns
            if not order or order[-1] != number:
                order.append(number)
            turns = seen + 1

    order = []
    begin = threading.Barrier(count)
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(turns, order)


if __name__ == "__main__":
    case = globals()[sys.argv[1]]
    try:
        case()
    except KeyboardInterrupt:
        print("interrupted", turns)
        raise
