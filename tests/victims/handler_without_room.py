"""A handler for whose frame the stack has no room: SIGSEGV comes instead, at a fault, behind a call, at a call."""

import ctypes
import faulthandler
import os
import resource
import signal
import struct

from machine_code import function

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler.enable()  # its handler of SIGSEGV has a stack of its own
libc = ctypes.CDLL(None)
NO_STACK = b"\x48\xc7\xc4\x08\x00\x00\x00"  # mov rsp, 8
BREAKPOINT = b"\xcc"
GETPID = b"\xb8\x27\x00\x00\x00\x0f\x05"
KILL = GETPID + b"\x89\xc7\xbe\x0a\x00\x00\x00\xb8\x3e\x00\x00\x00\x0f\x05"  # kill(getpid(), SIGUSR1)
COMPUTE = b"\xb9" + struct.pack("<I", 300000000) + b"\xff\xc9\x75\xfc"  # ecx down to 0


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def handler(number):
    print("must not run")


for name, code in (("fault", BREAKPOINT), ("behind a call", KILL), ("at a call", COMPUTE + GETPID)):
    child = os.fork()
    if child == 0:
        for number in (signal.SIGTRAP, signal.SIGUSR1, signal.SIGALRM):
            libc.signal(number, handler)
        print("~", os.urandom(4).hex(), flush=True)
        if code.startswith(COMPUTE):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        function(NO_STACK + code)()
    _, status = os.waitpid(child, 0)
    print(name, "killed by", os.WTERMSIG(status), flush=True)
