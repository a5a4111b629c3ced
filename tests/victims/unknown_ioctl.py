"""ioctls and syscalls that no table knows, on a pipe, on files and on devices."""

import ctypes
import errno
import fcntl
import os
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def attempt(name, descriptor, request, argument):
    try:
        answer = fcntl.ioctl(descriptor, request, argument)
    except OSError as error:
        print(name, hex(request), errno.errorcode[error.errno])
    else:
        print(name, hex(request), "answered")
        print("~", answer)


readable, writable = os.pipe()
os.write(writable, b"12345")
null, random = os.open("/dev/null", os.O_RDWR), os.open("/dev/urandom", os.O_RDWR)
with tempfile.TemporaryFile() as file:
    for name, descriptor in (("pipe", readable), ("null", null), ("random", random), ("file", file.fileno())):
        attempt(name, descriptor, 0x12345678, 0)
        attempt(name, descriptor, 0xC0107B01, bytes(16))  # _IOWR('{', 1, 16 bytes)
        attempt(name, descriptor, 0x80407B02, bytes(64))  # _IOR('{', 2, 64 bytes)
        attempt(name, descriptor, 0x541B, bytes(4))  # FIONREAD
    attempt("random", random, 0x80045200, bytes(4))  # RNDGETENTCNT: a device's ioctl with its size encoded
    attempt("file", file.fileno(), 0x80086601, bytes(8))  # FS_IOC_GETFLAGS
for number in (500, 1023):
    ctypes.set_errno(0)
    buffer = ctypes.create_string_buffer(b"argument", 64)
    print(number, libc.syscall(number, buffer, 64, -1), errno.errorcode[ctypes.get_errno()], buffer.value)
print("end")
