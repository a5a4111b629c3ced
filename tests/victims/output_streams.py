"""Standard output and error written by every road: buffered, raw, duplicated, vectored, and large."""

import os
import random
import sys

for turn in range(50):
    print("out", turn)
    print("~", random.random())
    print("err", turn, file=sys.stderr)
sys.stdout.flush()
os.write(1, b"written\n")
os.writev(1, [b"in ", b"", b"pieces\n"])
copy = os.dup(1)
os.write(copy, b"through a duplicate\n")
high = os.dup2(2, 100)
os.write(high, b"through a duplicate of standard error\n")
os.close(high)
saved = os.dup(2)
os.dup2(1, 2)
os.write(2, b"standard error is standard output now\n")
os.dup2(saved, 2)
os.write(2, b"and no longer\n")
readable, writable = os.pipe()
os.dup2(writable, 1)
os.write(1, b"not to be seen")
os.dup2(copy, 1)
print("in the pipe", os.read(readable, 100), flush=True)
os.write(1, b"\0\xff\xfe binary\n")
with os.fdopen(os.dup(1), "wb", buffering=0) as file:
    large = b"0123456789abcdef" * 65536
    while large:
        large = large[file.write(large) :]
os.write(1, b"\n")
with open("/dev/null", "w") as file:
    print("to nowhere", file=file)
