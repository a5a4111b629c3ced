"""Leaves with status 7 after atexit handlers have run."""

import atexit
import sys
import time

atexit.register(print, "at exit")
print("~", time.time_ns())
sys.exit(7)
