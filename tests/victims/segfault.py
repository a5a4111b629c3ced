"""Dies of SIGSEGV after its output has been flushed."""

import ctypes
import os
import resource

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print("before")
print("~", os.urandom(8).hex(), flush=True)
ctypes.string_at(0)
print("never printed")
