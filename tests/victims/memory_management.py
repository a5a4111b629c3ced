"""mmap, mremap, madvise, mprotect and munmap, in the ways that change what is where."""

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
for name in ("madvise", "mprotect"):
    getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for name in ("munmap", "mlock", "munlock"):
    getattr(libc, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
PAGE = mmap.PAGESIZE
READ, WRITE, BOTH = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4
MAP_FIXED, MAP_NORESERVE, MAP_POPULATE, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN = 0x10, 0x4000, 0x8000, 0x100000, 0x100
DONTNEED, FREE, WILLNEED, HUGEPAGE, DONTFORK, REMOVE = 4, 8, 3, 14, 10, 9


def take(pages, protection=BOTH, flags=ANONYMOUS, where=None):
    address = libc.mmap(where, pages * PAGE, protection, flags, -1, 0)
    print("~", "mmap", pages, hex(address or 0))
    return address


def fill(address, pages):
    """Each page begins with its own number."""
    for page in range(pages):
        ctypes.memmove(address + page * PAGE, b"page %03d" % page, 8)


def read(address, pages):
    return [ctypes.string_at(address + page * PAGE, 8).rstrip(b"\0") for page in range(pages)]


block = take(8)
fill(block, 8)
print("dontneed", libc.madvise(block + 2 * PAGE, 3 * PAGE, DONTNEED), read(block, 8))
print("free", libc.madvise(block, PAGE, FREE), read(block, 1)[0] in (b"page 000", b""))
ctypes.memmove(block, b"again...", 8)
print("written again after free", read(block, 1))
print(
    "hole",
    libc.munmap(block + 6 * PAGE, PAGE),
    libc.mprotect(block, 8 * PAGE, READ),
    errno.errorcode[ctypes.get_errno()],
)
print("protect", libc.mprotect(block, 2 * PAGE, READ), libc.mprotect(block + PAGE, PAGE, BOTH))
ctypes.memset(block + PAGE, 65, 4)
print(read(block, 6), libc.munmap(block, 8 * PAGE))

grown = take(4)
fill(grown, 4)
for size in (4, 64, 3, 2048, 1):
    moved = libc.mremap(grown, 4 * PAGE, size * PAGE, MAYMOVE, None)
    print("~", "mremap", size, hex(moved))
    grown = moved
    print("mremap", size, read(grown, min(size, 3)))
    grown = libc.mremap(grown, size * PAGE, 4 * PAGE, MAYMOVE, None)
target = take(4)
fixed = libc.mremap(grown, 4 * PAGE, 4 * PAGE, MAYMOVE | FIXED, target)
print("fixed", fixed == target, read(target, 1))
left = libc.mremap(target, 4 * PAGE, 4 * PAGE, MAYMOVE | DONTUNMAP, None)
print("dontunmap", left not in (None, 2**64 - 1) and (read(left, 1), read(target, 1)))

below = take(3)
fill(below, 3)
over = take(1, where=below + PAGE, flags=ANONYMOUS | MAP_FIXED)
print("over an old mapping", over == below + PAGE, read(below, 3))
ctypes.set_errno(0)
refused = take(1, where=below, flags=ANONYMOUS | MAP_FIXED_NOREPLACE)
print("no replacement", refused == 2**64 - 1, errno.errorcode[ctypes.get_errno()])
large = take(2**18, flags=ANONYMOUS | MAP_NORESERVE, protection=mmap.PROT_READ | mmap.PROT_WRITE)
print(
    "a gigabyte, hardly touched",
    ctypes.memset(large + 2**29, 7, PAGE) > 0,
    ctypes.string_at(large + 2**29, 2),
    read(large, 1),
)
print(libc.madvise(large, 2**30, HUGEPAGE) in (0, -1), libc.madvise(large, 2**30, WILLNEED), libc.munmap(large, 2**30))
print(libc.mlock(below, PAGE) in (0, -1), libc.munlock(below, PAGE))
residency = ctypes.create_string_buffer(3)
print(libc.mincore(below, 3 * PAGE, residency))
print("~", residency.raw)
populated = take(4, flags=ANONYMOUS | MAP_POPULATE)
print(read(populated, 4))

shared = take(2, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
fill(shared, 2)
print("shared and anonymous", read(shared, 2))
double = libc.mremap(shared, 0, 2 * PAGE, MAYMOVE, None)  # old size 0: the same pages a second time
if double != 2**64 - 1:
    ctypes.memmove(double, b"twice", 6)
    print("the same pages twice", read(shared, 1), read(double, 2))

mapping = mmap.mmap(-1, 4 * PAGE, ANONYMOUS)
mapping[:] = os.urandom(4 * PAGE)
print("~", mapping[:16])
if hasattr(mapping, "madvise"):
    mapping.madvise(mmap.MADV_WILLNEED)
mapping.resize(16 * PAGE)
print("~", hash(mapping[:]))
mapping.close()
if hasattr(os, "memfd_create"):
    memory = os.memfd_create("victim")
    os.ftruncate(memory, 2 * PAGE)
    first, second = mmap.mmap(memory, 2 * PAGE), mmap.mmap(memory, 2 * PAGE)
    first[5:9] = b"memo"
    os.pwrite(memory, b"file", PAGE)
    print(second[4:10], second[PAGE : PAGE + 4], os.pread(memory, 4, 5))
