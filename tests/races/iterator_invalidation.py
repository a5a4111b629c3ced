"""A table grows while somebody goes through it."""

import threading

table = {number: number for number in range(20)}
failures = []


def total():
    try:
        sum_ = 0
        for key in table:  # decides
            sum_ += table[key]  # decides
    except RuntimeError as error:
        failures.append(error)


def grow():
    table[1000] = 1  # decides


threads = [threading.Thread(target=total), threading.Thread(target=grow)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    raise failures[0]
