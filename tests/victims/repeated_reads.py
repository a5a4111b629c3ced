"""The same bytes are read again and again, to the same and to other places; sometimes one of them has changed."""

import hashlib
import os
import sys
import tempfile
import time

SIZES = (63, 64, 65, 127, 1000, 16384, 300000)


def read(descriptor, rounds, digest):
    buffers = [bytearray(size) for size in SIZES]
    shared = bytearray(max(SIZES))
    for turn in range(rounds):
        if turn % 10 == 9:
            os.pwrite(descriptor, b"%d" % turn, turn * 37 % SIZES[-2])
        for buffer in buffers[: -1 if turn % 50 else None]:
            assert os.preadv(descriptor, [buffer], 0) == len(buffer)
            digest.update(buffer)
            part = memoryview(shared)[: len(buffer)]
            os.preadv(descriptor, [part[:40], part[40:]], 0)  # of two places, one of them short
            assert part == buffer
        os.stat("/")
    return digest.hexdigest()


def main():
    with tempfile.TemporaryFile() as file:
        descriptor = file.fileno()
        os.write(descriptor, os.urandom(SIZES[-1]))
        print("~", read(descriptor, 200, hashlib.sha256()))
        # Long enough for several chunks of the trace, which end amid computation.
        end, buffer = time.monotonic() + 0.8, bytearray(4096)
        while time.monotonic() < end:
            for _ in range(50):
                os.preadv(descriptor, [buffer], 0)
            sum(range(200_000))
        # A child begins with the memory of its parent, and both read on.
        sys.stdout.flush()
        child = os.fork()
        print("~", "parent" if child else "child", read(descriptor, 50, hashlib.sha256(buffer)), flush=True)
        if child:
            assert os.waitpid(child, 0)[1] == 0


main()
