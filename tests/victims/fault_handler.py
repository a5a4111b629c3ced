"""Dies of SIGSEGV, but faulthandler's handler writes the stack first: a synchronous signal that is caught."""

import ctypes
import faulthandler
import os
import resource

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler.enable()


def fall():
    ctypes.string_at(0)


print("~", os.urandom(8).hex(), flush=True)
fall()
