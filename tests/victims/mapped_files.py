"""Files mapped shared and private, written through the map, through write(), and through a second map."""

import mmap
import os
import tempfile

PAGE = mmap.PAGESIZE


def address(mapping):
    """An entropy line: where the mapping's bytes are (or at least where the object is)."""
    print("~", id(mapping), len(mapping))


with tempfile.NamedTemporaryFile(prefix="victim-") as file:
    descriptor = file.fileno()
    os.write(descriptor, b"." * (3 * PAGE))

    shared = mmap.mmap(descriptor, 3 * PAGE, mmap.MAP_SHARED)
    again = mmap.mmap(descriptor, 3 * PAGE, mmap.MAP_SHARED, mmap.PROT_READ)
    private = mmap.mmap(descriptor, 3 * PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    tail = mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, offset=2 * PAGE)
    for mapping in (shared, again, private, tail):
        address(mapping)

    shared[10:15] = b"HELLO"
    print("through the file", os.pread(descriptor, 9, 8))
    print("through a second map", again[8:17])
    print("through a private map not yet written", private[8:17])

    private[0:3] = b"own"
    print("a private write stays private", os.pread(descriptor, 4, 0), shared[0:4], private[0:4])

    os.pwrite(descriptor, b"written by pwrite", PAGE + 100)
    print("write() seen in a map", shared[PAGE + 100 : PAGE + 117], again[PAGE + 100 : PAGE + 117])
    random = os.urandom(3000)
    os.lseek(descriptor, 2 * PAGE, os.SEEK_SET)
    os.write(descriptor, random)
    print(shared[2 * PAGE : 2 * PAGE + 3000] == random, tail[:3000] == random, again[2 * PAGE :][:3000] == random)
    print("~", tail[:64], hash(bytes(again)))

    tail[0:4] = b"TAIL"
    print("overlapping maps", shared[2 * PAGE : 2 * PAGE + 4], os.pread(descriptor, 4, 2 * PAGE))

    with open(file.name, "r+b", buffering=0) as second:
        second.seek(5)
        second.write(b"second descriptor")
    print("written by another descriptor", shared[3:24], again[3:24])

    os.ftruncate(descriptor, 2 * PAGE + 10)
    os.ftruncate(descriptor, 3 * PAGE)
    print(
        "truncation seen in a map",
        shared[2 * PAGE : 2 * PAGE + 10] == b"TAIL" + random[4:10],
        shared[2 * PAGE + 10 :][:9],
    )
    shared.flush()
    print(shared.find(b"HELLO"), shared.rfind(b"pwrite"), shared.readline()[:4])
    for mapping in (shared, again, private, tail):
        mapping.close()

ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
anonymous = mmap.mmap(-1, 5 * PAGE, ANONYMOUS)
anonymous[PAGE : PAGE + 4] = b"anon"
anonymous.move(0, PAGE, 100)
print(anonymous[:4], anonymous.tell())
anonymous.resize(9 * PAGE)
anonymous[8 * PAGE : 8 * PAGE + 16] = os.urandom(16)
print("~", anonymous[8 * PAGE : 8 * PAGE + 16])
print(len(anonymous))
shared = mmap.mmap(-1, PAGE)
shared.write(b"shared and anonymous")
print(shared[:21])
