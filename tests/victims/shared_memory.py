"""Memory that processes share in every way Python offers: a map without a file, shared_memory, Value, Lock, Semaphore."""

import ctypes
import mmap
import multiprocessing as mp
import os
from multiprocessing import shared_memory


def add(value, lock, name, semaphore):
    block = shared_memory.SharedMemory(name)
    for _ in range(200):
        with lock:
            value.value += 1
        block.buf[0] = (block.buf[0] + 1) % 251
    block.close()
    semaphore.release()


def main():
    context = mp.get_context("fork")
    value = context.Value(ctypes.c_long, 0, lock=False)
    lock, semaphore = context.Lock(), context.Semaphore(0)
    block = shared_memory.SharedMemory(create=True, size=4096)
    print("~", block.name)
    workers = [context.Process(target=add, args=(value, lock, block.name, semaphore)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        semaphore.acquire()
    for worker in workers:
        worker.join()
    print("counted", value.value)
    print("~", block.buf[0])
    block.close()
    block.unlink()

    pages = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    pid = os.fork()
    if pid == 0:
        pages[mmap.PAGESIZE : mmap.PAGESIZE + 5] = b"child"
        os._exit(0)
    os.waitpid(pid, 0)
    print("from a map without a file:", pages[mmap.PAGESIZE : mmap.PAGESIZE + 5].decode())


main()
