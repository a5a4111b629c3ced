"""Processes that are begun after thousands of cheap system calls, by each of Python's ways; all of them make more."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import warnings

warnings.simplefilter("ignore", DeprecationWarning)


def work(descriptor, count):
    found = 0
    for number in range(count):
        os.getppid()
        found = (found * 31 + sum(os.pread(descriptor, 16, number % 900))) % 1000003
    return found


def child(descriptor, count, queue):
    queue.put(work(descriptor, count))


def forked(descriptor, count):
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(write, b"%d" % work(descriptor, count))
        os._exit(7)
    own = work(descriptor, count)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read()
    return own, int(text), os.waitpid(process, 0)[1] >> 8


def main():
    with tempfile.TemporaryFile() as file:
        file.write(bytes(range(250)) * 4)
        file.flush()
        descriptor = file.fileno()
        print("first", work(descriptor, 3000))
        print("fork", [forked(descriptor, 1000) for _ in range(3)])
        code = "import os; print(sum(os.getppid() > 0 for _ in range(1000)))"
        for _ in range(2):
            print("subprocess", subprocess.check_output([sys.executable, "-c", code]), work(descriptor, 200))
        process = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], {})
        print("spawn", work(descriptor, 300), os.waitpid(process, 0)[1] >> 8)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(descriptor, 500, queue))
        process.start()
        print("process", queue.get(), work(descriptor, 500))
        process.join()
        # While other threads make calls.
        stop = threading.Event()
        counts = []

        def endless():
            number = 0
            while not stop.is_set():
                os.getppid()
                number += 1
            counts.append(number)

        threads = [threading.Thread(target=endless) for _ in range(3)]
        for thread in threads:
            thread.start()
        print("among threads", [forked(descriptor, 300) for _ in range(3)])
        stop.set()
        for thread in threads:
            thread.join()
        print("~", os.getpid(), counts)


main()
