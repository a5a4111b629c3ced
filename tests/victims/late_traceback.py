"""faulthandler's watchdog, a thread without Python, writes where a loop is, twice, while that computes."""

import faulthandler
import os
import time

turns = 0
read, write = os.pipe()
os.set_blocking(read, False)
faulthandler.dump_traceback_later(0.03, repeat=True, file=write)
end = time.monotonic() + 0.1
while time.monotonic() < end:
    for _ in range(1000):
        turns += 1
faulthandler.cancel_dump_traceback_later()
text = os.read(read, 65536)
print(text.count(b"Timeout") >= 1, b"late_traceback.py" in text)
print("~", turns, text)
