"""A process is stopped, and goes on, amid a long computation of C code that counts no tick."""

import os
import signal
import time
import zlib

data = b"".join(i.to_bytes(4, "little") * 3 for i in range(1 << 20))
child = os.fork()
if not child:
    for _ in range(3):
        time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGCONT)
    os._exit(0)
began = time.monotonic()
print(zlib.crc32(zlib.compress(data, 7)))
print("~", time.monotonic() - began)
os.waitpid(child, 0)
print("done")
