"""A pid namespace whose first process ends before the others in it: the kernel kills them, and lets it end only after them."""

import ctypes
import os
import time

CLONE_NEWPID, CLONE_NEWUSER = 0x20000000, 0x10000000
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWUSER | CLONE_NEWPID):
    print("no namespace", ctypes.get_errno())
    raise SystemExit
readable, writable = os.pipe()
first = os.fork()
if first == 0:
    for _ in range(2):
        if os.fork() == 0:
            os.write(writable, b"~")
            time.sleep(100)
    os.read(readable, 1)
    os.read(readable, 1)
    os._exit(7)
print("status", os.waitpid(first, 0)[1] >> 8)
print("~", os.urandom(4).hex())
