"""A consumer looks for an item, and then waits for it. The notification comes in between."""

import threading

items = []
ready = threading.Condition()


def consume():
    if not items:  # decides
        with ready:  # decides
            ready.wait()  # decides
    items.pop()


def produce():
    items.append("item")  # decides
    with ready:  # decides
        ready.notify()  # decides


consumer = threading.Thread(target=consume)
producer = threading.Thread(target=produce)
consumer.start()
producer.start()
consumer.join()
producer.join()
