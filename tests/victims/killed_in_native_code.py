"""A child that computes where nothing ticks is killed by its own alarm."""

import hashlib
import os
import signal
import time

pid = os.fork()
if pid == 0:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 1 << 30)
    os._exit(0)
print(os.waitpid(pid, 0)[1])
print("~", time.monotonic())
