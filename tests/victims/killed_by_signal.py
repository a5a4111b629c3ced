"""Sends SIGTERM to itself with the default action."""

import os
import signal

print("before")
print("~", os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("never printed")
