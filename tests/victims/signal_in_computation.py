"""A timer's signal that interrupts pure computation: the loop ends only when its handler has run."""

import signal

seen = []
signal.signal(signal.SIGVTALRM, lambda number, frame: seen.append(number))
signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
print("computing", flush=True)
turns = 0
while not seen:
    turns += 1
print("handled", len(seen))
