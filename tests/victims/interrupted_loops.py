"""A timer's handler raises an exception through computations of all kinds that would never end."""

import re
import signal
import time


class Enough(Exception):
    pass


turns = 0


def handle(number, frame):
    raise Enough


def loop():
    global turns
    while True:
        turns += 1


def empty_loop():
    while True:
        pass


def comprehension():
    [[turn for turn in range(10)] for _ in iter(int, 1)]


def generators():
    def count():
        global turns
        while True:
            turns += 1
            yield turns

    def double(numbers):
        yield from (2 * number for number in numbers)

    sum(double(double(count())))


def recursion(number=90):
    global turns
    turns += 1
    return 1 if number < 2 else recursion(number - 1) + recursion(number - 2)


def expression():
    re.match("(a+)+$", "a" * 60 + "b")


def sorting():
    global turns

    class Item:
        def __lt__(self, other):
            global turns
            turns += 1
            return turns % 3 > 1

    while True:
        sorted([Item() for _ in range(100)])


def sleeping():
    time.sleep(60)


signal.signal(signal.SIGALRM, handle)
for computation in (loop, empty_loop, comprehension, generators, recursion, expression, sorting, sleeping):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        computation()
        print(computation.__name__, "ended")
    except Enough:
        print(computation.__name__, "interrupted")
        print("~", turns)
