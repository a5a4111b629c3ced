"""Descriptors that are the program's output are closed in ranges, and their numbers used again; limits are read and set."""

import ctypes
import os
import resource

CLOEXEC, UNSHARE = 4, 2
libc = ctypes.CDLL(None, use_errno=True)
readable, writable = os.pipe()


def close_range(first, last, flags):
    return libc.syscall(436, first, last, flags)


for number in range(20, 30):
    os.dup2(1, number)
for _ in range(3):  # the first call from a site is the tracer's
    os.write(20, b"before\n")
    print(close_range(29, 29, 0), close_range(5, 4, 0), close_range(21, 22, 1 << 20), flush=True)
print(close_range(20, 21, CLOEXEC), flush=True)
os.write(20, b"closed at the next program only\n")
os.closerange(20, 25)
for number in range(20, 25):
    os.dup2(writable, number)
    os.write(number, b"not to be seen\n")
os.write(26, b"still open\n")
print(close_range(26, 27, UNSHARE), flush=True)
os.dup2(writable, 26)
os.write(26, b"not to be seen\n")
os.write(28, b"in a table of its own\n")
print("in the pipe:", os.read(readable, 1000))
for limit in (resource.RLIMIT_STACK, resource.RLIMIT_CORE) * 3:
    soft, hard = resource.getrlimit(limit)
    resource.prlimit(0, limit, (min(soft, 1 << 20) if soft >= 0 else 1 << 20, hard))
    print(limit, resource.prlimit(0, limit)[0])
print("~", os.urandom(4).hex())
