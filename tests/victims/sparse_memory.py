"""16 TB of memory are reserved and four places of it written, as sanitizers do with their shadow: nothing walks it page by page."""

import ctypes
import mmap

SIZE = 1 << 44
PLACES = (0, 12345678901, SIZE // 2, SIZE - 4096)
MAP_NORESERVE = 0x4000

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
memory = libc.mmap(
    None, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
)
print("~", hex(memory))
for place in PLACES:
    ctypes.memset(memory + place, 65 + PLACES.index(place), 5)
print([ctypes.string_at(memory + place, 6) for place in PLACES], ctypes.string_at(memory + 4096 * 99, 8))
