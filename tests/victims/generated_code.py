"""System calls from code that was made at run time: several sites, rewritten, in a row, at a page's end, in two pages."""

import ctypes
import mmap
import os
import sys

import machine_code

NUMBERS = {"getppid": 110, "getpid": 39, "read": 0, "write": 1, "lseek": 8, "nothing": 1000}
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def mov(number):
    return b"\xb8" + number.to_bytes(4, "little")


def call(number):
    return mov(number) + b"\x0f\x05"


parent = os.getppid()
print("~", parent, os.getpid())
functions = {
    "plain": call(110) + b"\xc3",
    "four in a row": call(39) + call(110) + call(39) + call(110) + b"\xc3",
    "adjacent": mov(110) + b"\x0f\x05" + b"\xb8\x6e\0\0\0\x0f\x05" + b"\xc3",
    "result is the next number": mov(1000) + b"\x0f\x05" + b"\x0f\x05" + call(110) + b"\xc3",
    "loop": b"\x53\xbb\x14\0\0\0" + call(110) + b"\xff\xcb\x75\xf5\x5b\xc3",
    "jump behind it": b"\xeb\x07" + call(39) + call(110) + b"\xc3",
    "by a register": b"\x53\x48\x8d\x1d\x0a\0\0\0" + mov(110) + b"\xff\xd3\x5b\xc3" + b"\x90" * 1 + b"\x0f\x05\xc3",
}
for name, code in functions.items():
    function = machine_code.function(code)
    right = sum(function() == parent for _ in range(300))
    print(name, right)

arguments = [ctypes.c_long, ctypes.c_void_p, ctypes.c_long]
raw = {name: machine_code.function(call(number) + b"\xc3", *arguments) for name, number in NUMBERS.items()}
read, write = os.pipe()
buffer = ctypes.create_string_buffer(100)
good = 0
for number in range(1000):
    text = b"message %d" % number
    good += raw["write"](write, text, len(text)) == len(text)
    good += raw["read"](read, ctypes.addressof(buffer), 100) == len(text)
    good += buffer.raw[: len(text)] == text
print("messages", good)
print("errors", [ctypes.c_long(raw["read"](999, None, 1)).value, ctypes.c_long(raw["nothing"](0, None, 0)).value])
print("bad pointer", ctypes.c_long(raw["lseek"](read, None, 0)).value, ctypes.c_long(raw["write"](write, 16, 5)).value)

# One place, other code each time.
page = mmap.mmap(-1, 2 * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
anchor = ctypes.c_char.from_buffer(page)
start = ctypes.addressof(anchor)
prototype = ctypes.CFUNCTYPE(ctypes.c_int64)
right = 0
for number in range(200):
    at = (number % 5, mmap.PAGESIZE - 6, mmap.PAGESIZE - 7, 2 * mmap.PAGESIZE - 8)[number % 4]
    code, expected = (
        (call(110) + b"\xc3", parent),
        (call(39) + b"\xc3", os.getpid()),
        (mov(41) + b"\xff\xc0" + b"\xc3", 42),
    )[number % 3]
    page[at : at + len(code)] = code
    function = prototype(start + at)
    right += sum(function() == expected for _ in range(5))
print("rewritten", right)

# Written, then executable; and back.
right = 0
for number in range(20):
    libc.mprotect(start, 2 * mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)
    page[:8] = call(110 if number % 2 else 39) + b"\xc3"
    libc.mprotect(start, 2 * mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    right += prototype(start)() == (parent if number % 2 else os.getpid())
print("by turns", right)
sys.stdout.flush()
