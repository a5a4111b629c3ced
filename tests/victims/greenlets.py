"""greenlet copies pieces of the stack away and back, while system calls are made on it."""

import os
import signal

import greenlet

TASKS, ROUNDS = 20, 50
came = []
results = []


def deep(level, which, number):
    if level:
        kept = [which, number, level]
        found = deep(level - 1, which, number)
        assert kept == [which, number, level]
        return found
    os.stat("/")
    os.getppid()
    greenlet.getcurrent().parent.switch((which, number))
    return os.getppid()


def run(which):
    for number in range(ROUNDS):
        results.append(deep(which, which, number) == os.getppid())
    return "done"


print("~", os.getpid())
signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
tasks = [greenlet.greenlet(run) for _ in range(TASKS)]
seen, done = [], 0
while done < TASKS:
    for which, task in enumerate(tasks):
        if not task.dead:
            value = task.switch(which) if len(seen) < TASKS else task.switch()
            seen.append(value)
            done += value == "done"
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(seen), len(results), all(results))
print("~ signals", len(came))
