"""Two threads add to a number, each by reading and writing it."""

import threading


class Counter:
    def __init__(self):
        self.value = 0

    def get(self):
        return self.value  # decides

    def set(self, value):
        self.value = value  # decides


counter = Counter()


def work():
    for _ in range(5):
        counter.set(counter.get() + 1)  # decides


threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert counter.value == 10, counter.value
