"""Locks by flock, lockf and descriptor that a parent and its child contend for."""

import fcntl
import os
import struct
import tempfile
import time

with tempfile.NamedTemporaryFile() as file:
    file.write(b"x" * 100)
    file.flush()
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(file.name, "r+b") as mine:
            try:
                fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
            except OSError as error:
                os.write(write, b"refused %d\n" % error.errno)
            holder = fcntl.fcntl(mine, fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
            os.write(write, b"held by parent %d\n" % (struct.unpack("hhqqi", holder[:28])[4] == os.getppid()))
            fcntl.lockf(mine, fcntl.LOCK_EX, 10, 5)
            os.write(write, b"got it\n")
        os._exit(0)
    said = b""
    while said.count(b"\n") < 2:
        said += os.read(read, 100)
    time.sleep(0.05)
    fcntl.lockf(file, fcntl.LOCK_UN, 10, 5)
    print("wait status", os.waitpid(pid, 0)[1])
    print((said + os.read(read, 100)).decode(), end="")

    fcntl.flock(file, fcntl.LOCK_EX)
    with open(file.name) as again:
        try:
            fcntl.flock(again, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            print("flock refused")
    print("~", os.getpid())
