"""A program's own seccomp filter judges what the program calls: the number of each call, with its answer."""

import ctypes
import errno
import os
import signal
import struct
import threading

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_DUMPABLE, PR_GET_DUMPABLE = 38, 22, 4, 3
SETAFFINITY, IO_SETUP = 203, 206
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def statement(code, jump_true, jump_false, value):
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


filters = b"".join(
    [
        statement(0x20, 0, 0, 0),  # load the number
        statement(0x15, 5, 0, 0xFFFFFFFF),  # -1: to the last one
        statement(0x15, 1, 0, SETAFFINITY),
        statement(0x15, 1, 2, IO_SETUP),
        statement(0x06, 0, 0, ERRNO | errno.ETIME),
        statement(0x06, 0, 0, ERRNO | errno.ENOLINK),
        statement(0x06, 0, 0, ALLOW),
        statement(0x06, 0, 0, KILL),
    ]
)
buffer = ctypes.create_string_buffer(filters)
program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(filters) // 8, ctypes.addressof(buffer)))
print(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), libc.prctl(PR_SET_SECCOMP, 2, program))


def call(*arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*arguments)
    return result, errno.errorcode.get(ctypes.get_errno())


cell = ctypes.c_ulong(0)
print(call(SETAFFINITY, 0, 0, None), call(IO_SETUP, 1, ctypes.byref(cell)), cell.value)
print(libc.prctl(PR_GET_DUMPABLE), libc.prctl(PR_SET_DUMPABLE, 0), libc.prctl(PR_GET_DUMPABLE))
print(libc.prctl(PR_SET_DUMPABLE, 1), libc.prctl(PR_GET_DUMPABLE), libc.prctl(PR_SET_DUMPABLE, 3))
thread = threading.Thread(target=print, args=("a thread",))
thread.start()
thread.join()
came = []
signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(came) < 20:
    for _ in range(50000):
        pass
    os.getppid()
signal.setitimer(signal.ITIMER_REAL, 0)
print("~", os.urandom(8).hex())
print("end", len(came) >= 20)
