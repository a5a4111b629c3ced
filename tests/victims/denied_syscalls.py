"""Calls that a container's seccomp filter denies: an outer filter's answer reaches no tracer by itself."""

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
buffer = ctypes.create_string_buffer(4096)
CALLS = {
    "unshare": (272, 0),
    "personality": (135, 0x0040000),
    "perf_event_open": (298, None, 0, -1, -1, 0),
    "userfaultfd": (323, -1),
    "bpf": (321, -1, None, 0),
    "kcmp": (312, os.getpid(), os.getpid(), 99, 0, 0),
    "add_key": (248, None, None, None, 0, 0),
    "keyctl": (250, 99, 0, 0, 0, 0),
    "mount": (165, None, None, None, 0, None),
    "setns": (308, -1, 0),
    "clone with CLONE_NEWUSER and CLONE_FS": (56, 0x10000000 | 0x200, None, None, None, None),
    "clone3 of nothing": (435, None, 0),
}
for turn in range(3):
    for name in CALLS:
        ctypes.set_errno(0)
        result = libc.syscall(*CALLS[name])
        print("~", turn, name, result, errno.errorcode.get(ctypes.get_errno()), os.urandom(2).hex())
        if name == "personality":
            libc.syscall(135, 0)
print("end")
