"""A thread other than the first executes a program: it takes over the process, id and all."""

import os
import sys
import threading

if len(sys.argv) > 1:
    print("executed", os.getpid() == int(sys.argv[1]), threading.active_count())
    raise SystemExit(5)
print("starting", flush=True)
arguments = [sys.executable, __file__, str(os.getpid())]
thread = threading.Thread(target=os.execv, args=(sys.executable, arguments))
thread.start()
thread.join()
print("not reached")
