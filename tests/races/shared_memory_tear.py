"""A process reads a pair of numbers from memory that it shares, while another one writes them."""

import mmap
import os
import struct

shared = mmap.mmap(-1, 4096)


def put(place, value):
    struct.pack_into("Q", shared, place, value)  # decides


def get(place):
    return struct.unpack_from("Q", shared, place)[0]  # decides


def write():
    for value in range(1, 4):
        put(0, value)  # decides
        put(8, value)  # decides


writer = os.fork()
if writer == 0:
    write()
    os._exit(0)
for _ in range(3):
    second = get(8)  # decides
    first = get(0)  # decides
    assert first == second, (first, second)
os.waitpid(writer, 0)
