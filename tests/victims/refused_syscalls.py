"""io_uring, AIO and rseq: a recorder answers ENOSYS, so that programs fall back."""

import ctypes
import errno

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
buffer = ctypes.create_string_buffer(4096)
context = ctypes.c_ulong()
CALLS = {
    "io_uring_setup": (425, 8, buffer),
    "io_setup": (206, 1, ctypes.byref(context)),
    "rseq": (334, buffer, 32, 0, 0x53053053),
}
for name in sorted(CALLS):
    ctypes.set_errno(0)
    result = libc.syscall(*CALLS[name])
    print(name)
    print(
        "~",
        name,
        errno.errorcode.get(ctypes.get_errno(), "none") if result == -1 else "succeeded",
        result,
        context.value,
    )
    if name == "rseq" and result == 0:
        libc.syscall(334, buffer, 32, 1, 0x53053053)
