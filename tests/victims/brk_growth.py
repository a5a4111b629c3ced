"""Moves the program break up and down, and writes to the memory it gains."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
libc.sbrk.argtypes = [ctypes.c_long]
MEGABYTE = 2**20

for turn in range(20):
    start = libc.sbrk(0)
    got = libc.sbrk(MEGABYTE + 4096 * turn + 123)
    ctypes.memset(got, turn + 1, MEGABYTE)
    seed = os.urandom(64)
    ctypes.memmove(got + MEGABYTE // 2, seed, 64)
    print(
        turn,
        ctypes.string_at(got, 4),
        ctypes.string_at(got + MEGABYTE, 100) == bytes(100),
        ctypes.string_at(got + MEGABYTE // 2, 64) == seed,
    )
    print("~", start, got, libc.sbrk(0), ctypes.string_at(got + MEGABYTE // 2, 64).hex())
    end = got + MEGABYTE + 4096 * turn + 123
    if turn % 2 and libc.sbrk(0) == end:  # nobody has grown it since: give it back, take it again
        libc.sbrk(-MEGABYTE)
        fresh = libc.sbrk(MEGABYTE)
        page = (fresh + 4095) // 4096 * 4096
        print("~", fresh, ctypes.string_at(page, 8))
with open("/proc/self/maps") as file:
    for line in file:
        if "heap" in line:
            print("~", line.rstrip())
blocks = [bytes(100000) for _ in range(100)]
print("~", [id(block) for block in blocks])
