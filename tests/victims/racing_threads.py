"""Threads that race for a counter without a lock, with the interpreter's shortest switch interval; in which order they ran."""

import sys
import threading

sys.setswitchinterval(1e-5)
for threads, turns in ((2, 20000), (8, 5000), (64, 500)):
    counter = 0
    order = []
    begin = threading.Barrier(threads)

    def race(number):
        global counter
        begin.wait()
        for _ in range(turns):
            seen = counter
            if not order or order[-1] != number:
                order.append(number)
            counter = seen + 1

    racers = [threading.Thread(target=race, args=(number,)) for number in range(threads)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    print(threads, 0 < counter <= threads * turns)
    print("~", counter, order)
