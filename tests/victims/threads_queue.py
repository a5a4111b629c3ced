"""Four threads, queues and locks: the order in which they ran is printed."""

import queue
import random
import threading
import time

tasks, results = queue.Queue(), queue.Queue()
lock, order, total = threading.Lock(), [], 0
storage = threading.local()


def work(number):
    global total
    storage.count = 0
    while True:
        task = tasks.get()
        if task is None:
            break
        value = sum(range(task % 500))
        if task % 50 == 0:
            time.sleep(random.random() / 1000)
        with lock:
            order.append(number)
            total += 1
        storage.count += 1
        results.put((task, value))
    with lock:
        print("~", "thread", number, "did", storage.count, threading.get_ident(), threading.get_native_id())


threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for task in range(2000):
    tasks.put(task)
for _ in threads:
    tasks.put(None)
for thread in threads:
    thread.join()
print("~", "".join(map(str, order)))
answers = [results.get() for _ in range(2000)]
print("~", [task for task, _ in answers][:200])
print(total, sorted(answers) == [(task, sum(range(task % 500))) for task in range(2000)])

# Without any lock: the interpreter's switch interval alone decides.
progress = [0] * 4
history = []


def count(number):
    for step in range(20000):
        progress[number] = step
        if step % 1000 == 0:
            history.append((number, tuple(progress)))


threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
event = threading.Event()
timer = threading.Timer(0.01, event.set)
timer.start()
print(event.wait(10))
for thread in threads + [timer]:
    thread.join()
print("~", history)
print(len(history))
