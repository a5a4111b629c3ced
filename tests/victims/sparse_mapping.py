"""A file of 5 GB, nearly all of it a hole, is mapped whole; then cut, so that what was data becomes a hole, and mapped again. At the
end one of 200 GB is mapped, more than would fit into memory."""

import mmap
import os
import tempfile

SIZE = 5 << 30
LAST_SIZE = 200 << 30
MIDDLE = 3 << 30

with tempfile.TemporaryFile() as file:
    descriptor = file.fileno()
    os.ftruncate(descriptor, SIZE)
    os.pwrite(descriptor, b"start", 7)
    os.pwrite(descriptor, os.urandom(100) + b"middle", MIDDLE)
    os.pwrite(descriptor, b"end", SIZE - 3)
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
        print("~", whole[MIDDLE : MIDDLE + 100])
        print(whole[:16], whole[MIDDLE + 100 : MIDDLE + 106], whole[SIZE - 8 :], whole[1 << 30])
    with mmap.mmap(descriptor, 1 << 20, offset=MIDDLE - (1 << 19)) as part:
        print(part[(1 << 19) + 100 :][:6])
        part[0:4] = b"PART"
    print(os.pread(descriptor, 4, MIDDLE - (1 << 19)))
    os.ftruncate(descriptor, 0)
    os.ftruncate(descriptor, SIZE)
    with mmap.mmap(descriptor, 0, mmap.MAP_SHARED) as again:
        print(again[:16], again[MIDDLE : MIDDLE + 106] == bytes(106), again[SIZE - 8 :])
        again[MIDDLE : MIDDLE + 4] = b"DONE"
    with mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE) as private:
        print(private[MIDDLE : MIDDLE + 8], private[1 << 31])
    os.ftruncate(descriptor, LAST_SIZE)
    last = mmap.mmap(descriptor, 0, mmap.MAP_SHARED)
    last[LAST_SIZE // 2 : LAST_SIZE // 2 + 4] = b"LAST"
    print(last[LAST_SIZE // 2 - 2 : LAST_SIZE // 2 + 6], last[MIDDLE : MIDDLE + 4], flush=True)
    os._exit(0)
