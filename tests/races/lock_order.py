"""Two threads take two locks, each the other's first: both wait for ever."""

import threading


class Account:
    def __init__(self, balance):
        self.lock = threading.Lock()
        self.balance = balance

    def withdraw(self, amount):
        self.balance -= amount  # decides


def transfer(source, target, amount):
    with source.lock:  # decides
        source.withdraw(amount)  # decides
        with target.lock:  # decides
            target.withdraw(-amount)


one, other = Account(100), Account(100)
threads = [
    threading.Thread(target=transfer, args=(one, other, 1)),
    threading.Thread(target=transfer, args=(other, one, 2)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
