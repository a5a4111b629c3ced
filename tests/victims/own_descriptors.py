"""A thread that has its own table of descriptors closes its output: that of the process stays what it was."""

import ctypes
import os
import threading

CLONE_FILES = 0x400
libc = ctypes.CDLL(None, use_errno=True)
ready, go = threading.Event(), threading.Event()


def closes():
    print("unshared", libc.unshare(CLONE_FILES), flush=True)
    os.close(1)
    os.dup2(2, 50)
    ready.set()
    go.wait()
    os.write(50, b"from the thread to standard error\n")


thread = threading.Thread(target=closes)
thread.start()
ready.wait()
os.write(1, b"the process has its output\n")
readable, writable = os.pipe()
os.dup2(writable, 50)
os.write(50, b"not to be seen")
go.set()
thread.join()
print("in the pipe:", os.read(readable, 100))
print("~", os.urandom(4).hex())
