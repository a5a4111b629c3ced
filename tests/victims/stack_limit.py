"""RLIMIT_STACK lowered and raised by the program itself: how deep a native recursion can go before it faults."""

import ctypes
import os
import re
import resource
import signal
import sys

libc = ctypes.CDLL(None)
HARD = resource.getrlimit(resource.RLIMIT_STACK)[1]
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def stack_kilobytes():
    with open("/proc/self/maps") as maps:
        start, end = re.search(r"^(\w+)-(\w+).*\[stack\]", maps.read(), re.MULTILINE).groups()
    return (int(end, 16) - int(start, 16)) // 1024


def recurse(left):
    """Each level lies on the native stack: qsort calls back."""
    if left:
        libc.qsort(ctypes.create_string_buffer(2), 2, 1, COMPARE(lambda a, b: recurse(left - 1) or 0))


def child(limit, levels):
    process = os.fork()
    if process == 0:
        if limit:
            resource.setrlimit(resource.RLIMIT_STACK, (limit, HARD))
        sys.setrecursionlimit(10**6)
        recurse(levels)
        print("~ stack of", stack_kilobytes(), "KB", flush=True)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    print(limit, levels, "killed" if os.WIFSIGNALED(status) else "ended", os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV)


for limit, levels in ((0, 100), (512 * 1024, 20), (512 * 1024, 3000), (64 << 20, 4000)):
    child(limit, levels)
resource.prlimit(0, resource.RLIMIT_STACK, (16 << 20, HARD))
print(resource.getrlimit(resource.RLIMIT_STACK)[0])
print("~", os.urandom(4).hex())
