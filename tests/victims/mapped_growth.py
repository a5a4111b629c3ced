"""Mappings of files that grow by mremap and show what they did not before, a program mapped shared, and an madvise that
fails half-way."""

import ctypes
import mmap
import os
import sys
import tempfile

PAGE = mmap.PAGESIZE
MREMAP_MAYMOVE, MADV_DONTNEED = 1, 4
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def grown(descriptor, kind):
    start = libc.mmap(None, PAGE, mmap.PROT_READ, kind, descriptor, 0)
    moved = libc.mremap(ctypes.c_void_p(start), ctypes.c_size_t(PAGE), ctypes.c_size_t(2 * PAGE), MREMAP_MAYMOVE)
    return ctypes.string_at(moved + PAGE, 8)


with tempfile.TemporaryFile() as file:
    file.write(os.urandom(2 * PAGE))
    file.flush()
    print("~", grown(file.fileno(), mmap.MAP_PRIVATE), grown(file.fileno(), mmap.MAP_SHARED))
with open(os.path.realpath(sys.executable), "rb") as file:
    print(len(grown(file.fileno(), mmap.MAP_SHARED)), len(grown(file.fileno(), mmap.MAP_PRIVATE)))

start = libc.mmap(None, 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
ctypes.memset(start, 1, 2 * PAGE)
locked = libc.mlock(ctypes.c_void_p(start + PAGE), ctypes.c_size_t(PAGE))
result = libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(2 * PAGE), MADV_DONTNEED)
print("locked", locked == 0, "advised", result, ctypes.string_at(start, 1), ctypes.string_at(start + PAGE, 1))
