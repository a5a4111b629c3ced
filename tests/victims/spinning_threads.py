"""Threads that wait for each other without a system call: one spins until another one has computed."""

import threading
import time

baton = 0
turns = [0, 0, 0]


def pass_on(number):
    global baton
    for leg in range(3):
        while baton != 3 * leg + number:
            turns[number] += 1
        for _ in range(20000):
            pass
        baton += 1


runners = [threading.Thread(target=pass_on, args=(number,)) for number in range(3)]
for runner in runners:
    runner.start()
for runner in runners:
    runner.join()
print(baton)
print("~", turns, time.monotonic())
