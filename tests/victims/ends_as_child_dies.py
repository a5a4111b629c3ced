"""A program ends while its child, of several threads, is dying of SIGKILL: a recorder must not wait for either."""

import os
import signal
import threading
import time

read, write = os.pipe()
child = os.fork()
if child == 0:
    threads = [threading.Thread(target=time.sleep, args=(100,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    os.write(write, b"ready")
    time.sleep(100)
os.read(read, 5)
print("~", os.urandom(4).hex(), flush=True)
os.kill(child, signal.SIGKILL)
os._exit(3)
