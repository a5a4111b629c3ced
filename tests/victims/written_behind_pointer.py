"""Privileged calls that answer where a pointer in their argument points: bridges, and counters of netfilter's rules."""

import ctypes
import errno
import os
import socket
import struct

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFBR, BRCTL_GET_BRIDGES, BRCTL_ADD_BRIDGE = 0x8940, 1, 2
SOL_IP, TABLE_GET_INFO, TABLE_GET_ENTRIES, TABLE_REPLACE = 0, 64, 65, 64
libc = ctypes.CDLL(None, use_errno=True)
print("~ unshared", libc.unshare(CLONE_NEWUSER | CLONE_NEWNET))


def failure():
    return errno.errorcode.get(ctypes.get_errno())


def hexadecimal(memory):
    for byte in bytes(memory):
        if byte != 0xAA:
            os.getpgid(0)  # what differs shows even if nothing is printed
    return bytes(memory).hex()


def bridges():
    handle = socket.socket()
    for command, argument in (
        (BRCTL_ADD_BRIDGE, ctypes.create_string_buffer(b"pyrrbridge")),
        (BRCTL_GET_BRIDGES, None),
    ):
        numbers = argument or (ctypes.c_ubyte * 64)(*[0xAA] * 64)
        words = (ctypes.c_ulong * 3)(command, ctypes.addressof(numbers), 0 if argument else 16)
        print("~ bridge", libc.ioctl(handle.fileno(), SIOCGIFBR, words), failure(), hexadecimal(numbers))


def counters():
    handle = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    value = ctypes.create_string_buffer(b"nat", 84)
    length = ctypes.c_uint(84)
    if libc.getsockopt(handle.fileno(), SOL_IP, TABLE_GET_INFO, value, ctypes.byref(length)):
        print("~ no table:", failure())
        return
    hooks, *points = struct.unpack("=I5I5I", value.raw[32:76])
    entries, size = struct.unpack("=II", value.raw[76:84])
    request = ctypes.create_string_buffer(b"nat".ljust(32, b"\0") + struct.pack("=II", size, 0), 40 + size)
    length = ctypes.c_uint(40 + size)
    print("~ entries", libc.getsockopt(handle.fileno(), SOL_IP, TABLE_GET_ENTRIES, request, ctypes.byref(length)))
    old = (ctypes.c_ubyte * (16 * entries))(*[0xAA] * (16 * entries))
    head = struct.pack("=32sIII5I5IIQ", b"nat", hooks, entries, size, *points, entries, ctypes.addressof(old))
    table = head + request.raw[40:]
    print(
        "~ replaced",
        libc.setsockopt(handle.fileno(), SOL_IP, TABLE_REPLACE, table, len(table)),
        failure(),
        hexadecimal(old),
    )


bridges()
try:
    counters()
except PermissionError:
    print("~ no raw socket")
print("~", os.urandom(4).hex())
print("end")
