"""A timer's signal meets a computation that is traced: bytecodes go another way then (up to CPython 3.10)."""

import signal
import sys

seen = []
events = 0


def trace(frame, event, argument):
    global events
    events += 1
    return trace


def compute():
    turns = 0
    while not seen:
        turns += 1
    return turns


signal.signal(signal.SIGVTALRM, lambda number, frame: seen.append(number))
signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
sys.settrace(trace)
turns = compute()
sys.settrace(None)
print("handled", len(seen))
print("~", turns, events)
