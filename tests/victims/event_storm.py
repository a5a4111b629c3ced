"""Makes more than 20,000 syscalls and marks some of them with its own Python stack.

usage: event_storm.py LOG [MARKERS]

Marker k is the call os.access("/marker/<k>", 0), found in the trace by its path. The line which makes it has
just written to LOG one JSON object: {"marker": k, "stack": [[function, file, line], innermost first]}.
The function is its qualified name where the interpreter knows one (3.11 and later).
At the event of that call, and nowhere else, that is the Python stack.
"""

import json
import os
import random
import sys
import time

LOG = open(sys.argv[1], "w", buffering=1)
MARKERS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
BETWEEN = 110
PATH = os.path.abspath(__file__)


def stack_of(frame):
    found = []
    while frame is not None:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)  # since 3.11
        found.append([name, code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return found


def log(number, frame):
    LOG.write(json.dumps({"marker": number, "stack": stack_of(frame)}) + "\n")


def storm(size):
    """`size` syscalls of several kinds, in an order of chance."""
    done = 0
    while done < size:
        kind = random.randrange(5)
        if kind == 0:
            os.stat(PATH)
            done += 1
        elif kind == 1:
            os.getppid()
            done += 1
        elif kind == 2:
            descriptor = os.open(PATH, os.O_RDONLY)
            os.read(descriptor, random.randrange(1, 2000))
            os.lseek(descriptor, random.randrange(1000), 0)
            os.close(descriptor)
            done += 4
        elif kind == 3:
            readable, writable = os.pipe()
            os.write(writable, os.urandom(16))
            os.read(readable, 16)
            os.close(readable)
            os.close(writable)
            done += 6
        else:
            time.clock_gettime_ns(time.CLOCK_REALTIME)
            os.getuid()
            done += 1


def plain(number):
    log(number, sys._getframe()), os.access("/marker/%d" % number, 0)


def deep(number, depth=25):
    if depth:
        return deep(number, depth - 1)
    log(number, sys._getframe()), os.access("/marker/%d" % number, 0)
    return number


def generator(number):
    for turn in range(2):
        if turn == 1:
            log(number, sys._getframe()), os.access("/marker/%d" % number, 0)
        yield turn


def through_generator(number):
    return list(generator(number))


def closure(number):
    def inner():
        log(number, sys._getframe()), os.access("/marker/%d" % number, 0)

    class Caller:
        def method(self, *arguments, **named):
            inner()

    Caller().method(1, 2, three=3)


def through_c(number):
    sorted([1], key=lambda item: (log(number, sys._getframe()), os.access("/marker/%d" % number, 0)))
    # A lambda in the C function sort: Python above and below a frame of C.


def in_handler(number):
    try:
        raise ValueError(number)
    except ValueError:
        log(number, sys._getframe()), os.access("/marker/%d" % number, 0)
    finally:
        random.random()


def comprehension(number):
    return [(log(number, sys._getframe()), os.access("/marker/%d" % number, 0)) for _ in range(1)]


class Special:
    def __init__(self, number):
        self.number = number

    def __getattr__(self, name):
        log(self.number, sys._getframe()), os.access("/marker/%d" % self.number, 0)
        return name

    def __del__(self):
        os.getppid()


def special(number):
    assert Special(number).anything == "anything"


SHAPES = (plain, deep, through_generator, closure, through_c, in_handler, comprehension, special)


def main():
    for number in range(MARKERS):
        storm(BETWEEN)
        SHAPES[number % len(SHAPES)](number)
    print(MARKERS, "markers")
    print("~", random.random(), time.time(), os.getpid())


main()
