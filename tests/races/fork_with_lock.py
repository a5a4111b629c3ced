"""A process forks while a thread holds a lock: in the child nobody will ever give it back."""

import os
import threading
import time

lock = threading.Lock()
null = os.open("/dev/null", os.O_WRONLY)


def log(text):
    with lock:
        os.write(null, text)  # decides


def work():
    log(b"working")  # decides


thread = threading.Thread(target=work)
thread.start()
time.sleep(0.01)  # decides
child = os.fork()  # decides
if child == 0:
    log(b"child")
    os._exit(0)
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 if hasattr(os, "waitstatus_to_exitcode") else True
