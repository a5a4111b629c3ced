"""Standard output fed by the kernel from a file and a pipe: the bytes never pass through the program."""

import os
import sys
import tempfile

with tempfile.TemporaryFile() as file:
    file.write(b"~ " + os.urandom(2000).hex().encode() + b"\nby sendfile\n")
    file.flush()
    sent = 0
    while sent < 4000:
        count = os.sendfile(1, file.fileno(), sent, 1500)
        if not count:
            break
        sent += count
readable, writable = os.pipe()
os.write(writable, b"~ " + os.urandom(8).hex().encode() + b"\nby splice\n")
if hasattr(os, "splice"):
    try:
        moved = os.splice(readable, 1, 100)
    except OSError:
        moved = os.write(1, os.read(readable, 100))
else:
    moved = os.write(1, os.read(readable, 100))
print(sent > 4000, moved)
print("end", file=sys.stderr)
