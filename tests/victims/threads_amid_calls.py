"""Threads that wait for each other by pipes and locks, each in the midst of cheap system calls; others only make calls."""

import os
import threading

ROUNDS, CALLS, THREADS = 150, 2000, 8
order = []


def cheap(count):
    for _ in range(count):
        os.getppid()
        os.stat("/")


def by_pipe():
    there, back = os.pipe(), os.pipe()

    def answer():
        for number in range(ROUNDS):
            data = os.read(there[0], 100)
            cheap(number % 7)
            os.write(back[1], data.upper())

    thread = threading.Thread(target=answer)
    thread.start()
    right = 0
    for number in range(ROUNDS):
        os.write(there[1], b"message %d" % number)
        cheap(number % 5)
        right += os.read(back[0], 100) == b"MESSAGE %d" % number
    thread.join()
    return right


def by_lock():
    locks = threading.Lock(), threading.Lock()
    locks[1].acquire()
    trail = []

    def take_turns(which):
        for number in range(ROUNDS):
            locks[which].acquire()
            cheap(number % 3)
            trail.append(which)
            locks[1 - which].release()
            cheap(number % 4)

    threads = [threading.Thread(target=take_turns, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return trail == [0, 1] * ROUNDS


def count(which):
    parent = os.getppid()
    for number in range(CALLS):
        if os.getppid() != parent:
            order.append(-1)
        if number % 100 == 0:
            order.append(which)


print(by_pipe(), by_lock())
threads = [threading.Thread(target=count, args=(which,)) for which in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(order), sorted(order) == sorted(list(range(THREADS)) * (CALLS // 100)))
print("~", os.getpid(), order)
