"""A new thread finds its id where the kernel wrote it for the creator (CLONE_PARENT_SETTID), however early it runs."""

import ctypes
import threading
import time

libc = ctypes.CDLL("libpthread.so.0")
pthread = ctypes.c_ulong
libc.pthread_join.argtypes = [pthread, ctypes.c_void_p]

THREADS = 150
OWNER = 2  # glibc's struct __pthread_mutex_s: lock, count, owner

done = threading.Event()
bystander = threading.Thread(target=done.wait)
bystander.start()

start = time.perf_counter()
sum(range(1_000_000))
per_slice = int(1_000_000 * 0.010 / (time.perf_counter() - start))

# Each thread only locks a mutex of its own: glibc reads the id from memory, without a call. The creator
# computes for about a time slice, so that sometimes it loses its turn in the very call that makes the thread.
mutexes = ((ctypes.c_int * 10) * THREADS)()
thread = pthread()
for i, mutex in enumerate(mutexes):
    sum(range(per_slice * (9 * THREADS + i % 50 * 3) // (10 * THREADS)))
    assert libc.pthread_create(ctypes.byref(thread), None, libc.pthread_mutex_lock, mutex) == 0
    assert libc.pthread_join(thread, None) == 0
done.set()
bystander.join()

owners = [mutex[OWNER] for mutex in mutexes]
print("threads", len(owners), "without an id", owners.count(0))
print("~ ids", *owners)
