"""A descriptor is closed twice. In between it has become another thread's file."""

import contextlib
import os
import threading

failures = []


def careless():
    descriptor = os.open("/dev/null", os.O_WRONLY)
    os.close(descriptor)  # decides
    with contextlib.suppress(OSError):
        os.close(descriptor)  # decides


def careful():
    descriptor = os.open("/dev/null", os.O_WRONLY)  # decides
    try:
        os.write(descriptor, b"text")  # decides
        os.close(descriptor)  # decides
    except OSError as error:
        failures.append(error)


threads = [threading.Thread(target=careless), threading.Thread(target=careful)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    raise failures[0]
