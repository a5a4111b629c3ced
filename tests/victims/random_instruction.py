"""rdrand and rdseed, in a library compiled from random_instruction.c.

usage: random_instruction.py LIBRARY
"""

import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.rdrand_many.restype = ctypes.c_ulonglong
with open("/proc/cpuinfo") as file:
    flags = next(line for line in file if line.startswith("flags")).split()

for name, kind in (
    ("rdrand16", ctypes.c_ushort),
    ("rdrand32", ctypes.c_uint),
    ("rdrand64", ctypes.c_ulonglong),
    ("rdseed64", ctypes.c_ulonglong),
):
    if name[:6] in flags:
        for _ in range(50):
            value = kind()
            print("~", name, getattr(library, name)(ctypes.byref(value)), value.value)
        print(name)
if "rdrand" in flags:
    print("~", library.rdrand_many(1000))
