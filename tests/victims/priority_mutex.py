"""A mutex with priority inheritance: the kernel marks it for the one who waits, and its owner sees the mark."""

import ctypes
import os
import threading
import time

libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(64)
attributes = ctypes.create_string_buffer(16)
libc.pthread_mutexattr_init(attributes)
print(libc.pthread_mutexattr_setprotocol(attributes, 1), libc.pthread_mutex_init(mutex, attributes))
counts = [0, 0, 0]


def work(number):
    for _ in range(20):
        libc.pthread_mutex_lock(mutex)
        counts[number] += 1
        time.sleep(0.001)
        libc.pthread_mutex_unlock(mutex)


threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(counts)
print("~", os.urandom(4).hex())
