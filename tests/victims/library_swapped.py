"""A library that makes system calls is unloaded, and another one loaded, mostly in its place.

usage: library_swapped.py LIBRARY OTHER
"""

import _ctypes
import ctypes
import os
import re
import shutil
import sys
import tempfile


def place(path):
    with open("/proc/self/maps") as maps:
        return next((line.split("-")[0] for line in maps if path in line), None)


def use(path):
    library = ctypes.CDLL(path)
    library.answer.restype = ctypes.c_long
    found = [library.answer() for _ in range(100)]
    where = place(path)
    _ctypes.dlclose(library._handle)
    return sorted(set(found)), where, place(path)


places = []
for number in range(20):
    answers, where, after = use(sys.argv[1 + number % 2])
    places.append(where)
    print(number, answers, after)
print("~", len(set(places)), places)

# Under one name, one file after the other.
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "library.so")
    for number in range(6):
        shutil.copy(sys.argv[1 + number % 2], path + ".new")
        os.rename(path + ".new", path)
        print(number, use(path)[0])
