"""A handler of SIGSEGV that faults itself: the signal is blocked there, and the kernel ends the program without asking it again."""

import ctypes
import os
import resource
import signal

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
libc = ctypes.CDLL(None)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def handler(number):
    os.write(1, b"in the handler\n")
    data = bytearray(os.urandom(16))
    for i in range(16):
        data[i] ^= i
    ctypes.string_at(8)


print("~", os.urandom(8).hex(), flush=True)
libc.signal(signal.SIGSEGV, handler)
ctypes.string_at(0)
