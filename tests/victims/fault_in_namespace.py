"""The first process of a pid namespace faults: it ends of that, though it could not while a tracer looks on."""

import ctypes
import os
import resource

CLONE_NEWPID, CLONE_NEWUSER = 0x20000000, 0x10000000
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWUSER | CLONE_NEWPID):
    print("no namespace", ctypes.get_errno())
    raise SystemExit
first = os.fork()
if first == 0:
    print("process", os.getpid(), flush=True)
    ctypes.string_at(8)
    os._exit(1)
print("killed by", os.WTERMSIG(os.waitpid(first, 0)[1]), flush=True)
print("~", os.urandom(4).hex())
