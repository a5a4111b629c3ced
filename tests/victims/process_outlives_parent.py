"""A child that goes on after its parent has ended: it is seen at work by a file, not by its output."""

import os
import sys
import time

parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(0.2)
    with open(sys.argv[1], "w") as file:
        file.write("done")
    os._exit(0)
print("parent ends", flush=True)
