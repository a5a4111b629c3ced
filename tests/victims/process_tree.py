"""A program that executes another, forks, and shares memory with one of its forks; each process writes a line."""

import mmap
import os
import subprocess
import sys
import threading

subprocess.run(["/bin/echo", "executed"], check=True)
subprocess.run([sys.executable, "-c", "print('python executed')"], check=True)

pid = os.fork()
if pid == 0:
    thread = threading.Thread(target=lambda: print("forked", flush=True))
    thread.start()
    thread.join()
    os._exit(3)
print("fork", os.WEXITSTATUS(os.waitpid(pid, 0)[1]), flush=True)

shared = mmap.mmap(-1, mmap.PAGESIZE)
ready, done = os.pipe()
pid = os.fork()
if pid == 0:
    shared[:5] = b"hello"
    print("sharing", flush=True)
    os.write(done, b"x")
    os._exit(0)
os.read(ready, 1)
print("shared", shared[:5].decode(), flush=True)
os.waitpid(pid, 0)
