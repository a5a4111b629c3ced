"""Never rests: every kind of call, without end, to be stopped anywhere. Each call stands on a line of its own that
names the function called, so that a stack can be checked against the source. Runs on 3.8 and later."""

import threading


def leaf(x):
    y = x * 3
    z = [y, x]
    return z[0]


def loop(x):
    total = 0
    for i in range(3):
        total += leaf(i)
    return total + x


def numbers(x):
    yield x
    yield loop(x)
    yield leaf(x)


def recurse(depth):
    if depth == 0:
        return loop(depth)
    return recurse(depth - 1)


class Thing:
    def method(self, x):
        return self.other(x)

    def other(self, x):
        value = recurse(3)
        return value + leaf(x)


def closing(x):
    def closed():
        return leaf(x)

    return closed()


def consume(x):
    total = 0
    for number in numbers(x):
        total += number
    return total


def forever():
    thing = Thing()
    while True:
        consume(1)
        thing.method(2)
        closing(3)


def start():
    threading.Thread(target=forever).start()
    forever()


print("ready", flush=True)
start()
